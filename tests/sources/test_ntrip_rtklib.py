"""Against RTKLIB's str2str (Debian package rtklib), a caster and a client that are not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.rtklib import FRAMES, needs_str2str, rtklib_caster, str2str
from ztpd.errors import GgaRequired, MountpointUnknown, SessionRefused, ZtpdError
from ztpd.model import NtripEndpoint, Secret
from ztpd.sim.caster import Caster
from ztpd.sources.ntrip import NtripSession

pytestmark = needs_str2str


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
