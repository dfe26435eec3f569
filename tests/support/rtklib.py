"""RTKLIB's str2str (Debian package rtklib) as caster and client: a program that is not ours."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ztpd.wire.frames import rtcm_frame

needs_str2str = pytest.mark.skipif(
    shutil.which("str2str") is None, reason="str2str (Debian package rtklib) is not installed"
)

FRAMES = [rtcm_frame(bytes([0x43, 0x50, number]) + bytes(90)) for number in range(30)]


@asynccontextmanager
async def str2str(*arguments: str) -> AsyncIterator[None]:
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        "str2str", *arguments, stdin=nothing, stdout=nothing, stderr=nothing
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def rtklib_caster(
    frames: Sequence[bytes] = FRAMES, *, every_s: float = 0.01
) -> AsyncIterator[int]:
    """str2str as a caster with mountpoint BASE, fed without end with ``frames``: its port."""
    feeding: list[asyncio.Task[None]] = []

    async def feed(writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                for frame in frames:
                    writer.write(frame)
                    await asyncio.sleep(every_s)
        finally:
            writer.close()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        feeding.append(asyncio.create_task(feed(writer)))

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    source = f"tcpcli://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with str2str("-in", source, "-out", f"ntripc://user:secret@:{port}/BASE"):
            while not feeding or not _listens(port):
                await asyncio.sleep(0.05)
            yield port
    finally:
        server.close()
        for task in feeding:
            task.cancel()
        await asyncio.gather(*feeding, return_exceptions=True)


def _listens(port: int) -> bool:
    """Whether the port is open, without a connection that str2str would count."""
    wanted = f":{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text()
