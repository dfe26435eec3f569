"""Virtual days of the whole daemon with a first service and a backup, each with one fault."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.failover.site import FOREIGN_STATION, HOUR_S, MINUTE_S, Site
from tests.support.virtualtime import run
from ztpd.sim.corrections import STATION
from ztpd.sim.proxy import FaultProxy, Line

DAY_S = 24 * HOUR_S
BEGINS_S, ENDS_S = HOUR_S, 13 * HOUR_S  # of a fault that lasts
_EVERY_S = 10.0  # corrections; a position comes every twenty seconds
_LOOK_S = MINUTE_S

Act = Callable[[Site], Awaitable[None] | None]


class Fault(NamedTuple):
    """``play`` makes it come and go during the day. The rest are the bounds of the test: changes of
    the service in use, session hours, bytes as a multiple of a day without a fault, and the share
    of the day in which the receiver uses corrections, at least."""

    name: str
    play: Act
    most_changes: int
    most_hours: float = 26.0
    most_bytes: float = 1.25
    least_used: float = 0.95


@dataclass(frozen=True, slots=True)
class Day:
    """``used``: share of the day; ``sessions`` and ``hours``: first service, backup."""

    changes: int
    sessions: tuple[int, int]
    hours: tuple[float, float]
    bytes: int
    used: float
    lines: int


def spend(name: str) -> Day:
    """A day with the fault of this name, in some seconds."""
    (fault,) = [each for each in FAULTS if each.name == name]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as top:  # renames on a disk cost 3 ms each
        return run(_day(fault, Path(top)))


async def _day(fault: Fault, top: Path) -> Day:
    site = Site(top, every_s=_EVERY_S)
    looks = used = 0
    async with site.running():
        playing = asyncio.create_task(_play(fault, site))
        for _ in range(int(DAY_S / _LOOK_S)):
            await asyncio.sleep(_LOOK_S)
            looks, used = looks + 1, used + (site.daemon.receiver.view.use == "used")
        await playing
        traffic = site.daemon.document().traffic
    assert traffic
    hours = {each.name: each.month_session_s / HOUR_S for each in traffic.channels}
    backup = sum(hours[name] for name in hours if name.startswith("state network"))
    return Day(
        changes=site.journal.count("session.service_changed"),
        sessions=(site.first.caster.sessions, site.backup.caster.sessions),
        hours=(sum(hours.values()) - backup, backup),
        bytes=traffic.month_bytes,
        used=used / looks,
        lines=len(site.journal.lines),
    )


async def _play(fault: Fault, site: Site) -> None:
    if (playing := fault.play(site)) is not None:
        await playing


def lasting(strike: Act, heal: Act, *, for_s: float = ENDS_S - BEGINS_S) -> Act:
    """From the first hour on."""

    async def play(site: Site) -> None:
        await asyncio.sleep(BEGINS_S)
        await _act(strike, site)
        if for_s < DAY_S - BEGINS_S:
            await asyncio.sleep(for_s)
            await _act(heal, site)

    return play


def again(strike: Act, heal: Act = lambda _: None, *, every_s: float, for_s: float = 0.0) -> Act:
    """Again and again for twelve hours."""

    async def play(site: Site) -> None:
        await asyncio.sleep(BEGINS_S)
        for _ in range(int((ENDS_S - BEGINS_S) / every_s)):
            await _act(strike, site)
            await asyncio.sleep(for_s)
            await _act(heal, site)
            await asyncio.sleep(every_s - for_s)

    return play


async def _act(act: Act, site: Site) -> None:
    if (acting := act(site)) is not None:
        await acting


def _foreign(site: Site) -> None:
    """The first service sends the data of another station, which the receiver does not use."""
    site.receiver.faults.ignored_stations.add(FOREIGN_STATION.station_id)
    site.first.station = FOREIGN_STATION


def _own(site: Site) -> None:
    site.receiver.faults.ignored_stations.clear()
    site.first.station = STATION


def _neither(site: Site) -> None:
    ignored = (site.first.station.station_id, site.backup.station.station_id)
    site.receiver.faults.ignored_stations.update(ignored)


def _caster(fault: str) -> Act:
    def strike(site: Site) -> None:
        site.first.caster.fault = fault
        site.first.caster.end_sessions()

    return lasting(strike, lambda site: setattr(site.first.caster, "fault", ""))


def _cuts_each(reset_at: int) -> Act:
    return lambda site: setattr(site.first.line, "to_client", Line(reset_at=reset_at))


def _mend(site: Site) -> None:
    site.first.line.heal()


def _down(site: Site) -> None:
    site.first.drop()


def _unplug(site: Site) -> None:
    site.gateway.gnss.unplug()
    site.receiver.power_cycle()


def _plug(site: Site) -> None:
    site.gateway.gnss.plug()


async def _listen(site: Site) -> None:
    await site.first.line.listen()


def _no_sky(on: bool) -> Act:
    return lambda site: setattr(site.receiver.faults, "no_sky", on)


def _radio(station: int | None) -> Act:
    """A radio on UART2 brings this station's data, and the receiver uses them."""
    return lambda site: setattr(site.receiver.faults, "radio_station", station)


