"""Sessions with a simulated caster: positions, feeds, and the usual endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from ztpd.errors import (
    ZtpdError,
)
from ztpd.model import Carrier, Fix, Frame, NtripEndpoint, Secret
from ztpd.sim.caster import Feed
from ztpd.sources.casters import STABLE_S, GgaPolicy
from ztpd.sources.ntrip import NtripSession
from ztpd.wire.frames import rtcm_frame

FIX = Fix(
    ok=True,
    lat_deg=47.285233,
    lon_deg=8.565265,
    height_m=499.6,
    geoid_m=48.0,
    accuracy_m=0.8,
    satellites=22,
    carrier=Carrier.FIXED,
    differential=True,
    correction_age_s=1.0,
    utc=datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC),
    pdop=1.2,
)
NO_FIX = FIX._replace(ok=False)
NULL_ISLAND = FIX._replace(lat_deg=0.0, lon_deg=0.0)
FRAMES = [rtcm_frame(bytes([0x43, 0x50, number]) + bytes(30 + number)) for number in range(40)]


def blocks(*data: bytes, pause_s: float = 0.0, more: bool = True) -> Feed:
    """A feed of these blocks, ``pause_s`` apart; ``more``: then silence, else the end."""

    async def feed() -> AsyncIterator[bytes]:
        for block in data:
            yield block
            await asyncio.sleep(pause_s)
        if more:
            await asyncio.get_running_loop().create_future()

    return feed


def endless(pause_s: float = 1.0) -> Feed:
    async def feed() -> AsyncIterator[bytes]:
        while True:
            yield FRAMES[0]
            await asyncio.sleep(pause_s)

    return feed


def endpoint(port: int, **changes: Any) -> NtripEndpoint:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "mountpoint": "NEAR-RTCM",
        "username": "user",
        "password": Secret("secret"),
        "tls": False,
    }
    return NtripEndpoint(**(given | changes))


def settled(fix: Fix = FIX) -> GgaPolicy:
    """A policy that has seen a stable fix just now."""
    now = asyncio.get_running_loop().time()
    policy = GgaPolicy()
    policy.update(fix, now - STABLE_S)
    policy.update(fix, now)
    return policy


@asynccontextmanager
async def opened(session: NtripSession) -> AsyncIterator[NtripSession]:
    """``session``, entered while a heartbeat keeps virtual time from outrunning threads."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.05)

    beating = asyncio.create_task(beat())
    try:
        await session.__aenter__()
    finally:
        beating.cancel()
    try:
        yield session
    finally:
        await session.__aexit__(None, None, None)


async def take(session: NtripSession, count: int) -> list[Frame]:
    return [await anext(session) for _ in range(count)]


async def until_end(session: NtripSession) -> tuple[list[Frame], ZtpdError]:
    frames = []
    try:
        async for frame in session:
            frames.append(frame)
    except ZtpdError as error:
        return frames, error
    raise AssertionError("a session ends with an error")


async def refused(session: NtripSession) -> ZtpdError:
    with pytest.raises(ZtpdError) as caught:
        async with opened(session):
            pass
    return caught.value


@asynccontextmanager
async def canned(data: bytes, *, close: bool = True) -> AsyncIterator[int]:
    """A server that answers every request with ``data``: its port."""
    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(serve(reader, writer)))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data)
            await writer.drain()
            if not close:
                await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def secure(port: int, ca_file: str, **changes: Any) -> NtripEndpoint:
    return endpoint(port, **{"host": "localhost", "tls": True, "ca_file": ca_file} | changes)
