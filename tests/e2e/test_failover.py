"""Fail-over by the receiver's use of the corrections, in the whole daemon: journal and status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time, log_lines, rtcm
from tests.support.until import until
from tests.support.verdict_bench import spartn_frames
from ztpd import status
from ztpd.cli.status import render
from ztpd.sim.caster import Caster
from ztpd.sim.receiver import SimReceiver
from ztpd.status import ChannelStatus
from ztpd.wire.ubx import CfgRst

FIRST, SECOND = 77, 5  # reference stations
Feed = Callable[[], AsyncIterator[bytes]]


def station(number: int, every_s: float = 1.0) -> Feed:
    async def frames() -> AsyncIterator[bytes]:
        while True:
            yield rtcm(number).data + rtcm(number, 1005).data
            await asyncio.sleep(every_s)

    return frames


class Site:
    def __init__(
        self, gateway: Gateway, sim: SimReceiver, first: Caster, second: Caster, log: list[str]
    ) -> None:
        self.gateway, self.sim, self.first, self.second = gateway, sim, first, second
        self.log = log

    @property
    def status(self) -> status.Status:
        return status.read(self.gateway.runtime_dir)

    def channel(self, number: int) -> ChannelStatus:
        channels = self.status.channels
        return channels[number] if number < len(channels) else ChannelStatus()

    def changes(self) -> list[str]:
        return [line for line in self.log if line.startswith("session.service_changed")]


@asynccontextmanager
async def site(memory_path: Path, first: Feed, second: Feed, **tables: Any) -> AsyncIterator[Site]:
    """A gateway whose [ntrip] and [[backup]] are plain casters, with no provisioning."""
    gateway = Gateway(memory_path)
    async with (
        Caster({"FIRST": first}) as caster,
        Caster({"SECOND": second}) as backup,
        gateway.receiver() as sim,
    ):
        plain = {"host": "127.0.0.1", "tls": False}
        gateway.configure(
            ntrip={**plain, "port": caster.port, "mountpoint": "FIRST"},
            backup=[{**plain, "port": backup.port, "mountpoint": "SECOND", "name": "spare"}],
            **tables,
        )
        with log_lines() as log:
            async with gateway.running():
                yield Site(gateway, sim, caster, backup, log)


@in_virtual_time
async def test_corrections_that_the_receiver_ignores_are_replaced_and_the_way_back_is_found(
    memory_path: Path,
) -> None:
    async with site(memory_path, station(FIRST), station(SECOND)) as s:
        s.sim.faults.ignored_stations = {FIRST}
        took_s = await until(lambda: s.channel(1).state == "in use", 300)
        assert 120 <= took_s <= 200
        await until(lambda: s.status.receiver.fix == "RTK fixed", 60)
        (change,) = s.changes()
        assert "from spare (127.0.0.1:" in change
        assert "instead of ntrip 127.0.0.1:" in change
        assert "does not use the corrections of this service" in change
        assert "its datum may differ" in change
        await until(lambda: s.channel(0).state == "beside", 30)
        assert s.channel(0).event == "session.unused"
        await until(lambda: s.channel(0).takes_over_s is not None, 30)
        assert 500 < (s.channel(0).takes_over_s or 0) <= 600
        screen = render(s.status, is_running=True)
        assert "takes over in 10 min" in screen
        assert "Check the service: mountpoint, format, its distance" in screen
        assert "services  ntrip 127.0.0.1:" in screen
        assert "beside, the last corrections" in screen
        assert "they are in order, and it may prefer another source" in screen

        s.sim.faults.ignored_stations.clear()
        back_s = await until(lambda: s.channel(0).state == "in use", 700)
        assert back_s >= 550, "ten minutes of corrections beside"
        await until(lambda: s.status.receiver.use == "used", 60)
        assert "it brought corrections for 10 min" in s.changes()[1]
        assert s.channel(1).state == "standby"
        assert s.second.alive == 0
        await asyncio.sleep(900)
        assert len(s.changes()) == 2
        seen = s.status
        assert seen.traffic
        assert sum(each.month_bytes or 0 for each in seen.channels) == seen.traffic.month_bytes
        assert 590 < (seen.channels[1].month_session_s or 0) < 640
        assert "standby, backup" in render(seen, is_running=True)


@in_virtual_time
async def test_a_service_that_is_in_vain_again_stays_away_for_longer(memory_path: Path) -> None:
    async with site(memory_path, station(FIRST), station(SECOND)) as s:
        s.sim.faults.ignored_stations = {FIRST}
        await until(lambda: len(s.changes()) == 3, 1200)
        assert s.channel(0).state == "left"
        assert s.channel(0).next_attempt_s == pytest.approx(1800, abs=60)
        screen = render(s.status, is_running=True)
        assert "left, the last corrections" in screen
        assert "next try in 29 min" in screen or "next try in 30 min" in screen


@in_virtual_time
async def test_between_spartn_and_rtcm_the_receiver_is_made_to_forget(memory_path: Path) -> None:
    async with site(memory_path, spartn_frames, station(SECOND)) as s:
        await until(lambda: s.status.receiver.use == "used", 60)
        s.first.fault = "unavailable"
        s.first.end_sessions()
        await until(lambda: s.channel(1).state == "in use", 30)
        await until(lambda: s.status.receiver.fix == "RTK fixed", 60)
        kinds = [
            "restart" if frame.data == CfgRst().encode() else frame.kind.value
            for frame in s.sim.received
            if frame.kind.value in ("SPARTN", "RTCM3") or frame.data == CfgRst().encode()
        ]
        steps = [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before]
        assert steps == ["SPARTN", "restart", "RTCM3"]
        assert [line for line in s.log if line.startswith("gnss.format_changed")]


@in_virtual_time
async def test_corrections_that_stay_old_are_replaced(memory_path: Path) -> None:
    async with site(memory_path, station(FIRST), station(SECOND)) as s:
        s.sim.set("CFG-NAVSPG-CONSTR_DGNSSTO", 200)
        s.sim.faults.late_s = 80.0
        took_s = await until(lambda: s.channel(1).state == "in use", 300)
        assert 100 <= took_s <= 200
        s.sim.faults.late_s = 0.0
        assert "those in use are up to 90 s old" in s.changes()[0]


@pytest.mark.parametrize("fault", ["reset", "stall"])
@in_virtual_time
async def test_a_service_that_ends_or_stalls_each_session_gives_way_to_one_that_works(
    memory_path: Path, fault: str
) -> None:
    async with site(memory_path, station(FIRST), station(SECOND)) as s:
        s.first.fault = fault
        await until(lambda: s.channel(1).state == "in use", 120)
        await asyncio.sleep(3600)
        assert s.channel(1).state == "in use"
        assert s.second.sessions == len(s.changes()) == 1
        assert s.first.sessions < 40, "all data comes twice meanwhile"


@pytest.mark.parametrize(
    "fault",
    [{"no_sky": True}, {"radio_station": 99}, {"damaged_input": lambda data: bytes(len(data))}],
    ids=["no sky", "radio", "damaged"],
)
@in_virtual_time
async def test_causes_that_no_other_service_cures_change_none(
    memory_path: Path, fault: dict[str, Any]
) -> None:
    async with site(memory_path, station(FIRST), station(SECOND)) as s:
        await until(lambda: s.status.receiver.use == "used", 60)
        for name, value in fault.items():
            setattr(s.sim.faults, name, value)
        await asyncio.sleep(1200)
        assert s.status.receiver.use != "used"
        assert s.changes() == []
        assert s.second.connections == 0
