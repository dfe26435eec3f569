"""`python -m bench.soak`: what grows, in an hour of real time and a month of virtual time, while
faults come and go. Every second day of the month is quiet: nothing may be left of the day before,
and nothing is written to the card."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import statistics
import sys
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from bench import process
from bench.process import Process
from tests.support.chaos import Fault, Site, draw
from tests.support.gateway import Gateway
from tests.support.virtualtime import run

DAY_S = 86_400.0
_MARGIN_S = 300.0  # after a fault, beside the longest wait that the daemon documents
_NOT_OURS = ("ztpd.sim", "ztpd.demo", "tests")
_CONTAINERS = (dict, list, set, frozenset, tuple, deque)


class Day(NamedTuple):
    """At the end of a day of the month."""

    faults: tuple[str, ...]
    tasks: Counter[str]
    descriptors: int
    entries: int  # in all the daemon's dictionaries, lists, sets and queues
    lines: int  # in the journal, on that day
    written: int  # files of the state directory that changed on that day


class _Lines(logging.Handler):
    count = 0

    def emit(self, _: logging.LogRecord) -> None:
        self.count += 1


def entries(*roots: object) -> int:
    """In all containers that belong to ``roots``: followed through containers and objects of
    ztpd's classes."""
    known, waiting, found = set[int](), list(roots), 0
    while waiting:
        thing = waiting.pop()
        if id(thing) in known:
            continue
        known.add(id(thing))
        if isinstance(thing, _CONTAINERS):
            found += len(thing)
            waiting += thing.values() if isinstance(thing, dict) else thing
        elif _is_ours(type(thing).__module__):
            waiting += (getattr(thing, name) for name in _attributes(thing))
    return found


def _is_ours(module: str) -> bool:
    return module.startswith("ztpd.") and not module.startswith(_NOT_OURS)


def _attributes(thing: object) -> Iterator[str]:
    yield from getattr(thing, "__dict__", ())
    for kind in type(thing).__mro__:
        yield from (name for name in vars(kind).get("__slots__", ()) if hasattr(thing, name))


def _globals() -> list[object]:
    """The containers that ztpd's modules hold."""
    modules = [module for name, module in list(sys.modules.items()) if _is_ours(name)]
    found = [value for module in modules for value in vars(module).values()]
    return [value for value in found if isinstance(value, (dict, list, set, deque))]


def _card(directory: Path) -> dict[str, tuple[int, int]]:
    files = [path.stat() for path in sorted(directory.rglob("*"))]
    names = [str(path) for path in sorted(directory.rglob("*"))]
    return {name: (each.st_mtime_ns, each.st_ino) for name, each in zip(names, files, strict=True)}


async def month(top: Path, *, days: int, seed: int = 1, day_s: float = DAY_S) -> AsyncIterator[Day]:
    """In virtual time: one daemon, which is never restarted. A day may be made shorter."""
    lines, rng = _Lines(), random.Random(seed)
    logger = logging.getLogger("ztpd")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    site = Site(top, "both", rng)
    try:
        async with AsyncExitStack() as stack:
            await site.build(stack)
            stack.push_async_callback(site.close)
            await site.start()
            await site.well(within_s=300)
            for number in range(days):
                faults = _faults(rng) if number % 2 else []
                ends_s = asyncio.get_running_loop().time() + day_s
                before, card = lines.count, _card(site.gateway.state_dir)
                for fault in faults:
                    await _endure(site, fault)
                await asyncio.sleep(ends_s - asyncio.get_running_loop().time())
                now = _card(site.gateway.state_dir)
                written = sum(card.get(name) != state for name, state in now.items())
                _forget(site)
                tasks, descriptors = site.footprint()
                yield Day(
                    tuple(f"{fault.room}: {fault.name}" for fault in faults),
                    tasks,
                    descriptors,
                    entries(site.daemon, *_globals()),
                    lines.count - before,
                    written,
                )
    finally:
        logger.removeHandler(lines)


def _faults(rng: random.Random) -> list[Fault]:
    """Those of one day; a restart would hide what grows."""
    return [each for each in draw(rng, "both", is_early=False) if each.room != "restart"]


