"""The corrections that have left for the receiver, and the reports that are about them.

RXM-COR and RXM-RTCM name a message and its reference station, but not the port that it came by.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ztpd.model import Frame, FrameKind
from ztpd.wire import rtcm
from ztpd.wire.frames import spartn_name
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


_PROTOCOLS = {FrameKind.RTCM3: PROTOCOL_RTCM3, FrameKind.SPARTN: PROTOCOL_SPARTN}


def report_name(report: RxmCor) -> str:
    """The name of the message reported, as its frame has it: "OCB-GPS", "1077"."""
    if report.protocol == PROTOCOL_RTCM3:
        return str(report.message_type)
    return spartn_name(report.message_type, report.subtype)


class _Kind(NamedTuple):
    """Of a report: its message's name, whether it was paired, whether the message was used."""

    name: str
    paired: bool
    used: bool


class PairedReports:
    """Pairs each report with a message that has left. Reports that stay alone are about messages of
    another source, though their reference station be the same.

    ``corrects``: whether messages of a name are corrections by themselves.
    """

    def __init__(self, corrects: Callable[[str], object]) -> None:
        self._corrects = corrects
        self._sent_s: defaultdict[str, deque[float]] = defaultdict(deque)  # by message name
        self._reports: deque[tuple[float, _Kind]] = deque()  # of the last 30 seconds
        self._counts: Counter[_Kind] = Counter()

    def on_sent(self, name: str, now_s: float) -> None:
        self._waiting(name, now_s).append(now_s)

    def on_report(self, name: str, now_s: float, *, used: bool) -> None:
        waiting = self._waiting(name, now_s)
        paired = bool(waiting) and now_s - waiting[0] >= _EARLIEST_S
        kind = _Kind(name, paired=paired, used=used)
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

        Corrections that only ztpd sends decide. Where the other source sends the same ones, a
        message of it that comes between one of ours and its report is taken for ours, so the
        majority counts.
        """
        if self._count(paired=False) < _SURPLUS:
            return False
        names = {kind.name for kind in self._counts if self._corrects(kind.name)}
        own = [
            name
            for name in names
            if _FEW * self._count(name, paired=False) < self._count(name, paired=True)
        ]
        if own:
            return not any(self._counts[_Kind(name, True, True)] for name in own)
        ours, others = self._count(paired=True, used=True), self._count(paired=False, used=True)
        return 2 * ours < others

    def _count(self, name: str | None = None, *, paired: bool, used: bool | None = None) -> int:
        """Of the reports that are so; None: of any name, used or not."""
        return sum(
            count
            for kind, count in self._counts.items()
            if name in (None, kind.name) and kind.paired == paired and used in (None, kind.used)
        )

    def _waiting(self, name: str, now_s: float) -> deque[float]:
        """When the messages left whose report has not come yet."""
        waiting = self._sent_s[name]
        while waiting and now_s - waiting[0] > _LATEST_S:
            waiting.popleft()
        return waiting


class Delivered:
    """By kind, message number and reference station; time is passed in."""

    def __init__(self) -> None:
        self.last_s: dict[FrameKind, float] = {}
        self.stations_s: dict[tuple[int, int | None], float] = {}
        self._pairs = {
            PROTOCOL_RTCM3: PairedReports(lambda name: rtcm.observed_system(int(name))),
            PROTOCOL_SPARTN: PairedReports(lambda _: True),
        }

    def add(self, frame: Frame, now_s: float) -> None:
        self.last_s[frame.kind] = now_s
        if frame.kind is FrameKind.RTCM3:
            key = rtcm.identity(rtcm.payload(frame.data))
            self.stations_s.pop(key, None)
            self.stations_s[key] = now_s
            if len(self.stations_s) > _MOST_STATIONS:
                del self.stations_s[next(iter(self.stations_s))]
        if (pairs := self._pairs.get(_PROTOCOLS.get(frame.kind, 0))) is not None:
            pairs.on_sent(frame.name, now_s)

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
        """Note a report that :meth:`covers`; whether the message of that kind which the receiver
        uses comes from another source all the same."""
        pairs = self._pairs.get(report.protocol)
        if pairs is None or not report.type_valid or report.erroneous:
            return False
        pairs.on_report(report_name(report), now_s, used=bool(report.used))
        return bool(report.used) and pairs.other_in_use

    def corrects(self, report: RxmCor, now_s: float) -> bool:
        """Whether the message reported is a correction: the position of a station and such are
        none, where observations come too."""
        if report.protocol != PROTOCOL_RTCM3 or rtcm.observed_system(report.message_type):
            return True
        return not any(rtcm.observed_system(number) for number, _ in self._recent(now_s))

    def _recent(self, now_s: float) -> Iterator[tuple[int, int | None]]:
        return (key for key, last_s in self.stations_s.items() if now_s - last_s <= WINDOW_S)
