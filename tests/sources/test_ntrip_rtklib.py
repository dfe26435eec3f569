"""Against RTKLIB's str2str (Debian package rtklib), a caster and a client that are not ours."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ztpd.errors import GgaRequired, MountpointUnknown, SessionRefused, ZtpdError
from ztpd.model import NtripEndpoint, Secret
from ztpd.sim.caster import Caster
from ztpd.sources.ntrip import NtripSession
from ztpd.wire.frames import rtcm_frame

pytestmark = pytest.mark.skipif(
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
async def rtklib_caster() -> AsyncIterator[int]:
    """str2str as a caster with mountpoint BASE, fed without end with the frames: its port."""
    feeding: list[asyncio.Task[None]] = []

    async def feed(writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                for frame in FRAMES:
                    writer.write(frame)
                    await asyncio.sleep(0.01)
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


def endpoint(port: int, mountpoint: str = "BASE", password: str = "secret") -> NtripEndpoint:
    return NtripEndpoint(
        host="127.0.0.1",
        port=port,
        mountpoint=mountpoint,
        username="user",
        password=Secret(password),
        tls=False,
    )


async def refusal(given: NtripEndpoint) -> ZtpdError:
    with pytest.raises(ZtpdError) as caught:
        async with NtripSession(given, position=lambda: None):
            pass
    return caught.value


async def test_frames_come_from_rtklibs_caster() -> None:
    async with rtklib_caster() as port:
        for _ in range(2):
            async with NtripSession(endpoint(port), position=lambda: None) as session:
                frames = [await anext(session) for _ in range(60)]
            data = [frame.data for frame in frames]
            start = FRAMES.index(data[0])
            assert data == [FRAMES[(start + number) % len(FRAMES)] for number in range(60)]


async def test_rtklibs_caster_refuses_in_words_that_are_understood() -> None:
    async with rtklib_caster() as port:
        unknown = await refusal(endpoint(port, mountpoint="BASF"))
        assert isinstance(unknown, MountpointUnknown)
        assert "did you mean BASE?" in str(unknown)
        wrong = await refusal(endpoint(port, password="wrong"))
        assert isinstance(wrong, GgaRequired | SessionRefused)
        assert "401" in str(wrong)


async def test_rtklibs_client_gets_the_simulated_stream(tmp_path: Path) -> None:
    """So the simulated caster is one for others too; its GGA is taken as well."""

    async def feed() -> AsyncIterator[bytes]:
        for frame in FRAMES:
            yield frame
        await asyncio.get_running_loop().create_future()

    got = tmp_path / "got"
    async with (
        Caster(
            {"BASE": feed}, users={"user": "secret"}, form="icy-short", needs_gga=True
        ) as caster,
        str2str(
            *("-in", f"ntrip://user:secret@127.0.0.1:{caster.port}/BASE", "-out", str(got)),
            *("-p", "47.2852", "8.5652", "499.6", "-n", "500"),
        ),
    ):
        while not got.exists() or got.stat().st_size < sum(map(len, FRAMES)):
            await asyncio.sleep(0.05)
        assert got.read_bytes() == b"".join(FRAMES)
        assert caster.ggas[0].sentence.split(",")[3] == "N"
