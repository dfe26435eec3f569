"""Tables of ztpd beside other programs, as docs/performance.md has them."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import sidebyside
from bench.peers import installed
from bench.receivers import RHYTHMS
from bench.sidebyside import Cost, Start, Work
from bench.sources import Via

_PEERS: dict[Via, tuple[str, ...]] = {
    "ntrip": ("gpsd", "str2str", "gnssntripclient", "bare-python"),
    "mqtt": ("mosquitto_sub", "gnssmqttclient", "bare-python"),
}
_LOOKS_FIRST = "gpsd"  # it asks its receiver for some seconds before it passes corrections on
_STEADY = (
    "receiver",
    "program",
    "CPU s/hour",
    "wake-ups/s",
    "RSS MiB",
    "PSS MiB",
    "CPU ratio",
    "wake-up ratio",
    "RSS ratio",
)
_LATENCY = ("transport", "program", "p50 ms", "p99 ms", "p50 ratio")
_START = ("transport", "program", "first frame s", "CPU s", "time ratio", "CPU ratio")

_RATES = ("transport", "times", "frames/s", "CPU us/frame", "RSS MiB")
_SPEEDS = (1.0, 10.0, 30.0, 100.0)


def heading(names: Sequence[str]) -> None:
    line(names)
    line(["---"] * 2 + ["--:"] * (len(names) - 2))


def line(cells: Sequence[str]) -> None:
    print("|", " | ".join(cells), "|", flush=True)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The median of the pairs' quotients; "" where there is none."""
    found = [one / other for one, other in zip(ours, theirs, strict=False) if other]
    return f"{statistics.median(found):.2f}" if found else ""


async def steady(directory: Path, *, times: int, for_s: float) -> None:
    """What a program costs while it streams; ratios are ztpd's figure by the program's."""
    heading(_STEADY)
    ntrip = [Work(each) for each in ("ztpd", *installed(*_PEERS["ntrip"]))]
    for name, rhythm in RHYTHMS.items():
        place = directory / name
        place.mkdir()
        found = await sidebyside.costs(place, "ntrip", rhythm, ntrip, times=times, for_s=for_s)
        _steady_rows(f"{rhythm.name}, NTRIP", [each.program for each in ntrip], found)
    names = ["ztpd", "ztpd", *installed(*_PEERS["mqtt"])]
    sources = ["", "/pp/ip/none"]  # the second one gets no corrections
    works = [Work(each, source) for each, source in zip(names, sources + [""] * 9, strict=False)]
    place = directory / "mqtt"
    place.mkdir()
    rhythm = RHYTHMS["epochs"]
    found = await sidebyside.costs(place, "mqtt", rhythm, works, times=times, for_s=for_s)
    names[1] = "ztpd, no corrections"
    _steady_rows(f"{rhythm.name}, MQTT", names, found)


def _steady_rows(receiver: str, names: Sequence[str], found: Sequence[Sequence[Cost]]) -> None:
    def median(costs: Sequence[Cost], field: Callable[[Cost], float]) -> float:
        return statistics.median(map(field, costs))

    ours = found[0]
    for name, costs in zip(names, found, strict=True):
        cells = [
            receiver,
            name,
            f"{median(costs, lambda each: each.cpu_s_per_hour):.1f}",
            f"{median(costs, lambda each: each.wake_ups_per_s):.1f}",
            f"{median(costs, lambda each: each.rss_kib) / 1024:.1f}",
            f"{median(costs, lambda each: each.pss_kib) / 1024:.1f}",
        ]
        if costs is not ours:
            cells += [
                ratio(
                    [each.cpu_s_per_hour for each in ours], [each.cpu_s_per_hour for each in costs]
                ),
                ratio(
                    [each.wake_ups_per_s for each in ours], [each.wake_ups_per_s for each in costs]
                ),
                ratio([each.rss_kib for each in ours], [each.rss_kib for each in costs]),
            ]
        line(cells + [""] * (len(_STEADY) - len(cells)))


async def latency(directory: Path, *, times: int, for_s: float) -> None:
    """From the service to the receiver, in one process's clock."""
    heading(_LATENCY)
    for via, peers in _PEERS.items():
        names = ["ztpd", *installed(*(each for each in peers if each != _LOOKS_FIRST))]
        place = directory / via
        place.mkdir()
        found = await sidebyside.latencies(place, via, names, for_s=times * for_s)
        middle = [statistics.median(ages) for ages in found]
        for name, ages, p50 in zip(names, found, middle, strict=True):
            p99 = statistics.quantiles(ages, n=100)[98]
            against = "" if name == "ztpd" else f"{middle[0] / p50:.2f}"
            line([via, name, f"{1000 * p50:.2f}", f"{1000 * p99:.2f}", against])


async def start(directory: Path, *, times: int, cold: bool) -> None:
    """From a program's start to its first frame at the receiver."""
    heading(_START)
    for via, peers in _PEERS.items():
        names = ["ztpd", *installed(*(each for each in peers if each != _LOOKS_FIRST))]
        place = directory / via
        place.mkdir()
        found = await sidebyside.starts(place, via, names, times=times, cold=cold)
        for name, taken in zip(names, found, strict=True):
            _start_row(via, name, found[0], taken)
    print()
    verbs(directory, times=times)


async def rates(directory: Path, *, for_s: float) -> None:
    """What a frame costs at one to a hundred times the usual rate."""
    heading(_RATES)
    for via in _PEERS:
        place = directory / via
        place.mkdir()
        for speed, rate in await sidebyside.rates(place, via, _SPEEDS, for_s=for_s):
            figures = f"{rate.frames_per_s:.1f}", f"{rate.cpu_us_per_frame:.0f}"
            line([via, f"{speed:g}", *figures, f"{rate.rss_kib / 1024:.1f}"])


def verbs(directory: Path, *, times: int) -> None:
    """The verbs that people and scripts call often."""
    heading(("verb", "", "seconds", "CPU s"))
    environ = os.environ | {"STATE_DIRECTORY": str(directory), "RUNTIME_DIRECTORY": str(directory)}
    for verb in ("--help", "status"):
        taken = [_call([sys.executable, "-m", "ztpd", verb], environ) for _ in range(times)]
        seconds = statistics.median(each.seconds for each in taken)
        cpu_s = statistics.median(each.cpu_s for each in taken)
        line([f"ztpd {verb}", "", f"{seconds:.3f}", f"{cpu_s:.3f}"])


def _call(command: Sequence[str], environ: Mapping[str, str]) -> Start:
    def cpu_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    began_s, before_s = time.monotonic(), cpu_s()
    subprocess.run(command, env=environ, capture_output=True, check=False)
    return Start(time.monotonic() - began_s, cpu_s() - before_s)


def _start_row(via: Via, name: str, ours: Sequence[Start], taken: Sequence[Start]) -> None:
    seconds = [each.seconds for each in taken]
    cpu_s = [each.cpu_s for each in taken]
    cells = [via, name, f"{statistics.median(seconds):.2f}", f"{statistics.median(cpu_s):.2f}"]
    if taken is ours:
        line([*cells, "", ""])
        return
    line([*cells, ratio([x.seconds for x in ours], seconds), ratio([x.cpu_s for x in ours], cpu_s)])
