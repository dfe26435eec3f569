"""Bytes and hours of the sessions, by day and channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from ztpd import records

_MOST_DAYS = 70  # this month, the one before, and a few days that a wrong clock has made
_MOST_CHANNELS = 16  # of a day; a name may come from a damaged file
_OTHERS = "others"
_SCHEMA = 1
_LONGEST_S = 86_400.0 * 366


class Traffic(NamedTuple):
    """``bytes`` are IP bytes, both ways."""

    bytes: int = 0
    session_s: float = 0.0

    def plus(self, other: Traffic) -> Traffic:
        return Traffic(self.bytes + other.bytes, self.session_s + other.session_s)


NO_TRAFFIC = Traffic()
Channels = dict[str, Traffic]


class _TrafficFile(NamedTuple):
    schema: int = 0
    days: Mapping[str, Mapping[str, Traffic]] = {}
    undated: Mapping[str, Traffic] = {}


class TrafficRecord:
    """The traffic of each day (UTC), and that of a time without a date.

    A month is the sum of its days, so a change of the day on which it begins counts at once. What
    is counted while the clock shows a date that is certainly past has no date until it is right.
    """

    def __init__(self) -> None:
        self._days: dict[date, Channels] = {}
        self._undated: Channels = {}

    def add(self, today: date | None, channel: str, traffic: Traffic) -> None:
        """``today`` is None where the date is not known."""
        _add(self._of(today), channel, traffic)

    def date_is(self, today: date) -> None:
        """The clock is right again: what had no date is of today."""
        if self._undated:
            undated, self._undated = self._undated, {}
            for channel, traffic in undated.items():
                self.add(today, channel, traffic)

    def of_day(self, day: date) -> Mapping[str, Traffic]:
        return self._days.get(day, {})

    def between(self, first: date, end: date) -> Mapping[str, Traffic]:
        """The sum of the days from ``first`` to the one before ``end``, and of those without a
        date."""
        found = dict(self._undated)
        for day, channels in self._days.items():
            if first <= day < end:
                for channel, traffic in channels.items():
                    _add(found, channel, traffic)
        return found

    def to_json(self) -> dict[str, Any]:
        days = {day.isoformat(): self._days[day] for day in sorted(self._days)}
        document: dict[str, Any] = records.to_json(_TrafficFile(_SCHEMA, days, self._undated))
        return document

    def merge(self, document: object) -> None:
        """Add what ``document`` has, as far as it is one of :meth:`to_json`; never raises."""
        stored = records.from_json(_TrafficFile, document)
        for name, channels in sorted(stored.days.items())[-_MOST_DAYS:]:
            try:
                day = date.fromisoformat(name)
            except ValueError:
                continue
            self._merge(day, channels)
        self._merge(None, stored.undated)

    def _merge(self, day: date | None, channels: Mapping[str, Traffic]) -> None:
        for channel, traffic in channels.items():
            if traffic.bytes >= 0 and 0 <= traffic.session_s <= _LONGEST_S:
                self.add(day, channel, traffic)

    def _of(self, day: date | None) -> Channels:
        if day is None:
            return self._undated
        if day not in self._days and len(self._days) >= _MOST_DAYS:
            # the farthest one, since days that a wrong clock has made may lie far ahead
            del self._days[max(self._days, key=lambda each: abs(each - day))]
        return self._days.setdefault(day, {})


def _add(channels: Channels, name: str, traffic: Traffic) -> None:
    if name not in channels and len(channels) >= _MOST_CHANNELS:
        name = _OTHERS
    channels[name] = channels.get(name, NO_TRAFFIC).plus(traffic)


def total(channels: Mapping[str, Traffic]) -> Traffic:
    return _sum(channels.values())


def _sum(each: Iterable[Traffic]) -> Traffic:
    found = NO_TRAFFIC
    for traffic in each:
        found = found.plus(traffic)
    return found


def month_of(today: date, begins_on: int) -> tuple[date, date]:
    """The first day of the month that ``today`` is in, and of the next one; ``begins_on`` is the
    day of the calendar's month, 1 to 28, on which a month begins."""
    first = today.replace(day=begins_on)
    if first > today:
        first = (first.replace(day=1) - timedelta(days=1)).replace(day=begins_on)
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=begins_on)
    return first, following
