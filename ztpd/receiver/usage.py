"""Whether the receiver uses the corrections, and if not, why. Time is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from ztpd import events
from ztpd.model import Fix, Frame, FrameKind, ServiceUse
from ztpd.receiver.effect import NO_EFFECT_S, CorrectionEffect
from ztpd.receiver.fixes import CALM_S
from ztpd.receiver.pairing import WINDOW_S, Delivered, report_name
from ztpd.wire.ubx import (
    NO_STATION,
    PROTOCOL_HAS,
    PROTOCOL_PMP,
    PROTOCOL_QZSS_L6,
    PROTOCOL_RTCM3,
    PROTOCOL_SPARTN,
    PROTOCOL_UNKNOWN,
    RxmCor,
)

PATIENCE_S = 40.0  # corrections go unused for so long before that is said: longer than the window
OLD_CORRECTIONS_S = 60.0  # RTK does not do with older ones
OTHER_IN_USE_S = 10.0  # another source used, and ours not for so long: something was changed

_SOURCES = {
    PROTOCOL_SPARTN: "SPARTN from another input",
    PROTOCOL_HAS: "Galileo HAS",
    PROTOCOL_PMP: "SPARTN over L-band",
    PROTOCOL_QZSS_L6: "QZSS L6",
}


class MessageOutcome(Enum):
    """The fate of one correction message, in the order of their weight as a reason."""

    USED = "used"
    UNDECRYPTABLE = "locked"  # encrypted, and no key of the receiver fits
    IGNORED = "ignored"  # in order, yet not used
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"


def outcome(report: RxmCor) -> MessageOutcome | None:
    """The meaning of one report; None where the receiver does not know."""
    if report.used:
        return MessageOutcome.USED
    if report.erroneous:
        return MessageOutcome.DAMAGED
    if not report.input_handled:
        return MessageOutcome.UNSUPPORTED
    if report.encrypted and not report.decrypted:
        return MessageOutcome.UNDECRYPTABLE
    return MessageOutcome.IGNORED if report.used is False else None


def source_name(report: RxmCor) -> str:
    """Where corrections come from that ztpd did not send."""
    if report.protocol == PROTOCOL_RTCM3:
        known = report.correction_id != NO_STATION
        station = f"station {report.correction_id}" if known else "another station"
        return f"RTCM of {station} from another input"
    return _SOURCES.get(report.protocol, f"corrections of protocol {report.protocol}")


class UsageVerdict(Enum):
    """Are corrections used, and if not, why: the event for it."""

    UNKNOWN = None
    USE_NOT_REPORTED = events.USE_NOT_REPORTED  # and why
    USE_LIKE_SBAS = events.USE_LIKE_SBAS
    USE_BESIDE_OTHERS = events.USE_BESIDE_OTHERS
    USED = events.USED
    NO_KEY = events.NO_KEY
    WRONG_KEY = events.WRONG_KEY
    NO_TIME = events.NO_TIME
    NO_POSITION = events.NO_POSITION
    TIME_ONLY = events.TIME_ONLY
    STATION_FILTERED = events.STATION_FILTERED
    OTHER_SOURCE = events.OTHER_SOURCE
    KEPT_OUT = events.KEPT_OUT
    PREFERS_OTHERS = events.PREFERS_OTHERS
    DAMAGED = events.DAMAGED_ON_LINE
    UNSUPPORTED = events.UNSUPPORTED
    NOT_REPORTED = events.NOT_REPORTED
    NO_RTK = events.NO_RTK
    NO_CARRIER = events.NO_CARRIER

    @property
    def is_trouble(self) -> bool:
        return self.value is not None and self.value.name.startswith("gnss.not_used.")


_TELLING = frozenset(MessageOutcome) - {MessageOutcome.USED}  # these leave nothing open

_SETTINGS_MAY_BE_WRONG = frozenset(
    {
        UsageVerdict.TIME_ONLY,
        UsageVerdict.STATION_FILTERED,
        UsageVerdict.OTHER_SOURCE,
        UsageVerdict.KEPT_OUT,
        UsageVerdict.PREFERS_OTHERS,
        UsageVerdict.DAMAGED,  # a parser whose input for this format is off finds others in it
        UsageVerdict.NOT_REPORTED,
        UsageVerdict.NO_CARRIER,
        UsageVerdict.USE_LIKE_SBAS,
    }
)


_ANOTHER_SERVICE_MAY_HELP = frozenset(
    {
        UsageVerdict.PREFERS_OTHERS,
        UsageVerdict.STATION_FILTERED,
        UsageVerdict.UNSUPPORTED,
        UsageVerdict.NO_CARRIER,
    }
)
"""The other reasons have cures of their own, or are those of the receiver and its line."""


class Abilities(NamedTuple):
    """The abilities of a receiver on which the verdict depends."""

    product: str = "the receiver"
    reports: frozenset[FrameKind] = frozenset(FrameKind)  # it reports the use of these
    rtk: bool | None = None  # None: not known
    only_station: int | None = None  # the reference station that its filter lets pass
    is_base: bool = False  # it is set to be a base station
    kept_out: Mapping[FrameKind, str] = {}  # by a setting: the words about it


class CorrectionUsage:
    """Are the corrections used, and if not, why?

    Judged by the receiver's reports about the messages that were delivered to it. A receiver that
    cannot report is judged by its positions, see :class:`CorrectionEffect`.
    """

    def __init__(self) -> None:
        self.verdict = UsageVerdict.UNKNOWN
        self._verdict_since_s: float | None = None
        self.used: dict[str, int] = {}  # messages by name
        self.rejected: dict[str, int] = {}
        self.abilities = Abilities()
        self._delivered = Delivered()
        self._effect = CorrectionEffect()
        self._fix: Fix | None = None  # the last one since the set-up
        self._seen_s: dict[MessageOutcome, float] = {}
        self._other: tuple[str, float] | None = None  # another source in use, and when
        self._details: dict[str, object] = {}  # fields of the verdict's text
        self._unused_since_s = 0.0  # or delivered since, where that is later
        self._unreported_since_s = 0.0
        self._logged = UsageVerdict.UNKNOWN
        self._logged_s = 0.0

    @property
    def label(self) -> str:
        """The verdict for the status: "used", "not used: " and why, or "unknown", which may be
        followed by ": " and why."""
        event = self.verdict.value
        if self.verdict is UsageVerdict.USED or event is None:
            return self.verdict.name.lower()
        reason = event.text.format(**self._details).partition(": ")[2]
        return f"not used: {reason}" if self.verdict.is_trouble else f"unknown: {reason}"

    @property
    def event_name(self) -> str:
        """The event that explains :attr:`label`; "" where they are used or there is no reason."""
        event = None if self.verdict is UsageVerdict.USED else self.verdict.value
        return event.name if event else ""

    @property
    def details(self) -> dict[str, object]:
        """The fields of the verdict's event."""
        event = self.verdict.value
        return {name: self._details[name] for name in event.fields} if event else {}

    def restarted(self, abilities: Abilities | None = None) -> None:
        """The receiver was set up again: earlier reports do not count. ``abilities`` are its
        present ones, None if they are as before."""
        self._seen_s.clear()
        self._effect = CorrectionEffect()
        self._delivered = Delivered()
        self._fix = self._other = None
        self.abilities = abilities or self.abilities

    def delivered(self, frame: Frame, now_s: float) -> None:
        """A correction message has left for the receiver."""
        if not self._delivered.kinds(now_s):
            self._unused_since_s = self._unreported_since_s = now_s
        self._delivered.add(frame, now_s)
        self._effect.on_delivered(now_s)

    def reported(self, report: RxmCor, now_s: float) -> MessageOutcome | None:
        """Note a report; its meaning where it is about a message of ours."""
        if not self._delivered.covers(report, now_s):
            if report.used and report.protocol != PROTOCOL_UNKNOWN:
                self._other = source_name(report), now_s
            return None
        if self._delivered.is_of_other(report, now_s):
            self._other = source_name(report), now_s
            return None
        self._unreported_since_s = now_s
        result = outcome(report)
        if result is not None:
            if result is not MessageOutcome.USED or self._may_show_use(report, now_s):
                self._seen_s[result] = now_s
            counts = self.used if result is MessageOutcome.USED else self.rejected
            name = report_name(report)
            counts[name] = counts.get(name, 0) + 1
        return result

    def _may_show_use(self, report: RxmCor, now_s: float) -> bool:
        """Whether ``report``, that a message is used, is about a correction, and there is a
        position of satellites that it can be used for."""
        without_position = self._fix is not None and (
            self._fix.time_only or self._fix.dead_reckoning
        )
        return not without_position and self._delivered.corrects(report, now_s)

    def followed(self, fix: Fix, now_s: float) -> None:
        """Note a fix: without reports, or where they leave it open, it may show that corrections
        are used."""
        self._fix = fix
        shows_use = self._effect.on_fix(fix, now_s)
        told = self._can_report(now_s) and self._reported_lately(now_s)
        is_open = not told or not any(self._recent(each, now_s) for each in _TELLING)
        if is_open and shows_use and self._other_source(now_s) is None:
            self._seen_s[MessageOutcome.USED] = now_s

    def judge(self, now_s: float, fix: Fix | None, *, has_keys: bool) -> bool:
        """Set :attr:`verdict`; whether it or its reason has changed."""
        before = self.label
        if self._verdict_since_s is None:
            self._verdict_since_s = now_s
        if not self._delivered.kinds(now_s):
            self.verdict = UsageVerdict.UNKNOWN
        elif self._recent(MessageOutcome.USED, now_s):
            self._unused_since_s = now_s
            self.verdict = UsageVerdict.USED
        else:
            self.verdict = self._unused(now_s, fix, has_keys)
        stations = self._delivered.stations(now_s)
        self._details = {
            "source": self._other_source(now_s) or "",
            "filter": self.abilities.only_station,
            "setting": self._kept_out(now_s) or "",
            "station": ", ".join(map(str, stations)),
            "product": self.abilities.product,
            "minutes": NO_EFFECT_S / 60,
        }
        if self.label == before:
            return False
        self._verdict_since_s = now_s
        return True

    def service_use(self, fix: Fix | None) -> ServiceUse:
        """The verdict as one about the service; ``fix`` is the present one. Without time and
        position the service is not to blame."""
        if fix is None or not fix.ok or fix.utc is None:
            return ServiceUse()
        age_s = fix.correction_age_s
        if age_s is not None and age_s > OLD_CORRECTIONS_S:
            return ServiceUse(used=False, reason=f"those in use are up to {age_s:.0f} s old")
        if self.verdict in _ANOTHER_SERVICE_MAY_HELP:
            return ServiceUse(used=False, reason=self.label.removeprefix("not used: "))
        return ServiceUse(used=True if self.verdict is UsageVerdict.USED else None)

    def verdict_for_s(self, now_s: float) -> float | None:
        """Seconds since the last change of the verdict; None before the first."""
        return None if self._verdict_since_s is None else now_s - self._verdict_since_s

    def _unused(self, now_s: float, fix: Fix | None, has_keys: bool) -> UsageVerdict:
        unused_s = now_s - self._unused_since_s
        if unused_s < PATIENCE_S:
            return UsageVerdict.UNKNOWN
        reported = any(self._recent(each, now_s) for each in MessageOutcome)
        if self._can_report(now_s) and (reported or not self._reported_lately(now_s)):
            return self._reason(now_s, fix, has_keys)
        return self._cause(now_s, fix) or self._by_effect(now_s)

    def _by_effect(self, now_s: float) -> UsageVerdict:
        """The verdict by the positions, where they do not show use."""
        if self._effect.without_s >= NO_EFFECT_S:
            return UsageVerdict.NO_RTK if self.abilities.rtk is False else UsageVerdict.NO_CARRIER
        if self._effect.is_of_others:
            return UsageVerdict.USE_BESIDE_OTHERS
        like_sbas = self._effect.is_like_sbas(now_s)
        return UsageVerdict.USE_LIKE_SBAS if like_sbas else UsageVerdict.USE_NOT_REPORTED

    def _reason(self, now_s: float, fix: Fix | None, has_keys: bool) -> UsageVerdict:
        seen = next((each for each in MessageOutcome if self._recent(each, now_s)), None)
        match seen:
            case MessageOutcome.UNDECRYPTABLE:
                return UsageVerdict.WRONG_KEY if has_keys else UsageVerdict.NO_KEY
            case MessageOutcome.DAMAGED:
                return UsageVerdict.DAMAGED
            case MessageOutcome.UNSUPPORTED:
                return UsageVerdict.UNSUPPORTED
        if (cause := self._cause(now_s, fix)) is not None:
            return cause
        return UsageVerdict.PREFERS_OTHERS if seen else UsageVerdict.NOT_REPORTED

    def _cause(self, now_s: float, fix: Fix | None) -> UsageVerdict | None:
        """Why corrections that are in order are not used, where that can be seen."""
        if self.abilities.is_base or (fix is not None and fix.time_only):
            return UsageVerdict.TIME_ONLY
        if fix is None or fix.utc is None:
            return UsageVerdict.NO_TIME
        if not fix.ok or fix.dead_reckoning:
            return UsageVerdict.NO_POSITION
        if self._is_filtered(now_s):
            return UsageVerdict.STATION_FILTERED
        if self._other_source(now_s):
            return UsageVerdict.OTHER_SOURCE
        return UsageVerdict.KEPT_OUT if self._kept_out(now_s) else None

    def _kept_out(self, now_s: float) -> str | None:
        """The words about the setting that keeps out all that was delivered."""
        words = [self.abilities.kept_out.get(kind) for kind in self._delivered.kinds(now_s)]
        return words[0] if words and all(words) else None

    def _is_filtered(self, now_s: float) -> bool:
        stations, only = self._delivered.stations(now_s), self.abilities.only_station
        return only is not None and bool(stations) and only not in stations

    def to_log(self, now_s: float) -> UsageVerdict | None:
        """The verdict if it is news: at once where use turns into trouble or back, else at most
        once a minute, for reasons may alternate. That the use is not known is logged with the
        health of the daemon."""
        is_known = self.verdict.is_trouble or self.verdict is UsageVerdict.USED
        if not is_known or self.verdict is self._logged:
            return None
        if self.verdict.is_trouble and self._logged.is_trouble and now_s - self._logged_s < CALM_S:
            return None
        self._logged, self._logged_s = self.verdict, now_s
        return self.verdict

    def doubts_settings(self, now_s: float, fix: Fix | None) -> bool:
        """Whether another program may have changed settings that corrections depend on."""
        if fix is not None and fix.time_only:
            return True
        if not self._delivered.kinds(now_s):
            return False
        since_s = self._seen_s.get(MessageOutcome.USED, self._unused_since_s)
        other_in_use = self._other_source(now_s) and now_s - since_s >= OTHER_IN_USE_S
        unreported = self._can_report(now_s) and not self._reported_lately(now_s)
        return self.verdict in _SETTINGS_MAY_BE_WRONG or bool(other_in_use) or unreported

    def _can_report(self, now_s: float) -> bool:
        return self._delivered.kinds(now_s) <= self.abilities.reports

    def _reported_lately(self, now_s: float) -> bool:
        return now_s - self._unreported_since_s <= WINDOW_S

    def _other_source(self, now_s: float) -> str | None:
        """The source that is in use instead of ours, by the reports of the last 30 seconds."""
        if self._other is None or now_s - self._other[1] > WINDOW_S:
            return None
        return self._other[0]

    def _recent(self, which: MessageOutcome, now_s: float) -> bool:
        return now_s - self._seen_s.get(which, -WINDOW_S - 1) <= WINDOW_S
