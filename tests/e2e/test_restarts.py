"""The whole daemon, stopped and started again while it streams to a receiver on a UART."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from tests.attack.bench import ntrip_only
from tests.support.services import corrections
from tests.support.until import until
from ztpd.sim.caster import Caster

SOON_S = 5.0


async def _restart(tmp_path: Path, times: int) -> list[float]:
    """Seconds until each start has a receiver that is ready. Its parser loses a damaged frame with
    all that is in it."""
    dice = random.Random(times)
    loop = asyncio.get_running_loop()
    took: list[float] = []
    async with Caster({"MP": corrections}) as caster:
        gateway = ntrip_only(tmp_path, caster.port, baudrate=38_400)
        async with gateway.receiver(wired="UART1") as receiver:
            receiver.faults.drops_failed = True
            for _ in range(times):
                (gateway.runtime_dir / "status.json").unlink(missing_ok=True)
                began_s = loop.time()
                async with gateway.running():
                    receiver.received.clear()
                    await until(lambda: gateway.status.get("receiver", {}).get("ready"), 30)
                    took.append(loop.time() - began_s)
                    await until(receiver.corrections, 30)
                    await asyncio.sleep(dice.random())
            await asyncio.sleep(1)
            assert receiver.skipped_bytes == 0
    return took


async def test_FR80_restarts_of_the_daemon_leave_a_receiver_that_answers(tmp_path: Path) -> None:
    assert max(await _restart(tmp_path, 3)) < SOON_S


@pytest.mark.slow
async def test_FR80_fifty_restarts_of_the_daemon_at_random_moments(tmp_path: Path) -> None:
    took = await _restart(tmp_path, 50)
    assert [seconds for seconds in took if seconds > SOON_S] == []


@pytest.mark.slow
async def test_FR80_reloads_that_open_the_port_again_leave_a_receiver_that_answers(
    tmp_path: Path,
) -> None:
    dice, loop = random.Random(80), asyncio.get_running_loop()
    async with Caster({"MP": corrections}) as caster:
        gateway = ntrip_only(tmp_path, caster.port, baudrate=38_400)
        path = tmp_path / "ztpd.toml"
        text = path.read_text()
        async with gateway.receiver(wired="UART1") as receiver, gateway.running() as daemon:
            receiver.faults.drops_failed = True
            replaced: list[object] = []
            await until(lambda: daemon.receiver.ready, 30)
            for number in range(10):
                await until(receiver.corrections, 30)
                await asyncio.sleep(dice.uniform(0, 0.5))
                receiver.received.clear()
                replaced.append(daemon.receiver)
                path.write_text(f"{text}[corrections]\nqueue_bytes = {20_000 + number}\n")
                os.kill(os.getpid(), signal.SIGHUP)
                began_s = loop.time()
                await until(
                    lambda: daemon.receiver is not replaced[-1] and daemon.receiver.ready, 30
                )
                assert loop.time() - began_s < SOON_S
        await asyncio.sleep(1)
        assert receiver.skipped_bytes == 0
