"""What the sessions have used in the month of the data plan."""

from __future__ import annotations

from ztpd.config import BudgetOptions
from ztpd.relay.metering import MonthTraffic
from ztpd.relay.traffic import NO_TRAFFIC, total
from ztpd.status import ChannelTraffic, TrafficStatus


def traffic_status(month: MonthTraffic | None, budget: BudgetOptions) -> TrafficStatus | None:
    """The part of the status; None while the date is not known."""
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
