"""A hostile device on the receiver's port, against the whole daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attack.bench import ntrip_only, responsive, some_fast, status
from tests.support.hostile_streams import PATTERNS
from tests.support.until import until
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import SimReceiver
from ztpd.wire import ubx
from ztpd.wire.ubx import Message

_VERSION = ubx.message(
    Message.MON_VER,
    b"EXT\x1b[2J\nWATCHDOG=trigger".ljust(30, b"\0")
    + b"\r\x07".ljust(10, b"\0")
    + b"MOD=ZED\n\x1b]0;owned\x07".ljust(30, b"\0"),
)
FLOODS = {
    **PATTERNS,
    "versions with control characters": _VERSION,
    "versions of any length": ubx.message(Message.MON_VER, bytes(40 + 30 * 200)),
    "positions of zeros": ubx.message(Message.NAV_PVT, bytes(92)),
    "positions of ones": ubx.message(Message.NAV_PVT, b"\xff" * 92),
    "reports of corrections": ubx.message(Message.RXM_COR, b"\xff" * 12),
    "acknowledgements": ubx.message(Message.ACK_ACK, b"\x06\x8a") * 100,
    "text that names the maker": b"$GNTXT,01,01,02,u-blox AG - www.u-blox.com*4E\r\n",
    "random bytes": bytes(range(256)),
}


@pytest.mark.parametrize(
    "name", some_fast(FLOODS, "ubx", "rtcm", "versions with control characters", "random bytes")
)
async def test_a_hostile_device_neither_stops_nor_fills_the_daemon(
    name: str, tmp_path: Path
) -> None:
    block = FLOODS[name] * max(1, 4000 // len(FLOODS[name]))

    async def attack(pty: Pty) -> None:
        while True:
            await pty.write(block)
            await asyncio.sleep(0)

    gateway = ntrip_only(tmp_path, 9)
    async with gateway.gnss as pty, gateway.running(), responsive():
        attacking = asyncio.create_task(attack(pty))
        try:
            for _ in range(4):
                await asyncio.sleep(0.4)
                found = await status(gateway)
                assert all(part.isprintable() for part in _texts(found))
        finally:
            attacking.cancel()
            with suppress(asyncio.CancelledError):
                await attacking


async def test_a_receiver_that_turns_hostile_and_back_is_used_again(tmp_path: Path) -> None:
    gateway = ntrip_only(tmp_path, 9)
    async with gateway.receiver(speed=20) as receiver, gateway.running(), responsive():
        await until(lambda: gateway.status.get("receiver", {}).get("model") == "ZED-F9P")
        await _shout(receiver, lambda: b"\xd3\x03" * 2000)
        await until(lambda: gateway.status["receiver"]["fix"] != "unknown", 30)


async def _shout(receiver: SimReceiver, block: Callable[[], bytes]) -> None:
    for _ in range(200):
        receiver.send(block())
        await asyncio.sleep(0.005)


def _texts(found: object) -> list[str]:
    if isinstance(found, dict):
        return [text for part in found.values() for text in _texts(part)]
    if isinstance(found, list):
        return [text for part in found for text in _texts(part)]
    return [found] if isinstance(found, str) else []
