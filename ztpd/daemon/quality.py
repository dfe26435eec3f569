"""Journal lines about corrections that flow without their full effect."""

from __future__ import annotations

from ztpd import events, log
from ztpd.errors import OutputError
from ztpd.health import FIX_LOW_AFTER_S, weaknesses
from ztpd.lifecycle import State
from ztpd.status import Status

LOGGED_ELSEWHERE = {
    events.CREDENTIALS_UNSAVED.name,  # the store's failure, and ztp.provisioned
    events.BACKUP_IN_USE.name,  # session.service_changed
    OutputError.code,  # the output itself
}
"""Events whose beginning, or end, has a line of its own."""

_USE_KNOWN = "whether the receiver uses the corrections is known again"
ENDS = {
    events.NO_FIX.name: "the receiver has a fix again",
    events.FIX_LOW.name: "the receiver has its best fix again",
    events.FIX_WITHOUT_RTK.name: "a receiver with RTK is connected",
    events.FIX_UNKNOWN.name: "the receiver reports its position again",
    events.DROPPED_SHARE.name: "the line takes the corrections again",
    events.USE_UNKNOWN.name: _USE_KNOWN,
    **{each.name: _USE_KNOWN for each in events.USE_NOT_KNOWN},
}
"""The sentence about the end of each event."""


class QualityLog:
    """Logs each weakness when it begins, and when it is over. A status that leaves open whether it
    lasts, as without a session, ends nothing."""

    def __init__(self) -> None:
        self._began_s: dict[str, float] = {}

    def update(self, status: Status, now_s: float) -> None:
        """Take the present status."""
        if status.state != State.STREAMING.value:
            return
        found = {each.event.name: each for each in weaknesses(status)}
        for name, each in found.items():
            if name not in self._began_s and name not in _NO_BEGINNING:
                log.emit(each.event, **each.fields)
            self._began_s.setdefault(name, now_s)
        over = [name for name in self._began_s if name not in found and _is_over(name, status)]
        began_s = {name: self._began_s.pop(name) for name in over}
        for end in dict.fromkeys(ENDS[name] for name in over if name in ENDS):
            first_s = min(began_s[name] for name in over if ENDS.get(name) == end)
            log.emit(events.QUALITY_OVER, end=end, period=log.duration(now_s - first_s))


_NO_BEGINNING = LOGGED_ELSEWHERE - {events.BACKUP_IN_USE.name}


def _is_over(name: str, status: Status) -> bool:
    """Whether a weakness that is not found any more is known to be over."""
    view = status.receiver
    match name:
        case events.DROPPED_SHARE.name:
            return view.dropped_share is not None
        case events.NO_FIX.name:
            return view.fix not in ("no fix", "unknown")
        case events.FIX_UNKNOWN.name:
            return view.fix != "unknown"
        case events.FIX_LOW.name:
            low_s = view.best_fix_age_s
            return view.use == "used" and low_s is not None and low_s < FIX_LOW_AFTER_S
        case events.FIX_WITHOUT_RTK.name:
            return view.best_fix.startswith("RTK")
        case events.USE_UNKNOWN.name:
            return view.use != "unknown"
    is_use = name in {each.name for each in events.USE_NOT_KNOWN}
    return not is_use or view.use == "used" or view.use.startswith("not used")
