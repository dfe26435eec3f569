"""Counts the sessions' bytes and seconds, and keeps them on the disk."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple

from ztpd.model import SourceEndpoint, utc
from ztpd.records import number
from ztpd.relay.traffic import Traffic, TrafficRecord, month_of
from ztpd.sources import Session, SessionOpener
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter
from ztpd.system.looptime import loop_time

FILE = "traffic.json"
SAVED_EVERY_S = 3600.0
FIRST_SAVED_S = 600.0
"""After a start, where the last write is an hour ago by then: trips that all end with the power cut
before an hour is over would else never count. The clock may be set only after the start."""


class _Metered:
    """An open session, and the last look at it."""

    def __init__(self, channel: str, session: Session, looked_s: float) -> None:
        self.channel = channel
        self.session = session
        self.looked_s = looked_s  # the loop's time
        self.ip_bytes = 0
        self.stream_bytes = 0

    def look(self, now: float) -> Traffic:
        """The traffic since the last look. A connection that is closed gives no count any more:
        then the bytes of its stream count."""
        stream, before = self.session.counts.bytes, self.ip_bytes
        counted = self.session.ip_bytes
        if counted is None:
            counted = before + stream - self.stream_bytes
        passed_s, self.looked_s = now - self.looked_s, now
        self.ip_bytes, self.stream_bytes = max(before, counted), stream
        return Traffic(self.ip_bytes - before, passed_s)


class MonthTraffic(NamedTuple):
    """``first`` is the first day of the present month, ``end`` that of the next one."""

    first: date
    end: date
    by_channel: Mapping[str, Traffic]
    today: Mapping[str, Traffic]


class TrafficMeter:
    """Looks at the open sessions at each :meth:`update`, and writes once an hour at most."""

    def __init__(self, path: Path, disk: DiskWriter, clock: Clock) -> None:
        self._path, self._disk, self._clock = path, disk, clock
        self._record = TrafficRecord()
        self._open: list[_Metered] = []
        self._is_loaded = False  # else a slow disk's file would be overwritten
        self._changed = False
        self._due_s: float | None = None  # of the next write
        self._first: tuple[float, float] | None = None
        """Until the first write: when the loop's time allows it, and the date of the last one."""

    async def load(self) -> None:
        """Add what was counted before; only then anything is written."""
        stored = await self._disk.read_json(self._path)
        if self._is_loaded:
            return
        self._record.merge(stored)
        self._is_loaded = True
        self._first = loop_time() + FIRST_SAVED_S, number(stored.get("written_unix_s"))

    def metered(self, open_session: SessionOpener) -> SessionOpener:
        """``open_session``, and the session counts as long as it is open."""

        @asynccontextmanager
        async def opened(endpoint: SourceEndpoint) -> AsyncIterator[Session]:
            async with open_session(endpoint) as session:
                metered = _Metered(endpoint.label, session, loop_time())
                self._open.append(metered)
                try:
                    yield session
                finally:
                    self._open.remove(metered)
                    self._count(metered)

        return opened

    def update(self) -> None:
        """Count what came since the last time, and write it where an hour has passed."""
        now = loop_time()
        if self._due_s is None:
            self._due_s = now + SAVED_EVERY_S
        if today := self._today:
            self._record.date_is(today)
        for metered in self._open:
            self._count(metered)
        if now >= self._due_s or self._is_first_due(now):
            self.save()

    def _is_first_due(self, now: float) -> bool:
        if self._first is None:
            return False
        allowed_s, written_unix_s = self._first
        return now >= allowed_s and self._clock.now() - written_unix_s >= SAVED_EVERY_S

    def save(self) -> None:
        """Write what has been counted, in the disk's own time."""
        self._due_s, self._first = loop_time() + SAVED_EVERY_S, None
        if self._changed and self._is_loaded:
            self._changed = False
            document = self._record.to_json() | {"written_unix_s": int(self._clock.now())}
            self._disk.write(self._path, json.dumps(document).encode())

    def month(self, begins_on: int) -> MonthTraffic | None:
        """None while the date is not known, or the count of before."""
        today = self._today
        if today is None or not self._is_loaded:
            return None
        first, end = month_of(today, begins_on)
        by_channel = self._record.between(first, end)
        return MonthTraffic(first, end, by_channel, self._record.of_day(today))

    @property
    def _today(self) -> date | None:
        return None if self._clock.is_past else utc(self._clock.now()).date()

    def _count(self, metered: _Metered) -> None:
        self._record.add(self._today, metered.channel, metered.look(loop_time()))
        self._changed = True
