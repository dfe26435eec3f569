"""Judges whether the receiver uses the corrections, by its reports. Time is an argument."""

from __future__ import annotations

from enum import Enum

from ztpd import events
from ztpd.model import Carrier, Fix
from ztpd.receiver.fixes import CALM_S
from ztpd.wire.frames import spartn_name
from ztpd.wire.ubx import PROTOCOL_RTCM3, RxmCor

WINDOW_S = 30.0  # SPARTN sends every kind of message within 30 s; an outcome counts that long
PATIENCE_S = 20.0  # corrections must go unused for so long before that is said


class MessageOutcome(Enum):
    """The fate of one correction message, in the order of their weight as a reason."""

    USED = "used"
    UNDECRYPTABLE = "locked"  # encrypted, and no key of the receiver fits
    IGNORED = "ignored"  # in order, yet not used
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"


def outcome(report: RxmCor) -> MessageOutcome | None:
    """The meaning of one RXM-COR; None where the receiver does not know."""
    if report.used:
        return MessageOutcome.USED
    if report.erroneous:
        return MessageOutcome.DAMAGED
    if not report.input_handled:
        return MessageOutcome.UNSUPPORTED
    if report.encrypted and not report.decrypted:
        return MessageOutcome.UNDECRYPTABLE
    return MessageOutcome.IGNORED if report.used is False else None


def report_name(report: RxmCor) -> str:
    """The name of the message reported, as its frame has it: "OCB-GPS", "1077"."""
    if report.protocol == PROTOCOL_RTCM3:
        return str(report.message_type)
    return spartn_name(report.message_type, report.subtype)


class UsageVerdict(Enum):
    """Whether corrections are used, and if not, the event with the reason."""

    UNKNOWN = None
    USED = events.USED
    NO_KEY = events.NO_KEY
    WRONG_KEY = events.WRONG_KEY
    NO_TIME = events.NO_TIME
    NO_POSITION = events.NO_POSITION
    OTHER_SOURCE = events.OTHER_SOURCE
    DAMAGED = events.DAMAGED_ON_LINE
    UNSUPPORTED = events.UNSUPPORTED
    NOT_REPORTED = events.NOT_REPORTED

    @property
    def reason(self) -> str:
        """Why they are not used, for a person."""
        return self.value.text.partition(": ")[2] if self.value else ""

    @property
    def is_trouble(self) -> bool:
        return self not in (UsageVerdict.UNKNOWN, UsageVerdict.USED)


class CorrectionUsage:
    """Whether the corrections are used, and if not, why: by the receiver's reports (RXM-COR), else
    by its fix, since a carrier solution needs corrections."""

    def __init__(self) -> None:
        self.verdict = UsageVerdict.UNKNOWN
        self._verdict_since_s: float | None = None
        self.used: dict[str, int] = {}  # messages by name
        self.rejected: dict[str, int] = {}
        self._reports = True  # whether this receiver can report at all
        self._seen_s: dict[MessageOutcome, float] = {}
        self._delivered_s: float | None = None
        self._unused_since_s = 0.0  # or delivered since, where that is later
        self._unreported_since_s = 0.0
        self._told = UsageVerdict.UNKNOWN
        self._told_s = 0.0

    @property
    def label(self) -> str:
        """The verdict for the status: "used", "not used: " and why, or "unknown"."""
        verdict = self.verdict
        return f"not used: {verdict.reason}" if verdict.is_trouble else verdict.name.lower()

    @property
    def event_name(self) -> str:
        """The event that explains :attr:`label`; "" where they are used or it is unknown."""
        event = self.verdict.value if self.verdict.is_trouble else None
        return event.name if event else ""

    def restarted(self, *, reports: bool | None = None) -> None:
        """The receiver restarted: forget its earlier reports. ``reports``: whether it can report
        the use of corrections, None if unchanged."""
        self._seen_s.clear()
        self._delivered_s = None
        if reports is not None:
            self._reports = reports

    def delivered(self, now_s: float) -> None:
        """One more correction is on its way."""
        if self._delivered_s is None or now_s - self._delivered_s > WINDOW_S:
            self._unused_since_s = self._unreported_since_s = now_s
        self._delivered_s = now_s

    def reported(self, report: RxmCor, now_s: float) -> MessageOutcome | None:
        self._unreported_since_s = now_s
        result = outcome(report)
        if result is not None:
            self._seen_s[result] = now_s
            counts = self.used if result is MessageOutcome.USED else self.rejected
            name = report_name(report)
            counts[name] = counts.get(name, 0) + 1
        return result

    def followed(self, fix: Fix, now_s: float) -> None:
        silent = not self._reports or now_s - self._unreported_since_s > WINDOW_S
        if silent and fix.carrier is not Carrier.NONE:
            self._seen_s[MessageOutcome.USED] = now_s

    def judge(self, now_s: float, fix: Fix | None, *, has_keys: bool) -> bool:
        """Think again about :attr:`verdict`; True if it changed."""
        if self._verdict_since_s is None:
            self._verdict_since_s = now_s
        before = self.verdict
        if not self._delivering(now_s):
            self.verdict = UsageVerdict.UNKNOWN
        elif self._recent(MessageOutcome.USED, now_s):
            self._unused_since_s = now_s
            self.verdict = UsageVerdict.USED
        elif self._reports and now_s - self._unused_since_s >= PATIENCE_S:
            self.verdict = self._trouble(now_s, fix, has_keys)
        else:
            self.verdict = UsageVerdict.UNKNOWN
        if self.verdict is not before:
            self._verdict_since_s = now_s
        return self.verdict is not before

    def verdict_for_s(self, now_s: float) -> float | None:
        """Seconds since the last change of the verdict; None before the first."""
        return None if self._verdict_since_s is None else now_s - self._verdict_since_s

    def _trouble(self, now_s: float, fix: Fix | None, has_keys: bool) -> UsageVerdict:
        seen = next((each for each in MessageOutcome if self._recent(each, now_s)), None)
        match seen:
            case MessageOutcome.UNDECRYPTABLE:
                return UsageVerdict.WRONG_KEY if has_keys else UsageVerdict.NO_KEY
            case MessageOutcome.DAMAGED:
                return UsageVerdict.DAMAGED
            case MessageOutcome.UNSUPPORTED:
                return UsageVerdict.UNSUPPORTED
        if fix is None or fix.utc is None:
            return UsageVerdict.NO_TIME
        if not fix.ok:
            return UsageVerdict.NO_POSITION
        return UsageVerdict.OTHER_SOURCE if seen else UsageVerdict.NOT_REPORTED

    def to_tell(self, now_s: float) -> UsageVerdict | None:
        """The verdict if it is news: at once where use turns into trouble or back, else at most
        once a minute, for reasons may alternate."""
        if self.verdict in (UsageVerdict.UNKNOWN, self._told):
            return None
        if self.verdict.is_trouble and self._told.is_trouble and now_s - self._told_s < CALM_S:
            return None
        self._told, self._told_s = self.verdict, now_s
        return self.verdict

    def unreported(self, now_s: float) -> bool:
        """Whether a receiver that could report the corrections has reported none."""
        silent_s = now_s - self._unreported_since_s
        return self._reports and self._delivering(now_s) and silent_s > WINDOW_S

    def _delivering(self, now_s: float) -> bool:
        return self._delivered_s is not None and now_s - self._delivered_s <= WINDOW_S

    def _recent(self, which: MessageOutcome, now_s: float) -> bool:
        return now_s - self._seen_s.get(which, -WINDOW_S - 1) <= WINDOW_S
