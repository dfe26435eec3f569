"""The budget: the part that is used, and the lines about it."""

from __future__ import annotations

import logging

import pytest

from ztpd.daemon.budget import BudgetLog, share
from ztpd.status import TrafficStatus


def used(megabytes: float, hours: float = 0.0, *, month: str = "2026-11-01") -> TrafficStatus:
    return TrafficStatus(
        month_begins=month,
        month_bytes=int(megabytes * 1e6),
        month_session_s=hours * 3600,
        limit_megabytes=1000,
        limit_hours=730,
    )


def test_the_scarcer_of_both_limits_counts() -> None:
    assert share(used(500, 73)) == 0.5
    assert share(used(100, 365)) == 0.5
    assert share(TrafficStatus(month_bytes=10**12)) == 0.0, "no limit"


def test_each_step_is_logged_once_a_month(caplog: pytest.LogCaptureFixture) -> None:
    budget = BudgetLog()
    caplog.set_level(logging.INFO)
    for megabytes in (100, 799, 801, 900, 1000, 1001):
        budget.update(used(megabytes), "warn")
    budget.update(used(1, month="2026-12-01"), "pause")
    budget.update(used(1200, 100, month="2026-12-01"), "pause")
    assert [each.getMessage().split(". ")[0] for each in caplog.records] == [
        "this month 801 of 1000 MB, 0.0 of 730 h: more than 80% of the budget",
        "this month 1000 of 1000 MB, 0.0 of 730 h: the budget is spent; corrections go on",
        "this month 1.0 of 1000 MB, 0.0 of 730 h: below 80% of the budget again",
        "this month 1200 of 1000 MB, 100 of 730 h: the budget is spent; ztpd pauses until the next "
        "month",
    ]