async def _endure(site: Site, fault: Fault) -> None:
    """``fault`` for a random time, and the way back."""
    for act in (fault.strike, fault.heal):
        if asyncio.iscoroutine(found := act(site)):
            await found
        if act is fault.strike:
            await asyncio.sleep(fault.longest_s ** site.rng.random() if fault.longest_s else 0)
    await site.well(within_s=fault.back_s + _MARGIN_S)


def _forget(site: Site) -> None:
    """What the simulators remember would count as growth."""
    site.receiver.received.clear()
    for kept in (site.caster.requests, site.caster.ggas, site.caster.connected_s):
        kept.clear()
    for task in [each for each in site.aside if each.done()]:
        site.aside.remove(task)
    gc.collect()


class Minute(NamedTuple):
    """At the end of a minute of the real daemon."""

    rss_kib: int
    descriptors: int
    lines: int  # in the journal, in that minute
    cpu_ms: float
    written: int  # files of the state directory that changed in that minute


async def hour(top: Path, *, minutes: int) -> AsyncIterator[Minute]:
    """In real time: the daemon in a process of its own. A fault each second minute."""
    gateway = Gateway(top)
    async with process.streaming(gateway) as (daemon, _, line, receiver):

        async def outage() -> None:
            line.refuse()
            line.cut()
            await asyncio.sleep(5)
            await line.listen()

        async def act(what: Callable[[], object]) -> None:
            what()

        faults: list[Callable[[], Awaitable[None]]] = [
            lambda: act(line.reset),
            lambda: act(gateway.gnss.replug),
            outage,
            lambda: act(receiver.power_cycle),
            lambda: act(line.half_open),
        ]
        for number in range(minutes):
            fault = faults[number // 2 % len(faults)] if number % 2 else None
            yield await _minute(daemon, gateway, fault)
            receiver.received.clear()


async def _minute(
    daemon: Process, gateway: Gateway, fault: Callable[[], Awaitable[None]] | None
) -> Minute:
    ends_s = asyncio.get_running_loop().time() + 60
    lines, cpu_s, card = daemon.lines, daemon.cpu_s(), _card(gateway.state_dir)
    if fault is not None:
        await fault()
    await asyncio.sleep(ends_s - asyncio.get_running_loop().time())
    now = _card(gateway.state_dir)
    return Minute(
        daemon.memory_kib("Rss"),
        daemon.descriptors(),
        daemon.lines - lines,
        1000 * (daemon.cpu_s() - cpu_s),
        sum(card.get(name) != state for name, state in now.items()),
    )


def growth(figures: list[float]) -> float:
    """The median of the last third less that of the first."""
    third = max(1, len(figures) // 3)
    return statistics.median(figures[-third:]) - statistics.median(figures[:third])


async def _report_hour(top: Path, minutes: int) -> None:
    print("minute  RSS KiB  descriptors  lines  CPU ms  files written")
    found = []
    async for each in hour(top, minutes=minutes):
        found.append(each)
        text = f"{each.rss_kib:8} {each.descriptors:12} {each.lines:6} {each.cpu_ms:7.0f}"
        print(f"{len(found):6} {text} {each.written:14}", flush=True)
    print(f"RSS has grown by {growth([each.rss_kib for each in found]):+.0f} KiB")


async def _report_month(top: Path, days: int, day_s: float) -> None:
    print("day  tasks  descriptors  entries  lines  files written  faults")
    number = 0
    async for day in month(top, days=days, day_s=day_s):
        number += 1
        text = f"{day.tasks.total():6} {day.descriptors:12} {day.entries:8} {day.lines:6}"
        print(f"{number:3} {text} {day.written:14}  {', '.join(day.faults)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="of real time (60)")
    parser.add_argument("--days", type=int, default=30, help="of virtual time (30)")
    parser.add_argument("--hours", type=float, default=24.0, help="of such a day (24)")
    options = parser.parse_args()
    process.end_with_sigterm()
    with tempfile.TemporaryDirectory(prefix="ztpd-soak-") as top:
        for name in ("hour", "month"):
            (Path(top) / name).mkdir()
        if options.minutes:
            asyncio.run(_report_hour(Path(top) / "hour", options.minutes))
        if options.days:
            run(_report_month(Path(top) / "month", options.days, 3600 * options.hours))


if __name__ == "__main__":
    main()
