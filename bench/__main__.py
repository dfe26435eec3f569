"""`python -m bench [PART ...]`: measure, and print a table. Parts are in ``PARTS``.

ztpd beside other programs is in the parts ``steady``, ``latency`` and ``start``; ``rates`` is its
cost at one to a hundred times the usual rate.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from compileall import compile_dir
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args

import paho
import serial

import ztpd
from bench import links, process, tables
from bench import scan as scanning
from bench.sources import Via
from ztpd import log

T = TypeVar("T")
_GATEWAYS, _ROUNDS = 20, 2
_VIAS: tuple[Via, ...] = get_args(Via)


def row(quantity: str, via: str, found: str, wanted: str) -> None:
    print(f"{quantity:<44} {via:<6} {found:<30} {wanted}", flush=True)


async def outage() -> None:
    await _repeated("corrections again after an outage of 3 s", links.outage, 1.5)


async def silence() -> None:
    await _repeated("silent link noticed", links.silence, 20.0)


async def _repeated(
    quantity: str, fault: Callable[[links.Line], Awaitable[float]], limit_s: float
) -> None:
    """Both transports side by side."""
    measure = partial(links.repeated, fault, gateways=_GATEWAYS, rounds=_ROUNDS)
    results = await asyncio.gather(*(_in_directory(partial(measure, via)) for via in _VIAS))
    for via, found in zip(_VIAS, results, strict=True):
        share, middle = links.within(found, limit_s), links.median(found)
        text = f"{share:.0f} % of {len(found)}; {middle:.2f}, {max(found):.2f} s"
        row(quantity, via, text, f"95 % within {limit_s:g} s")


async def overload() -> None:
    name = f"{links.SLOW_BAUD} baud offered {links.OVERLOAD} times"
    for via in _VIAS:
        found = await _in_directory(partial(links.overload, via, for_s=60))
        row(f"{name}: oldest byte", via, f"{found.oldest_s:.1f} s", "below 6 s")
        row("  usual age", via, f"{found.usual_s:.1f} s", "")
        row("  bytes outside of whole frames", via, f"{found.damaged_bytes}", "0")
        row("  taken", via, f"{found.bytes_per_s:.0f} of 3840 bytes/s", "")


async def costs() -> None:
    found = await _in_directory(partial(process.costs, for_s=60))
    row("start to READY", "", f"{found.ready_s:.2f} s", "")
    row("memory while streaming", "", f"{found.rss_kib / 1024:.1f} MiB", "")
    row("  its own share", "", f"{found.pss_kib / 1024:.1f} MiB", "")
    row("CPU while streaming", "", f"{found.cpu_ms_per_s:.1f} ms/s", "")
    row("wake-ups while streaming", "", f"{found.wake_ups_streaming:.2f}/s", "")
    row("wake-ups, receiver silent", "", f"{found.wake_ups_mute:.2f}/s", "0.5/s")
    row("wake-ups, receiver absent", "", f"{found.wake_ups_absent:.2f}/s", "0.5/s")
    row("libraries loaded", "", ", ".join(found.libraries), "no aiohttp")


async def scan() -> None:
    for name, piece, us, times in scanning.results():
        wanted = "" if times == 1 else "10 times honest ones"
        row(f"{name}, pieces of {piece} bytes", "", f"{us:.3f} us/byte, {times:.1f} times", wanted)


async def _in_directory(work: Callable[[Path], Awaitable[T]]) -> T:
    # In memory, as /run is: else the daemon would also wait for this machine's disk.
    with tempfile.TemporaryDirectory(prefix="ztpd-bench-", dir="/dev/shm") as directory:
        return await work(Path(directory))


PARTS = {
    "scan": scan,
    "process": costs,
    "overload": overload,
    "outage": outage,
    "silence": silence,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join([*PARTS, *_BESIDE]))
    parser.add_argument("--seconds", type=float, default=15.0, help="of one measurement (15)")
    parser.add_argument("--times", type=int, default=5, help="measurements of a median (5)")
    parser.add_argument("--cold", action="store_true", help="start with empty caches; as root")
    return parser.parse_args()


_BESIDE = ("steady", "latency", "start", "rates")


def _compile() -> None:
    """Bytecode for all that is started, as an installed package has it."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for package in (ztpd, paho, serial):
        compile_dir(package.__path__[0], quiet=1)


def main() -> None:
    options = _options()
    process.end_with_sigterm()
    _compile()
    log.setup("critical")
    times, for_s = options.times, options.seconds
    beside = {
        "steady": partial(tables.steady, times=times, for_s=for_s),
        "latency": partial(tables.latency, times=times, for_s=for_s),
        "start": partial(tables.start, times=times, cold=options.cold),
        "rates": partial(tables.rates, for_s=for_s),
    }
    plain = [name for name in options.parts or PARTS if name not in beside]
    if plain:
        row("quantity", "via", "measured; median, worst", "wanted")
    for name in plain:
        asyncio.run(PARTS[name]())
    for name in [each for each in options.parts or beside if each in beside]:
        print()
        asyncio.run(_in_directory(beside[name]))


main()
