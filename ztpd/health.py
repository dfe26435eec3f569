"""The whole status in one word, and its causes: the first is the one a person should know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from ztpd import events
from ztpd.errors import (
    DaemonSilent,
    GgaRequired,
    OutputError,
    RegionUnknown,
    SealingFailed,
    ZtpdError,
)
from ztpd.events import JournalEvent
from ztpd.log import duration
from ztpd.model import FIX_LABELS
from ztpd.status import Cause, Failure, ReceiverView, Status

EXIT_STREAMING, EXIT_FAILED, EXIT_DEGRADED, EXIT_NOT_RUNNING, EXIT_PAUSED = 0, 1, 2, 3, 4

STALE_AFTER_S = 20.0  # the daemon renews its status every 10 s
USE_UNKNOWN_AFTER_S = 120.0
NO_FIX_AFTER_S = 60.0
FIX_LOW_AFTER_S = 600.0
DROPPED_SHARE = 0.05
ENDS_WITHIN_DAYS = 3  # ztpd renews credentials in their last week
"""The limits beyond which corrections that flow are not enough; docs/status.md has them."""

FOLLOW_FROM_FINDINGS = {
    events.NO_TIME.name,
    events.NO_POSITION.name,
    events.NO_FIX.name,
    events.FIX_LOW.name,
    GgaRequired.code,
    RegionUnknown.code,
}
"""Without an antenna, or a strong signal, there is no position, and without one these."""

_WITH_RTK = FIX_LABELS[-2:]
_BEST_WITHOUT_RTK = "DGNSS"


class Health(Enum):
    """The value is the word that people read; :attr:`exit_status` is for scripts."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    STARTING = "starting"
    WAITING = "waiting"
    BLOCKED = "blocked"
    PAUSED = "paused"
    NOT_RUNNING = "not running"

    @property
    def exit_status(self) -> int:
        """0 corrections are used, 1 a person is needed, 3 no daemon runs, 4 none are wanted at
        present, 2 everything else."""
        return {
            Health.HEALTHY: EXIT_STREAMING,
            Health.BLOCKED: EXIT_FAILED,
            Health.NOT_RUNNING: EXIT_NOT_RUNNING,
            Health.PAUSED: EXIT_PAUSED,
        }.get(self, EXIT_DEGRADED)


class Weakness(NamedTuple):
    """Corrections flow, and something is not as it should be."""

    event: JournalEvent
    fields: Mapping[str, object] = {}
    is_ignorance: bool = False  # nothing is known to be wrong

    @property
    def cause(self) -> Cause:
        return Cause(self.event.name, self.event.text.format(**self.fields), self.event.remedy)


def health(status: Status, *, is_running: bool, now: datetime | None = None) -> Health:
    """The word for ``status``; ``now``: whether it is still the present one."""
    if not is_running:
        return Health.NOT_RUNNING
    if stale(status, now):
        return Health.UNKNOWN
    match status.state:
        case "blocked":
            return Health.BLOCKED
        case "waiting":
            return Health.WAITING
        case "streaming":
            return _while_streaming(status)
        case "paused":  # without its receiver it would not notice that it moves
            return Health.DEGRADED if status.receiver_problem else Health.PAUSED
    if status.last_failure:
        return Health.BLOCKED if status.last_failure.needs_person else Health.WAITING
    return Health.STARTING


def _while_streaming(status: Status) -> Health:
    view = status.receiver
    if status.receiver_problem or not_used(view) or view.findings:
        return Health.DEGRADED
    found = list(weaknesses(status))
    if any(not each.is_ignorance for each in found):
        return Health.DEGRADED
    if found:
        return Health.UNKNOWN
    return Health.HEALTHY if status.receiver.use == "used" else Health.STARTING


def cause(status: Status, now: datetime | None = None) -> Cause | None:
    """The first thing that a person should know; None where all is well."""
    return stale(status, now) or next(iter(causes(status)), None)


def causes(status: Status) -> list[Cause]:
    """Everything that is wrong, the most important first."""
    reason, problem = status.reason, status.receiver_problem
    if status.state == "streaming":
        quality = [each.cause for each in weaknesses(status)]
        found = [problem, not_used(status.receiver), *quality]
    elif status.state == "paused":
        known = problem, status.credentials_problem, status.config_problem
        return [each for each in known if each]
    elif status.state in ("waiting", "blocked") and reason.advice:
        found = [reason, problem]
    elif failure := status.last_failure:
        found = [_again(failure), problem]
    elif status.state == "waiting":
        found = [problem, reason]
    else:
        found = [reason, problem]
    if status.state != "streaming":  # what follows would not be needed with them
        found.insert(0, status.credentials_problem)
    return with_findings((*found, status.config_problem), status.receiver)


def _again(failure: Failure) -> Cause:
    text = f"trying again ({ordinal(failure.times + 1)} time): {failure.text}"
    return Cause(failure.event, text, failure.advice)


def ordinal(number: int) -> str:
    """1 as "1st", 2 as "2nd", 12 as "12th"."""
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def with_findings(causes: Iterable[Cause | None], view: ReceiverView) -> list[Cause]:
    """``causes``, and the receiver's findings: before them where the first one follows from such,
    as a receiver without an antenna has no position; else behind the first one."""
    known = [each for each in causes if each]
    found = [Cause(each.event, each.text, each.advice) for each in view.findings]
    at = 1 if known and known[0].event not in FOLLOW_FROM_FINDINGS else 0
    return [*known[:at], *found, *known[at:]]


