"""The invariants under every attack: the daemon answers, stays small, and names the trouble."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.gateway import Gateway
from ztpd.system.control import Verb, ask

ANSWERS_WITHIN_S = 5.0
GROWS_AT_MOST_KIB = 64 << 10


class Measured(NamedTuple):
    """One attack. Daemon and attacker share the test's process, so both are counted."""

    grown_kib: int  # most resident memory during the attack, minus that before it
    cpu_s: float
    took_s: float
    longest_s: float  # that the event loop stood still


measured: list[Measured] = []
"""The attacks of the present test."""


async def status(gateway: Gateway) -> dict[str, Any]:
    """As the daemon answers it now. Fails where it does not, within seconds."""
    asked = {"do": Verb.STATUS}
    answer = await asyncio.to_thread(ask, gateway.runtime_dir, asked, timeout_s=ANSWERS_WITHIN_S)
    found: dict[str, Any] = answer["status"]
    return found


@asynccontextmanager
async def responsive(most_s: float = 2.0) -> AsyncIterator[None]:
    """Fails where the event loop stood still for ``most_s``, or memory grew without bound."""
    loop = asyncio.get_running_loop()
    longest_s = 0.0
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory that is free would hide what an attack takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, see proc(5)
    before_kib, cpu_s, started_s = _memory_kib("VmRSS"), time.process_time(), loop.time()

    async def beat() -> None:
        nonlocal longest_s
        while True:
            began_s = loop.time()
            await asyncio.sleep(0.02)
            longest_s = max(longest_s, loop.time() - began_s)

    beating = asyncio.create_task(beat())
    try:
        yield
        await asyncio.sleep(0.05)  # a beat after what came last
    finally:
        beating.cancel()
    grown_kib = _memory_kib("VmHWM") - before_kib
    cpu_s, took_s = time.process_time() - cpu_s, loop.time() - started_s
    measured.append(Measured(grown_kib, cpu_s, took_s, longest_s))
    assert longest_s < most_s, f"the event loop stood still for {longest_s:.1f} s"
    assert grown_kib < GROWS_AT_MOST_KIB


def _memory_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def some_fast(names: Iterable[str], *fast: str) -> list[Any]:
    """Parameters of a test, of which ``fast`` belong to the fast suite."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def attacker(attack: Attack, **options: Any) -> AsyncIterator[int]:
    """A server on loopback that plays ``attack`` to every client: its port."""
    playing: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await attack(reader, writer)
        finally:
            with suppress(OSError):
                writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(play(reader, writer))
        playing.add(task)
        task.add_done_callback(playing.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)


async def flood(writer: asyncio.StreamWriter, block: bytes, total_bytes: int = 32 << 20) -> None:
    """``block`` again and again, as fast as the other side takes it."""
    sent = 0
    while sent < total_bytes and not writer.is_closing():
        writer.write(block)
        await writer.drain()
        await asyncio.sleep(0)
        sent += len(block)


def ntrip_only(top: Path, port: int, *, baudrate: int = 921_600) -> Gateway:
    """A gateway whose one service is a caster on loopback, without TLS and provisioning."""
    gateway = Gateway(top)
    password = top / "password"
    password.touch(mode=0o600)
    password.write_text("secret")
    gateway.configure(
        receiver={"port": gateway.gnss.path, "baudrate": baudrate},
        ntrip={
            "host": "127.0.0.1",
            "port": port,
            "mountpoint": "MP",
            "username": "u",
            "password_file": str(password),
            "tls": False,
        },
    )
    return gateway
