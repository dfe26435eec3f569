"""Journal lines about corrections that flow without their full effect."""

from __future__ import annotations

from ztpd import events, log
from ztpd.health import weaknesses
from ztpd.lifecycle import State
from ztpd.status import Status

_LOGGED_ELSEWHERE = {events.CREDENTIALS_UNSAVED.name}  # the store's failure, when it comes


class QualityLog:
    """Logs each weakness once when it begins; again only after it was over."""

    def __init__(self) -> None:
        self._present: set[str] = set()

    def update(self, status: Status) -> None:
        """Take the present status."""
        found = list(weaknesses(status)) if status.state == State.STREAMING.value else []
        for each in found:
            if each.event.name not in self._present | _LOGGED_ELSEWHERE:
                log.emit(each.event, **each.fields)
        self._present = {each.event.name for each in found}