def not_used(view: ReceiverView) -> Cause | None:
    """The cause that the receiver gives for corrections that it does not use."""
    event = events.named(view.use_event)
    if not view.use_event or event in events.USE_NOT_KNOWN:
        return None
    text = view.use.replace("not used: ", events.UNUSED, 1)
    return Cause(view.use_event, text, event.remedy if event else "")


def weaknesses(status: Status) -> Iterator[Weakness]:
    """The faults while corrections flow, the most important first."""
    yield from receiver_weaknesses(status.receiver)
    yield from _backup_in_use(status)
    if problem := status.credentials_problem:
        kind = type(ZtpdError.named(problem.event, "") or SealingFailed())
        yield Weakness(events.for_error(kind), {"error": problem.text})
    credentials = status.credentials
    if credentials and credentials.unsaved:
        yield Weakness(events.CREDENTIALS_UNSAVED, {"period": duration(credentials.age_s)})
    if credentials and credentials.expires and _ends_soon(credentials.expires, status.at):
        yield Weakness(events.CERTIFICATE_NOT_RENEWED, {"expires": credentials.expires})


def _ends_soon(expires: str, at: str) -> bool:
    """Whether that day comes so soon that at least three calls for other credentials have failed,
    as far as the gateway was on."""
    with suppress(ValueError, TypeError, OverflowError):
        left = date.fromisoformat(expires) - datetime.fromisoformat(at).date()
        return left < timedelta(days=ENDS_WITHIN_DAYS)
    return False


def _backup_in_use(status: Status) -> Iterator[Weakness]:
    """A service before the one in use has failed."""
    in_use = next((each for each in status.channels if each.state == "in use"), None)
    better = status.channels[: status.channels.index(in_use)] if in_use else ()
    if in_use and in_use.backup and better:
        reason = next((f"{each.name}: {each.text}" for each in better if each.text), "")
        fields: dict[str, object] = {
            "service": in_use.name,
            "reason": reason or "the services before it bring no corrections yet",
        }
        yield Weakness(events.BACKUP_IN_USE, fields)


def receiver_weaknesses(view: ReceiverView) -> Iterator[Weakness]:
    """Corrections dropped, a fix below the receiver's best, or nothing heard of either."""
    share, use_for_s = view.dropped_share or 0.0, view.use_for_s or 0.0
    if share > DROPPED_SHARE:
        yield Weakness(events.DROPPED_SHARE, {"share": f"{share:.0%}"})
    if view.share_problem:
        yield Weakness(events.for_error(OutputError), {"error": view.share_problem})
    if view.use == "unknown" and use_for_s >= USE_UNKNOWN_AFTER_S:
        yield Weakness(events.USE_UNKNOWN, {"period": duration(use_for_s)}, is_ignorance=True)
    event = events.named(view.use_event)
    if event in events.USE_NOT_KNOWN:
        yield from _lack_of_rtk(view)
        yield Weakness(event, {"product": _product(view)}, is_ignorance=True)
    if view.use == "used":
        yield from _fix_weaknesses(view)


def _fix_weaknesses(view: ReceiverView) -> Iterator[Weakness]:
    if view.fix not in FIX_LABELS:
        yield Weakness(events.FIX_UNKNOWN, is_ignorance=True)
        return
    without_s = view.fix_for_s or 0.0
    if view.fix == "no fix" and without_s >= NO_FIX_AFTER_S:
        yield Weakness(events.NO_FIX, {"period": duration(without_s)})
        return
    low_s, best = view.best_fix_age_s or 0.0, view.best_fix
    yield from _lack_of_rtk(view)
    rank = FIX_LABELS.index
    if best in FIX_LABELS and rank(view.fix) < rank(best) and low_s >= FIX_LOW_AFTER_S:
        yield Weakness(events.FIX_LOW, {"best": best, "period": duration(low_s), "fix": view.fix})


def _lack_of_rtk(view: ReceiverView) -> Iterator[Weakness]:
    if view.best_fix == _BEST_WITHOUT_RTK and view.fix not in _WITH_RTK:
        yield Weakness(events.FIX_WITHOUT_RTK, {"product": _product(view), "best": view.best_fix})


def _product(view: ReceiverView) -> str:
    return f"{view.model or 'the receiver'} with {view.firmware}"


def age_s(at: str, now: datetime | None) -> float | None:
    """Seconds since ``at``, a time in a status; None where that is not known."""
    with suppress(ValueError, TypeError, OverflowError):
        return (now - datetime.fromisoformat(at)).total_seconds() if now else None
    return None


def stale(status: Status, now: datetime | None) -> Cause | None:
    """The cause where ``status`` is too old to be the present one."""
    old_s = age_s(status.at, now)
    if old_s is None or old_s <= STALE_AFTER_S:
        return None
    text = f"the daemon has not renewed its status for {duration(old_s)}"
    return Cause(DaemonSilent.code, text, DaemonSilent.advice)
