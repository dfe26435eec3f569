"""Why the position stays float, or does not come at all: antenna, interference, satellites, ports
and the corrections themselves.

Judged by the receiver's own reports (MON-RF, SEC-SIG, NAV-SAT, MON-COMMS, NAV-PVT) and by the
RTCM messages that are sent to it. Time is passed in. A state counts once it has lasted, and is
over once it has been away for a minute: each finding is logged once, not with every report.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ztpd import events, log
from ztpd.events import JournalEvent
from ztpd.history.columns import GOOD_CNO_DBHZ, Signals
from ztpd.model import Carrier, Fix, Frame, FrameKind
from ztpd.receiver.effect import CorrectionAge
from ztpd.wire import rtcm
from ztpd.wire.geodesy import ecef_m
from ztpd.wire.ubx import (
    Antenna,
    Jamming,
    MonComms,
    MonRf,
    NavPvt,
    NavSat,
    Parsed,
    SecSig,
    Spoofing,
)

LASTING_S = 15.0
"""So long something must last before it is a finding: two reports of MON-RF or SEC-SIG."""

WEAK_LASTING_S = 45.0
"""The same for weak signals: two reports of NAV-SAT."""

OVER_S = 60.0
"""So long it must be away before it is over."""

ENOUGH_SATELLITES = 8
FAR_M = 35_000.0
"""Baseline of RTK with a single reference station: u-blox ZED-F9P integration manual, "RTK"."""

OLD_S = 20.0
"""Age of corrections in use, upper bound of NAV-PVT's class, above which they are late."""

UNSTEADY_S = 600.0
OFTEN = 5
"""So many set-ups in this time are no accident."""

_KEPT = (MonRf, SecSig, NavSat)  # reports of which the last one counts
_VALID_S = 90.0  # a report counts so long; the most seldom one is due each minute
_KINDS_S = 120.0  # a stream must lack a kind of message for so long
_GAP_S = 60.0  # after such a pause another stream may have begun
_UNUSED_S = 120.0  # age of the corrections at which it is known that new ones are not used
_MOST_SET_UPS = 99
_OVERRUN_S = 150.0  # an overrun counts so long: two intervals of MON-COMMS


class Finding(NamedTuple):
    """One reason why the position is no better."""

    event: JournalEvent
    fields: Mapping[str, object]
    since_s: float  # on the clock that was passed in

    @property
    def text(self) -> str:
        """One clause for a person."""
        return self.event.text.format(**self.fields)


class _Watch:
    """How long a state has lasted, or been away."""

    def __init__(self, began_s: float, seen_s: float, fields: Mapping[str, object]) -> None:
        self.began_s = began_s
        self.seen_s = seen_s
        self.fields = fields
        self.found = False


class _StationStream:
    """The RTCM messages of one reference station."""

    def __init__(self, began_s: float = 0.0, station_id: int | None = None) -> None:
        self.began_s = began_s
        self.last_s = -math.inf
        self.station_id = station_id
        self.position: rtcm.StationPosition | None = None
        self.seen_s: dict[int, float] = {}  # by message number

    def has(self, numbers: frozenset[int], now_s: float) -> bool:
        return any(now_s - self.seen_s.get(each, -math.inf) <= _KINDS_S for each in numbers)


