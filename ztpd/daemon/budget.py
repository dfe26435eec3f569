"""What the sessions have used in the month of the data plan, and its limits."""

from __future__ import annotations

from ztpd import events, log
from ztpd.config import BudgetOptions
from ztpd.relay.metering import MonthTraffic
from ztpd.relay.traffic import NO_TRAFFIC, total
from ztpd.status import ChannelTraffic, TrafficStatus

NEAR = 0.8  # of a limit

_THEN = {"warn": "corrections go on", "pause": "ztpd pauses until the next month"}


class BudgetLog:
    """Logs once a month each that the budget is nearly spent, and that it is."""

    def __init__(self) -> None:
        self._logged: tuple[str, float] = ("", 0.0)

    def update(self, used: TrafficStatus, then: str) -> None:
        month, level_before = self._logged
        level = level_before if month == used.month_begins else 0.0
        reached = next((each for each in (1.0, NEAR) if share(used) >= each), 0.0)
        self._logged = used.month_begins, reached  # below a limit that was raised it may come again
        if level_before and not reached:
            log.emit(events.BUDGET_BELOW, used=used, share=f"{NEAR:.0%}")
        if reached <= level:
            return
        if reached == NEAR:
            log.emit(events.BUDGET_NEAR, used=used, share=f"{NEAR:.0%}")
        else:
            log.emit(events.BUDGET_SPENT, used=used, then=_THEN[then])


def share(used: TrafficStatus) -> float:
    """The part of the budget that is used, by bytes or by hours; 0 without a limit."""
    parts = (
        (used.month_bytes / 1e6, used.limit_megabytes),
        (used.month_session_s / 3600, used.limit_hours),
    )
    return max((amount / limit for amount, limit in parts if limit), default=0.0)


def traffic_status(month: MonthTraffic | None, budget: BudgetOptions) -> TrafficStatus | None:
    """The part of the status; None where ``month`` is not known."""
    if month is None:
        return None
    used, today = total(month.by_channel), total(month.today)
    return TrafficStatus(
        month_begins=month.first.isoformat(),
        month_ends=month.end.isoformat(),
        month_bytes=used.bytes,
        month_session_s=round(used.session_s, 1),
        today_bytes=today.bytes,
        today_session_s=round(today.session_s, 1),
        limit_megabytes=budget.megabytes_per_month or None,
        limit_hours=budget.hours_per_month or None,
        channels=tuple(_channel(name, month) for name in sorted(month.by_channel)),
    )


def _channel(name: str, month: MonthTraffic) -> ChannelTraffic:
    used, today = month.by_channel[name], month.today.get(name, NO_TRAFFIC)
    return ChannelTraffic(
        name=name,
        today_bytes=today.bytes,
        today_session_s=round(today.session_s, 1),
        month_bytes=used.bytes,
        month_session_s=round(used.session_s, 1),
    )
