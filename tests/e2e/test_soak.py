"""Nothing grows while faults come and go: a short form of `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import soak
from bench.soak import Day
from tests.support.virtualtime import run
from ztpd.receiver.pairing import Delivered

QUIET_LINES = 2  # a day: an hour's summary of a loss, the date of a certificate


def test_entries_are_counted_in_whatever_a_daemon_holds() -> None:
    delivered = Delivered()
    before = soak.entries(delivered)
    for number in range(100):
        delivered.stations_s[number, None] = 1.0
    assert soak.entries(delivered) == before + 100


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_days_of_faults_a_quiet_day_is_as_the_first_one(tmp_path: Path) -> None:
    days: list[Day] = []

    async def scenario() -> None:
        async for day in soak.month(tmp_path, days=5, seed=2, day_s=1200.0):
            days.append(day)

    run(scenario())

    assert [bool(day.faults) for day in days] == [False, True, False, True, False]
    first, *_, last = quiet = days[::2]
    assert last.tasks == first.tasks
    assert last.descriptors == first.descriptors
    assert last.entries <= 1.05 * first.entries
    assert all(day.lines <= QUIET_LINES for day in quiet[1:])
    assert all(day.written <= 1 for day in quiet), "the totals of an hour, and no more on the card"
