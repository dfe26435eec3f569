"""The corrections that have left for the receiver, and the reports that are about them.

RXM-COR and RXM-RTCM name a message and its reference station, but not the port that it came by.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from typing import NamedTuple

from ztpd.model import Frame, FrameKind
from ztpd.wire import rtcm
from ztpd.wire.ubx import (
    NO_STATION,
    PROTOCOL_RTCM3,
    PROTOCOL_SPARTN,
    PROTOCOL_UNKNOWN,
    RxmCor,
)

WINDOW_S = 30.0  # SPARTN sends every kind of message within 30 s; an outcome counts that long

_MOST_STATIONS = 64  # reference stations remembered
_EARLIEST_S = 0.001  # so long a message takes to the receiver: a report read sooner is of another
_LATEST_S = 10.0  # a report comes so long after its message at the most
_MOST_REPORTS = 4096  # looked at; a busy stream has 10 a second
_MOST_KINDS = 256
_FEW = 10  # a tenth of the reports may be alone by chance
_SURPLUS = 10  # reports in a window for which no message had left, before another source is sure


class _Kind(NamedTuple):
    """Of a report: its message's number, whether it was paired, whether the message was used."""

    number: int
    paired: bool
    used: bool


class PairedReports:
    """Pairs each report with a message that has left. Reports that stay alone are about messages of
    another source, though their reference station be the same."""

    def __init__(self) -> None:
        self._sent_s: defaultdict[int, deque[float]] = defaultdict(deque)  # by message number
        self._reports: deque[tuple[float, _Kind]] = deque()  # of the last 30 seconds
        self._counts: Counter[_Kind] = Counter()

    def on_sent(self, number: int, now_s: float) -> None:
        self._waiting(number, now_s).append(now_s)

    def on_report(self, report: RxmCor, now_s: float) -> None:
        waiting = self._waiting(report.message_type, now_s)
        paired = bool(waiting) and now_s - waiting[0] >= _EARLIEST_S
        kind = _Kind(report.message_type, paired=paired, used=bool(report.used))
        if paired:
            waiting.popleft()
        self._reports.append((now_s, kind))
        self._counts[kind] += 1
        while now_s - self._reports[0][0] > WINDOW_S or len(self._reports) > _MOST_REPORTS:
            self._counts[self._reports.popleft()[1]] -= 1
        self._counts = +self._counts if len(self._counts) > _MOST_KINDS else self._counts

    @property
    def other_in_use(self) -> bool:
        """Whether there is another source, and the receiver uses its messages rather than those
        that were sent.

        Observations that only ztpd sends decide. Where the other source sends the same ones, a
        message of it that comes between one of ours and its report is taken for ours, so the
        majority counts.
        """
        if self._count(paired=False) < _SURPLUS:
            return False
        numbers = {kind.number for kind in self._counts if rtcm.observed_system(kind.number)}
        own = [
            number
            for number in numbers
            if _FEW * self._count(number, paired=False) < self._count(number, paired=True)
        ]
        if own:
            return not any(self._counts[_Kind(number, True, True)] for number in own)
        ours, others = self._count(paired=True, used=True), self._count(paired=False, used=True)
        return 2 * ours < others

    def _count(self, number: int | None = None, *, paired: bool, used: bool | None = None) -> int:
        """Of the reports that are so; None: of any number, used or not."""
        return sum(
            count
            for kind, count in self._counts.items()
            if number in (None, kind.number) and kind.paired == paired and used in (None, kind.used)
        )

    def _waiting(self, number: int, now_s: float) -> deque[float]:
        """When the messages left whose report has not come yet."""
        waiting = self._sent_s[number]
        while waiting and now_s - waiting[0] > _LATEST_S:
            waiting.popleft()
        return waiting


class Delivered:
    """By kind, message number and reference station; time is passed in."""

    def __init__(self) -> None:
        self.last_s: dict[FrameKind, float] = {}
        self.stations_s: dict[tuple[int, int | None], float] = {}
        self._pairs = PairedReports()

    def add(self, frame: Frame, now_s: float) -> None:
        self.last_s[frame.kind] = now_s
        if frame.kind is FrameKind.RTCM3:
            key = rtcm.identity(rtcm.payload(frame.data))
            self.stations_s.pop(key, None)
            self.stations_s[key] = now_s
            if len(self.stations_s) > _MOST_STATIONS:
                del self.stations_s[next(iter(self.stations_s))]
            self._pairs.on_sent(key[0], now_s)

    def kinds(self, now_s: float) -> set[FrameKind]:
        """Those of the last 30 seconds."""
        return {kind for kind, last_s in self.last_s.items() if now_s - last_s <= WINDOW_S}

    def has(self, kind: FrameKind, now_s: float) -> bool:
        """Whether one of this kind is among them."""
        return now_s - self.last_s.get(kind, -math.inf) <= WINDOW_S

    def stations(self, now_s: float) -> list[int]:
        return sorted({station for _, station in self._recent(now_s) if station is not None})

    def covers(self, report: RxmCor, now_s: float) -> bool:
        """Whether the report may be about a message that was delivered."""
        if report.protocol == PROTOCOL_UNKNOWN:
            return bool(self.kinds(now_s)) and not report.used
        if report.protocol == PROTOCOL_SPARTN:
            return self.has(FrameKind.SPARTN, now_s)
        if report.protocol != PROTOCOL_RTCM3 or not self.has(FrameKind.RTCM3, now_s):
            return False
        if not report.type_valid or report.erroneous:
            return True
        sent_s = self.stations_s.get((report.message_type, report.correction_id))
        if sent_s is not None and now_s - sent_s <= WINDOW_S:
            return True
        stations = {
            station for number, station in self._recent(now_s) if number == report.message_type
        }
        return None in stations or (report.correction_id == NO_STATION and bool(stations))

    def is_of_other(self, report: RxmCor, now_s: float) -> bool:
        """Note a report that :meth:`covers`; whether the message of that station which the
        receiver uses comes from another source all the same."""
        if report.protocol != PROTOCOL_RTCM3 or not report.type_valid or report.erroneous:
            return False
        self._pairs.on_report(report, now_s)
        return bool(report.used) and self._pairs.other_in_use

    def _recent(self, now_s: float) -> Iterator[tuple[int, int | None]]:
        return (key for key, last_s in self.stations_s.items() if now_s - last_s <= WINDOW_S)
