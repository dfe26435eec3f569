"""ztpd beside other programs, on the same stream and the same receiver, in the same seconds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from bench.peers import USUAL, Job, started
from bench.process import Process
from bench.receivers import BenchPty, Rhythm, receiver, until_second_and
from bench.sources import Via
from tests.support.gateway import FAST_LINE, Gateway
from ztpd.model import Frame
from ztpd.sim import corrections
from ztpd.sim.authority import Authority
from ztpd.sim.broker import Broker
from ztpd.sim.caster import Caster

Feed = Callable[[], AsyncIterator[bytes]]
_UNDERWAY_S = 0.3  # corrections, from the epoch of their observations to the gateway
_SETTLED_S = 10.0  # after the start; then it costs what it costs for years
_RESIGNED_S = 120.0  # after which a receiver that says nothing is asked every minute or two
_FIRST_WITHIN_S = 30.0


class Cost(NamedTuple):
    cpu_s_per_hour: float
    wake_ups_per_s: float
    rss_kib: int
    pss_kib: int


class Start(NamedTuple):
    seconds: float  # from its start to the first frame at the receiver
    cpu_s: float


@asynccontextmanager
async def service(via: Via, authority: Authority, streams: dict[str, Feed]) -> AsyncIterator[int]:
    """A caster without TLS, which gpsd and str2str do not speak, or a broker with it: its port.
    ``streams`` by mountpoint or topic."""
    if via == "ntrip":
        async with Caster(streams) as caster:
            yield caster.port
        return

    async def publish(broker: Broker, topic: str, feed: Feed) -> None:
        async for data in feed():
            await broker.publish(topic, data)

    async with Broker(authority) as broker, AsyncExitStack() as stack:
        for topic, feed in streams.items():
            publishing = asyncio.create_task(publish(broker, topic, feed))
            stack.callback(publishing.cancel)
        yield broker.port


_MAKE: dict[Via, Callable[[random.Random], Iterator[corrections.Piece]]] = {
    "ntrip": corrections.rtcm,
    "mqtt": corrections.spartn,
}
"""RTCM of a base station, and SPARTN as PointPerfect sends it."""


def real(via: Via, *, speed: float = 1.0) -> Feed:
    async def feed() -> AsyncIterator[bytes]:
        await until_second_and(_UNDERWAY_S)
        made = corrections.coalesce(_MAKE[via](random.Random(1)))
        async for piece in corrections.paced(made, speed=speed):
            yield piece.data

    return feed


class Dated:
    """Frames at an even pace, each handed to the service at a time that is known."""

    def __init__(self, via: Via, *, period_s: float, later_s: float = 0.0) -> None:
        self._pieces = _MAKE[via](random.Random(later_s))
        self._period_s, self._later_s = period_s, later_s
        self._made_s: dict[bytes, float] = {}

    async def feed(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._later_s)
        for piece in self._pieces:
            self._made_s[piece.data] = loop.time()
            yield piece.data
            await asyncio.sleep(self._period_s)

    def ages_s(self, arrivals: Iterable[tuple[float, Frame]]) -> list[float]:
        return [arrived_s - self._made_s[frame.data] for arrived_s, frame in arrivals]


class Work(NamedTuple):
    """One program of a run; its mountpoint or topic, if it has one of its own."""

    program: str
    source: str = ""


@asynccontextmanager
async def at_work(
    work: Work, directory: Path, authority: Authority, via: Via, port: int, rhythm: Rhythm
) -> AsyncIterator[tuple[Process, BenchPty]]:
    directory.mkdir()
    gateway = Gateway(directory, authority)
    async with receiver(gateway, rhythm) as device:
        job = Job(gateway, rhythm.baudrate, via, port, work.source)
        async with started(work.program, job) as process:
            assert isinstance(gateway.gnss, BenchPty)
            if not rhythm.rate_hz:
                await asyncio.sleep(_SETTLED_S)
                device.faults.sends_nothing = True
            yield process, gateway.gnss


async def costs(
    directory: Path, via: Via, rhythm: Rhythm, works: Sequence[Work], *, times: int, for_s: float
) -> list[list[Cost]]:
    """Of each program, ``times`` in a row, in the same seconds as the others."""
    authority = Authority()
    async with service(via, authority, {USUAL[via]: real(via)}) as port, AsyncExitStack() as on:
        processes = []
        for number, work in enumerate(works):
            place = directory / str(number)
            running = at_work(work, place, authority, via, port, rhythm)
            processes.append((await on.enter_async_context(running))[0])
        await asyncio.sleep(_SETTLED_S if rhythm.rate_hz else _RESIGNED_S)
        found: list[list[Cost]] = [[] for _ in works]
        for _ in range(times):
            before = [(each.cpu_s(), each.switches()) for each in processes]
            await asyncio.sleep(for_s)
            for taken, process, (cpu_s, switches) in zip(found, processes, before, strict=True):
                taken.append(
                    Cost(
                        3600 * (process.cpu_s() - cpu_s) / for_s,
                        (process.switches() - switches) / for_s,
                        process.memory_kib("Rss"),
                        process.memory_kib("Pss"),
                    )
                )
    return found


_FAST = Rhythm("fast", FAST_LINE)


async def latencies(
    directory: Path, via: Via, programs: Sequence[str], *, for_s: float
) -> list[list[float]]:
    """Seconds from the service to the receiver, of each frame, by program. Each program has its
    own stream; their frames are made in turn, so that no program waits for another."""
    authority, period_s = Authority(), 0.25
    names = [f"{each}-RTCM" if via == "ntrip" else f"/pp/ip/{each}" for each in programs]
    names = [USUAL[via] if "gnssmqttclient" in each else each for each in names]  # it knows that
    dated = [
        Dated(via, period_s=period_s, later_s=number * period_s / len(names))
        for number in range(len(names))
    ]
    streams = {name: each.feed for name, each in zip(names, dated, strict=True)}
    async with service(via, authority, streams) as port, AsyncExitStack() as on:
        lines = []
        for program, name in zip(programs, names, strict=True):
            running = at_work(Work(program, name), directory / program, authority, via, port, _FAST)
            lines.append((await on.enter_async_context(running))[1])
        await asyncio.sleep(_SETTLED_S)
        for line in lines:
            line.arrivals.clear()
        await asyncio.sleep(for_s)
        return [each.ages_s(line.arrivals) for each, line in zip(dated, lines, strict=True)]


async def starts(
    directory: Path, via: Via, programs: Sequence[str], *, times: int, cold: bool
) -> list[list[Start]]:
    """Of each program, in turn, ``times``."""
    authority = Authority()
    found: list[list[Start]] = [[] for _ in programs]
    streams = {USUAL[via]: Dated(via, period_s=0.02).feed}
    loop = asyncio.get_running_loop()
    async with service(via, authority, streams) as port:
        for turn in range(times):
            for program, taken in zip(programs, found, strict=True):
                if cold:
                    Path("/proc/sys/vm/drop_caches").write_text("3")
                place = directory / f"{program}-{turn}"
                running = at_work(Work(program), place, authority, via, port, _FAST)
                async with running as (process, line), asyncio.timeout(_FIRST_WITHIN_S):
                    await line.first.wait()
                    seconds = loop.time() - process.began_s
                    taken.append(Start(seconds, process.cpu_s()))
    return found


class Rate(NamedTuple):
    frames_per_s: float
    cpu_us_per_frame: float
    rss_kib: int


async def rates(
    directory: Path, via: Via, speeds: Sequence[float], *, for_s: float
) -> list[tuple[float, Rate]]:
    """ztpd's cost for each frame, reports of the receiver included, at ``speeds`` times the usual
    rate, without the cost of a receiver that gets nothing."""
    authority, found = Authority(), []
    streams = {f"{speed:g}": real(via, speed=speed) for speed in speeds}
    async with service(via, authority, streams) as port:
        alone_s = await _cpu_s_alone(directory, authority, via, port, for_s)
        for speed, name in zip(speeds, streams, strict=True):
            work = Work("ztpd", name)
            running = at_work(work, directory / name, authority, via, port, _FAST)
            async with running as (process, line):
                await line.first.wait()
                await asyncio.sleep(_SETTLED_S)
                line.arrivals.clear()
                before_s = process.cpu_s()
                await asyncio.sleep(for_s)
                taken_s, frames = process.cpu_s() - before_s - alone_s, len(line.arrivals)
                rate = Rate(frames / for_s, 1e6 * taken_s / frames, process.memory_kib("Rss"))
                found.append((speed, rate))
    return found


async def _cpu_s_alone(
    directory: Path, authority: Authority, via: Via, port: int, for_s: float
) -> float:
    """CPU time of ztpd with a receiver that gets no corrections."""
    work = Work("ztpd", "none")
    async with at_work(work, directory / "none", authority, via, port, _FAST) as (process, _):
        await asyncio.sleep(_SETTLED_S)
        before_s = process.cpu_s()
        await asyncio.sleep(for_s)
        return process.cpu_s() - before_s