class Reception:
    """Reports and corrections in, findings out."""

    def __init__(self) -> None:
        self._fix: Fix | None = None
        self._reports: dict[type[Parsed], tuple[Parsed, float]] = {}
        self._overruns: dict[str, int] = {}
        self._overrun: tuple[str, int, float] | None = None  # port, count, when
        self._stream = _StationStream()
        self._age = CorrectionAge()
        self._set_ups_s: deque[float] = deque(maxlen=_MOST_SET_UPS)
        self._watches: dict[str, _Watch] = {}

    def set_up(self, now_s: float) -> None:
        """The receiver was set up, or settings of it were put back."""
        self._set_ups_s.append(now_s)

    def is_unsteady(self, now_s: float) -> bool:
        """Whether that has been so often that a line for each says nothing new."""
        return self._recent_set_ups(now_s) >= OFTEN

    def _recent_set_ups(self, now_s: float) -> int:
        return sum(now_s - each <= UNSTEADY_S for each in self._set_ups_s)

    def restarted(self) -> None:
        """The receiver has started again; its counters begin at 0."""
        self._fix = None
        self._age = CorrectionAge()
        self._reports.clear()
        self._overruns.clear()
        self._overrun = None

    @property
    def fixed(self) -> bool:
        """The position is as good as it gets."""
        return self._fix is not None and self._fix.carrier is Carrier.FIXED

    def signals(self, now_s: float) -> Signals:
        """The reports that are not too old."""
        radio, security, sky = (self._report(each, now_s) for each in (MonRf, SecSig, NavSat))
        jamming = self._jamming(now_s)
        return Signals(
            antenna=radio.antenna if isinstance(radio, MonRf) else None,
            jamming=jamming if radio or security else None,
            spoofing=security.spoofing if isinstance(security, SecSig) else None,
            cno_dbhz=tuple(each.cno_dbhz for each in sky.satellites if each.cno_dbhz)
            if isinstance(sky, NavSat)
            else None,
        )

    def on_message(self, message: Parsed, now_s: float) -> None:
        """Take a report of the receiver; those of other kinds are left alone."""
        if isinstance(message, NavPvt):
            self._fix = message.to_fix()
            self._age.add(self._fix, now_s)
        elif isinstance(message, _KEPT):
            self._reports[type(message)] = message, now_s
        elif isinstance(message, MonComms):
            self._on_ports(message, now_s)

    def on_correction(self, frame: Frame, now_s: float) -> None:
        """Take a correction that goes to the receiver."""
        stream = self._stream
        payload = rtcm.payload(frame.data) if frame.kind is FrameKind.RTCM3 else b""
        number, station = rtcm.identity(payload)
        other = station is not None and stream.station_id not in (None, station)
        if now_s - stream.last_s > _GAP_S or (other and rtcm.observed_system(number)):
            stream = self._stream = _StationStream(began_s=now_s, station_id=station)
        elif other:
            return  # a receiver ignores messages of other stations than that of its observations
        stream.last_s = now_s
        if station is not None:
            stream.station_id = station
        if payload:
            stream.seen_s[number] = now_s
        if number in rtcm.STATION_POSITION:
            try:
                stream.position = rtcm.StationPosition.decode(payload)
            except ValueError:
                stream.position = None

    def update(self, now_s: float) -> tuple[list[Finding], list[tuple[Finding, float]]]:
        """Judge again: the findings that have begun, and those that are over with the seconds
        they lasted."""
        begun, over = [], []
        for event, probe, lasting_s in _PROBES:
            fields = probe(self, now_s)
            watch = self._watches.get(event.name)
            if fields is not None:
                if watch is None:
                    watch = self._watches[event.name] = _Watch(now_s, now_s, fields)
                watch.seen_s, watch.fields = now_s, fields
                if not watch.found and now_s - watch.began_s >= lasting_s:
                    watch.found = True
                    begun.append(Finding(event, fields, watch.began_s))
            elif watch is not None and (not watch.found or now_s - watch.seen_s >= OVER_S):
                del self._watches[event.name]
                if watch.found:
                    finding = Finding(event, watch.fields, watch.began_s)
                    over.append((finding, watch.seen_s - watch.began_s))
        return begun, over

    def log_news(self, now_s: float) -> bool:
        """Judge again, and log each finding when it begins and when it is over; True if any."""
        begun, over = self.update(now_s)
        for finding in begun:
            log.emit(finding.event, **finding.fields)
        for finding, lasted_s in over:
            log.emit(events.RECEPTION_OVER, period=log.duration(lasted_s), finding=finding.text)
        return bool(begun or over)

    def findings(self) -> tuple[Finding, ...]:
        """Those that hold, as of the last :meth:`update`; the most direct reason first."""
        return tuple(
            Finding(event, watch.fields, watch.began_s)
            for event, _, _ in _PROBES
            if (watch := self._watches.get(event.name)) is not None and watch.found
        )

    def _on_ports(self, message: MonComms, now_s: float) -> None:
        for port, counts in message.ports.items():
            before = self._overruns.get(port, counts.overruns)
            lost = (counts.overruns - before) % (1 << 16)
            if 0 < lost < 1 << 15:  # else it counts anew: a restart that nothing else showed
                self._overrun = port, lost, now_s
            self._overruns[port] = counts.overruns

    def _report(self, kind: type[Parsed], now_s: float) -> Parsed | None:
        """The last report of a kind, unless it is too old."""
        found = self._reports.get(kind)
        return found[0] if found and now_s - found[1] <= _VALID_S else None

    def _unsteady(self, now_s: float) -> Mapping[str, object] | None:
        """Also with a fixed position, which will not last."""
        count = self._recent_set_ups(now_s)
        return {"count": count, "period": log.duration(UNSTEADY_S)} if count >= OFTEN else None

    def _antenna(self, now_s: float) -> Antenna:
        report = self._report(MonRf, now_s)
        return report.antenna if isinstance(report, MonRf) else Antenna.UNKNOWN

    def _antenna_short(self, now_s: float) -> Mapping[str, object] | None:
        return {} if not self.fixed and self._antenna(now_s) is Antenna.SHORT else None

    def _antenna_open(self, now_s: float) -> Mapping[str, object] | None:
        return {} if not self.fixed and self._antenna(now_s) is Antenna.OPEN else None

    def _jammed(self, now_s: float) -> Mapping[str, object] | None:
        security, where = self._report(SecSig, now_s), ""
        if isinstance(security, SecSig) and security.detects_jamming:
            bands = [f"{khz / 1000:.2f} MHz" for khz in security.jammed_khz]
            where = f" at {', '.join(bands)}" if bands else ""
        jammed = not self.fixed and self._jamming(now_s) >= Jamming.WARNING
        return {"where": where} if jammed else None

    def _jamming(self, now_s: float) -> Jamming:
        """SEC-SIG where it knows; before HPG 1.50 MON-RF knows too."""
        security, radio = self._report(SecSig, now_s), self._report(MonRf, now_s)
        state = Jamming.UNKNOWN
        if isinstance(security, SecSig) and security.detects_jamming:
            state = security.jamming
        if state is Jamming.UNKNOWN and isinstance(radio, MonRf):
            state = radio.jamming
        return state

    def _spoofed(self, now_s: float) -> Mapping[str, object] | None:
        """Also with a fixed position, which is then a false one."""
        report = self._report(SecSig, now_s)
        suspected = isinstance(report, SecSig) and report.spoofing >= Spoofing.INDICATED
        return {} if suspected else None

    def _strengths(self, now_s: float) -> list[int] | None:
        """C/N0 in dBHz of each satellite received; None where it is unknown or no matter."""
        report = self._report(NavSat, now_s)
        if self.fixed or not isinstance(report, NavSat):
            return None
        return [each.cno_dbhz for each in report.satellites if each.cno_dbhz]

    def _no_signal(self, now_s: float) -> Mapping[str, object] | None:
        return {} if self._strengths(now_s) == [] else None

    def _weak(self, now_s: float) -> Mapping[str, object] | None:
        strengths = self._strengths(now_s) or []
        good = sum(each >= GOOD_CNO_DBHZ for each in strengths)
        if not strengths or good >= ENOUGH_SATELLITES:
            return None
        return {"good": good, "seen": len(strengths), "best": max(strengths)}

    def _overrunning(self, now_s: float) -> Mapping[str, object] | None:
        if self._overrun is None or now_s - self._overrun[2] > _OVERRUN_S:
            return None
        return {"port": self._overrun[0], "count": self._overrun[1]}

    def _late(self, now_s: float) -> Mapping[str, object] | None:
        age_s = self._fix.correction_age_s if self._fix else None
        if self.fixed or age_s is None or age_s <= OLD_S:
            return None
        if self._age.is_growing and age_s <= _UNUSED_S:
            return None  # new ones are not late, but unused: the verdict about their use has why
        return {"age_s": age_s} if now_s - self._stream.last_s <= OLD_S else None

    def _far(self, now_s: float) -> Mapping[str, object] | None:
        fix, station = self._fix, self._stream.position
        if self.fixed or fix is None or not fix.ok or station is None:
            return None
        if now_s - self._stream.last_s > _GAP_S:
            return None
        here = ecef_m(fix.lat_deg, fix.lon_deg, fix.height_m + fix.geoid_m)
        distance_m = math.dist(here, (station.x_m, station.y_m, station.z_m))
        return {"distance_km": distance_m / 1000} if distance_m > FAR_M else None

    def _observed(self, now_s: float) -> set[str]:
        """The systems whose observations come, in a stream that has been seen for long enough."""
        stream = self._stream
        if self.fixed or now_s - stream.began_s < _KINDS_S or now_s - stream.last_s > _GAP_S:
            return set()
        recent = (each for each, seen_s in stream.seen_s.items() if now_s - seen_s <= _GAP_S)
        return {system for each in recent if (system := rtcm.observed_system(each))}

    def _no_station(self, now_s: float) -> Mapping[str, object] | None:
        enough = rtcm.STATION_POSITION | {rtcm.MOVING_BASE}
        lacking = self._observed(now_s) and not self._stream.has(enough, now_s)
        return {} if lacking else None

    def _no_biases(self, now_s: float) -> Mapping[str, object] | None:
        lacking = "GLO" in self._observed(now_s) and not self._stream.has(
            rtcm.GLONASS_BIASES, now_s
        )
        return {} if lacking else None


_Probe = Callable[[Reception, float], Mapping[str, object] | None]
_PROBES: tuple[tuple[JournalEvent, _Probe, float], ...] = (
    (events.UNSTEADY, Reception._unsteady, 0.0),
    (events.ANTENNA_SHORT, Reception._antenna_short, LASTING_S),
    (events.ANTENNA_OPEN, Reception._antenna_open, LASTING_S),
    (events.JAMMED, Reception._jammed, LASTING_S),
    (events.SPOOFED, Reception._spoofed, LASTING_S),
    (events.NO_SIGNALS, Reception._no_signal, WEAK_LASTING_S),
    (events.WEAK_SIGNALS, Reception._weak, WEAK_LASTING_S),
    (events.PORT_OVERRUN, Reception._overrunning, LASTING_S),
    (events.LATE_CORRECTIONS, Reception._late, LASTING_S),
    (events.NO_STATION, Reception._no_station, LASTING_S),
    (events.FAR_STATION, Reception._far, LASTING_S),
    (events.NO_BIASES, Reception._no_biases, LASTING_S),
)
