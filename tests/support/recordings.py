"""Recordings of faults, played to the whole daemon in virtual time.

``make recordings`` makes those of tests/data/recordings anew, from faults of the simulators.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import TOP, virtualtime
from tests.support.gateway import Gateway
from tests.support.until import until
from ztpd.daemon import Daemon
from ztpd.health import Health, causes, health
from ztpd.model import FrameKind
from ztpd.sim import corrections, playable
from ztpd.sim.caster import Caster
from ztpd.sim.playback import Playback, PlayedReceiver
from ztpd.sim.receiver import F9P, F9P_NEW, F9P_OLD, Model, SimReceiver
from ztpd.status import Status
from ztpd.wire import recording
from ztpd.wire.frames import Scanner
from ztpd.wire.recording import ReadRecording, RecordKind
from ztpd.wire.rtcm import StationPosition
from ztpd.wire.ubx import Antenna, Jamming

FOLDER = TOP / "tests/data/recordings"
FAR = StationPosition(2003, 3_830_000.0, 912_000.0, 5_000_000.0, 0.0)
MOUNTPOINT = "NEAR"


@dataclass(frozen=True)
class Verdict:
    """What ztpd says of a gateway."""

    health: Health
    causes: list[str]  # events, the most important first
    use: str
    fix: str
    receiver: str  # model and firmware

    @classmethod
    def of(cls, seen: Status) -> Verdict:
        view = seen.receiver
        return cls(
            health(seen, is_running=True),
            [each.event for each in causes(seen)],
            view.use,
            view.fix,
            f"{view.model} {view.firmware}",
        )


@dataclass
class Replay:
    """A gateway whose receiver and caster are played."""

    gateway: Gateway
    daemon: Daemon
    playback: Playback

    @property
    def verdict(self) -> Verdict:
        return Verdict.of(self.daemon.document())


@asynccontextmanager
async def replay(path: Path, top: Path, *, speed: float = 1.0) -> AsyncIterator[Replay]:
    """The recording, or other program's log, at ``path``, from its beginning on."""
    playback, gateway = Playback(playable.load(path), speed=speed), Gateway(top)
    is_played = playback.playable.has_receiver
    feed = playback.feed if playback.playable.has_service else _blocks()
    async with AsyncExitStack() as stack:
        caster = await stack.enter_async_context(Caster({MOUNTPOINT: feed}))
        await stack.enter_async_context(gateway.gnss)
        receiver = (
            PlayedReceiver(gateway.gnss, playback.playable)
            if is_played
            else SimReceiver(gateway.gnss)
        )
        await stack.enter_async_context(receiver)
        _configure(gateway, caster)
        playing = asyncio.create_task(playback.run(receiver, gateway.gnss, caster))
        daemon = await stack.enter_async_context(gateway.running())
        try:
            yield Replay(gateway, daemon, playback)
        finally:
            playing.cancel()


def replayed(name: str | Path, top: Path, *, speed: float = 1.0) -> Verdict:
    """ztpd's verdict at the end of a recording: one of tests/data/recordings, or any path."""

    async def run() -> Verdict:
        async with replay(FOLDER / name, top, speed=speed) as played:
            await until(played.playback.done.is_set, 24 * 3600)
            return played.verdict

    return virtualtime.run(run())


def _configure(gateway: Gateway, caster: Caster) -> None:
    gateway.configure(
        ntrip={"host": "127.0.0.1", "port": caster.port, "mountpoint": MOUNTPOINT, "tls": False}
    )


def _blocks(
    station: StationPosition = corrections.STATION,
) -> Callable[[], AsyncIterator[bytes]]:
    async def blocks() -> AsyncIterator[bytes]:
        pieces = corrections.coalesce(corrections.rtcm(random.Random(1), station=station))
        async for piece in corrections.paced(pieces):
            yield piece.data

    return blocks


@dataclass
class Site:
    """The simulators that a fault reaches."""

    sim: SimReceiver
    caster: Caster
    gateway: Gateway


@dataclass(frozen=True)
class Source:
    """A fault of the simulators, recorded ``for_s`` from ``after_s`` on."""

    fault: Callable[[Site], None]
    model: Model = F9P
    station: StationPosition = corrections.STATION
    after_s: float = 30.0
    for_s: float = 60.0


def _breaks(**faults: object) -> Callable[[Site], None]:
    def give(site: Site) -> None:
        for name, value in faults.items():
            setattr(site.sim.faults, name, value)

    return give


def _pull_the_plug(site: Site) -> None:
    """Twenty seconds after the recording has begun, for four seconds; it keeps its position."""

    def pull() -> None:
        site.sim.reset()
        site.gateway.gnss.unplug()
        loop.call_later(4.0, site.gateway.gnss.plug)

    loop = asyncio.get_running_loop()
    loop.call_later(50.0, pull)


def _refuse(site: Site) -> None:
    site.caster.fault = "unauthorized"


SOURCES = {
    "antenna-short.ztpd": Source(_breaks(never_fixed=True, antenna=Antenna.SHORT)),
    "jamming.ztpd": Source(_breaks(never_fixed=True, jamming=Jamming.CRITICAL), F9P_NEW),
    "station-far.ztpd": Source(_breaks(never_fixed=True), station=FAR),
    "other-station-by-radio.ztpd": Source(_breaks(radio_station=77)),
    "old-firmware.ztpd": Source(_breaks(), F9P_OLD),
    "receiver-unplugged.ztpd": Source(_pull_the_plug),
    "account-refused.ztpd": Source(_refuse, for_s=20.0),
}


async def recorded(source: Source, top: Path) -> bytes:
    """The file, as ``ztpd record`` writes it."""
    gateway = Gateway(top)
    async with (
        Caster({MOUNTPOINT: _blocks(source.station)}) as caster,
        gateway.receiver(model=source.model) as sim,
    ):
        _configure(gateway, caster)
        source.fault(Site(sim, caster, gateway))
        async with gateway.running() as daemon:
            await asyncio.sleep(source.after_s)
            stream = daemon.observation.recorder.record(daemon.receiver, with_position=False)
            now, data = asyncio.get_running_loop().time, b""
            end_s = now() + source.for_s
            while now() < end_s:
                data += await anext(stream)
            await stream.aclose()
    found = recording.read(data)
    return recording.write(found.about | {"begun": "2026-11-29T10:00:00.000+00:00"}, found.records)


def messages(found: ReadRecording) -> dict[RecordKind, set[str]]:
    """The names of the messages, and of the events."""
    names: dict[RecordKind, set[str]] = {kind: set() for kind in RecordKind}
    scanners = {kind: Scanner(*FrameKind) for kind in RecordKind}
    for each in found.records:
        if each.kind is RecordKind.EVENT:
            names[each.kind].add(str(each.fields["event"]))
        else:
            names[each.kind] |= {frame.name for frame in scanners[each.kind].feed(each.data)}
    return names


def make() -> None:
    """Write all files, and print their sizes."""
    FOLDER.mkdir(exist_ok=True)
    for name, source in SOURCES.items():
        with tempfile.TemporaryDirectory() as top:
            data = virtualtime.run(recorded(source, Path(top)))
        (FOLDER / name).write_bytes(data)
        print(f"{name:<28} {len(data):>6} bytes")


if __name__ == "__main__":
    make()
