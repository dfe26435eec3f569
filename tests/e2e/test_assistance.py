"""Assistance is fetched once, kept in memory, and given again; it is never paid for twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time, log_lines, rtcm, ubx_frame
from tests.support.until import until
from ztpd import status
from ztpd.sim.caster import Caster
from ztpd.sim.receiver import SimReceiver
from ztpd.wire.ubx import Message

ORBITS = [
    ubx_frame(number, bytes([each]) + bytes(67)).data
    for each, number in enumerate((Message.MGA_GPS, Message.MGA_GAL, Message.MGA_BDS))
]
TIME = ubx_frame(Message.MGA_INI, bytes(24)).data


async def plain() -> AsyncIterator[bytes]:
    while True:
        yield rtcm(5).data + rtcm(5, 1005).data
        await asyncio.sleep(1)


async def assisted() -> AsyncIterator[bytes]:
    yield TIME + b"".join(ORBITS)
    async for block in plain():
        yield block


class Site:
    def __init__(self, gateway: Gateway, caster: Caster, sim: SimReceiver, log: list[str]) -> None:
        self.gateway, self.caster, self.sim, self.log = gateway, caster, sim, log

    @property
    def asked(self) -> list[str]:
        """The mountpoints of all requests, in order."""
        return [request.split(b" ")[1].decode().strip("/") for request in self.caster.requests]

    def orbits(self) -> int:
        return sum(frame.data in ORBITS for frame in self.sim.received)

    def times(self) -> int:
        return sum(frame.data == TIME for frame in self.sim.received)

    def state(self) -> str:
        return status.read(self.gateway.runtime_dir).state

    async def reconnects(self) -> None:
        before = len(self.asked)
        self.caster.end_sessions()
        await until(lambda: len(self.asked) > before, 400)


@asynccontextmanager
async def site(
    tmp_path: Path, *, mountpoint: str = "NEAR", assistance: str = "once", sky: bool = False
) -> AsyncIterator[Site]:
    gateway = Gateway(tmp_path)
    async with (
        Caster({"NEAR": plain, "NEAR-MGA": assisted}) as caster,
        gateway.receiver() as sim,
    ):
        sim.faults.no_sky = not sky
        own: dict[str, Any] = {"host": "127.0.0.1", "port": caster.port, "tls": False}
        gateway.configure(
            ntrip=own | {"mountpoint": mountpoint}, corrections={"assistance": assistance}
        )
        with log_lines() as log:
            yield Site(gateway, caster, sim, log)


@in_virtual_time
async def test_the_first_session_after_a_start_fetches_and_the_next_ones_do_not(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as s, s.gateway.running():
        await until(lambda: s.orbits() == 3, 60)
        assert s.times() == 1
        await asyncio.sleep(70)
        for _ in range(3):
            await s.reconnects()
            await asyncio.sleep(70)
        assert s.asked == ["NEAR-MGA", "NEAR", "NEAR", "NEAR"]
        (line,) = [each for each in s.log if each.startswith("session.assistance ")]
        assert "from NEAR-MGA; the next session uses NEAR" in line


@in_virtual_time
async def test_a_receiver_that_restarts_gets_the_orbits_again_without_a_fetch(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as s, s.gateway.running():
        await until(lambda: s.orbits() == 3, 60)
        s.sim.power_cycle()
        await until(lambda: s.orbits() == 6, 60)
        assert s.times() == 1, "an old time would mislead the receiver"
        await s.reconnects()
        await asyncio.sleep(5)
        assert s.asked == ["NEAR-MGA", "NEAR"]


@in_virtual_time
async def test_after_two_hours_they_are_too_old_and_a_start_fetches_again(tmp_path: Path) -> None:
    async with site(tmp_path) as s, s.gateway.running():
        await until(lambda: s.orbits() == 3, 60)
        await asyncio.sleep(7300)
        await s.reconnects()
        await asyncio.sleep(5)
        assert set(s.asked[1:]) == {"NEAR"}, "the receiver has not started"


@in_virtual_time
async def test_a_restart_of_ztpd_does_not_pay_again(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        async with s.gateway.running():
            await until(lambda: s.orbits() == 3, 60)
        async with s.gateway.running():
            await until(lambda: len(s.asked) == 2 and s.state() == "streaming", 60)
        assert s.asked == ["NEAR-MGA", "NEAR"]


@in_virtual_time
async def test_a_receiver_with_a_position_needs_none(tmp_path: Path) -> None:
    async with site(tmp_path, sky=True) as s:
        await asyncio.sleep(30)
        async with s.gateway.running():
            await until(lambda: s.state() == "streaming", 60)
        assert s.asked == ["NEAR"]


@pytest.mark.parametrize("assistance", ["off", "once"])
@in_virtual_time
async def test_a_configured_mountpoint_with_assistance_is_used_once_too(
    tmp_path: Path, assistance: str
) -> None:
    async with site(tmp_path, mountpoint="NEAR-MGA", assistance=assistance) as s:
        async with s.gateway.running():
            await until(lambda: s.orbits() == 3, 60)
            await s.reconnects()
        assert s.asked == ["NEAR-MGA", "NEAR"]


@in_virtual_time
async def test_without_the_setting_none_is_fetched(tmp_path: Path) -> None:
    async with site(tmp_path, assistance="off") as s, s.gateway.running():
        await until(lambda: s.state() == "streaming", 60)
        assert s.asked == ["NEAR"]


@in_virtual_time
async def test_a_caster_without_such_a_mountpoint_streams_at_once_without_it(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as s:
        del s.caster.streams["NEAR-MGA"]
        async with s.gateway.running():
            await until(lambda: s.state() == "streaming", 20)
            await s.reconnects()
        assert s.asked == ["NEAR-MGA", "NEAR", "NEAR"]
        (line,) = [each for each in s.log if each.startswith("session.assistance_refused")]
        assert "no assistance from NEAR-MGA" in line


@in_virtual_time
async def test_a_caster_that_cannot_be_reached_was_not_paid(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        port = s.caster.port
        await s.caster.__aexit__(None, None, None)
        async with s.gateway.running():
            await until(lambda: status.read(s.gateway.runtime_dir).last_failure, 20)
            async with Caster({"NEAR": plain, "NEAR-MGA": assisted}, port=port) as s.caster:
                await until(lambda: s.orbits() == 3, 60)
                assert s.asked == ["NEAR-MGA"]
