"""docs/failover.md: ``python -m tests.failover.page > docs/failover.md``, some minutes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.failover.days import FAULTS, Day, Fault, spend
from tests.failover.story import Scene, tell

HEAD = """# Fail-over, shown and measured

`make failover` writes this page: the real daemon with a first service, a
[backup](operate.md#add-a-backup-service) and a simulated receiver, in virtual time. Addresses are
replaced, everything else is the output of the daemon. A test checks the story and the days.

## A service that the receiver does not use

"""

DAYS = """
## A day with each fault

24 hours of the whole daemon for each line. A fault begins after the first hour and lasts as long as
its line says; one that repeats does so for twelve hours. Corrections come every 10 s
here, and positions every 20 s, so compare the bytes with those of the first line, which is a day
without a fault. "Changes" are those of the service in use (`session.service_changed`), with the
limit that the test asserts; "hours" are those with an open session, of the first service and of the
backup: their sum exceeds 24 where both were open; "used" is the share of the day in which the
receiver used corrections; "journal" its lines.
The bytes of equal days differ by a fifth: how often the kernel acknowledges depends on real time.

| fault | changes | limit | sessions | hours | bytes | used | journal |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""

TAIL = """
The table has the faults that may make a service come and go: its use, its caster, the lines.
Faults of receiver, modem, disk, clock, broker and provisioning service, and up to three at once,
are drawn by `make chaos`, which looks at an hour or two after them. Why services are left and come
back as they do: [decision 10](decisions/0010-what-leaves-a-service.md).
"""


def row(fault: Fault, day: Day, usual_bytes: int) -> str:
    sessions, hours = day.sessions, day.hours
    times = f"{day.bytes / usual_bytes:.2f}"
    return (
        f"| {fault.name} | {day.changes} | {fault.most_changes} | {sessions[0]} + {sessions[1]} "
        f"| {hours[0]:.1f} + {hours[1]:.1f} | {day.bytes / 1e6:.2f} MB, x {times} "
        f"| {day.used:.0%} | {day.lines} |\n"
    )


def figures(row: str) -> Day:
    """The day of a row that was published."""
    _, changes, _, sessions, hours, amount, used, lines = row.strip("| \n").split(" | ")
    first, backup = (int(each) for each in sessions.split(" + "))
    first_h, backup_h = (float(each) for each in hours.split(" + "))
    return Day(
        changes=int(changes),
        sessions=(first, backup),
        hours=(first_h, backup_h),
        bytes=round(float(amount.split(" MB")[0]) * 1e6),
        used=int(used.rstrip("%")) / 100,
        lines=int(lines),
    )


def page(scenes: Sequence[Scene], rows: Mapping[str, str]) -> str:
    story = "\n".join(scene.text() for scene in scenes)
    table = "".join(rows[fault.name] for fault in FAULTS)
    return f"{HEAD}{story}{DAYS}{table}{TAIL}"


def main() -> None:
    names = [fault.name for fault in FAULTS]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        scenes, days = pool.submit(tell), pool.map(spend, names)
        measured = dict(zip(names, days, strict=True))
    usual_bytes = measured[names[0]].bytes
    rows = {fault.name: row(fault, measured[fault.name], usual_bytes) for fault in FAULTS}
    print("".join(rows.values()), file=sys.stderr)
    print(page(scenes.result(), rows), end="")


if __name__ == "__main__":
    main()