def _both(act: Callable[[FaultProxy], None]) -> Act:
    def strike(site: Site) -> None:
        act(site.first.line)
        act(site.backup.line)

    return strike


def _no_network(site: Site) -> None:
    site.first.drop()
    site.backup.drop()


async def _network(site: Site) -> None:
    await site.first.line.listen()
    await site.backup.line.listen()


async def _reboot(site: Site) -> None:
    await site.stop()
    for path in site.gateway.runtime_dir.iterdir():
        path.unlink()
    site.clocks.reboot(off_for_s=20.0)
    site.receiver.power_cycle()
    await site.start()


_FOREIGN = "another station's data"

FAULTS = (
    Fault("none", lambda _: None, 0),
    # The first service is there, and the receiver does not use it.
    Fault(f"{_FOREIGN}, all day", lasting(_foreign, _own, for_s=DAY_S), 9),
    Fault(f"{_FOREIGN}, one hour", lasting(_foreign, _own, for_s=HOUR_S), 6),
    Fault(
        f"{_FOREIGN}, every second hour",
        again(_foreign, _own, every_s=2 * HOUR_S, for_s=HOUR_S),
        12,
    ),
    Fault("neither service is used, 12 h", lasting(_neither, _own), 12, least_used=0.45),
    # The first caster.
    Fault("first caster down, 12 h", lasting(_down, _listen), 2),
    Fault("first caster refuses every user, 12 h", _caster("unauthorized"), 2),
    Fault("first caster does not answer, 12 h", _caster("no-answer"), 2),
    Fault("first caster stops after 2 kB, 12 h", _caster("stall"), 2),
    Fault("first caster ends sessions after 10 s, 12 h", _caster("short-life"), 2),
    Fault("first caster sends damaged frames, 12 h", _caster("bad-crc"), 2),
    # The network.
    Fault("line to the first caster reset every 4 kB, 12 h", lasting(_cuts_each(4000), _mend), 2),
    Fault("both lines reset, every hour", again(_both(FaultProxy.reset), every_s=HOUR_S), 2),
    Fault(
        "both lines half-open, every hour", again(_both(FaultProxy.half_open), every_s=HOUR_S), 2
    ),
    Fault(
        "no network for 10 min, every second hour",
        again(_no_network, _network, every_s=2 * HOUR_S, for_s=10 * MINUTE_S),
        12,
        least_used=0.93,
    ),
    # The receiver, and the gateway.
    Fault(
        "receiver unplugged for 10 min, every second hour",
        again(_unplug, _plug, every_s=2 * HOUR_S, for_s=10 * MINUTE_S),
        2,
        least_used=0.93,
    ),
    Fault(
        "antenna without sky for 10 min, every second hour",
        again(_no_sky(True), _no_sky(False), every_s=2 * HOUR_S, for_s=10 * MINUTE_S),
        2,
        least_used=0.93,
    ),
    Fault(
        "a radio brings another station, 12 h",
        lasting(_radio(7), _radio(None)),
        12,
        least_used=0.45,
    ),
    Fault("gateway rebooted, every second hour", again(_reboot, every_s=2 * HOUR_S), 2),
)
