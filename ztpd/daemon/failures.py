"""The last failure, which the status shows while ztpd tries again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from ztpd.errors import IdentityError, StoreError, ZtpdError
from ztpd.lifecycle import Event
from ztpd.status import Failure
from ztpd.system.clock import utc_now

_SUCCESSES: dict[Event, tuple[type[ZtpdError], ...]] = {
    Event.HAVE_CREDENTIALS: (StoreError,),
    Event.UNPROVISIONED: (StoreError,),
    Event.PROVISION: (StoreError, IdentityError),
    Event.PROVISIONED: (ZtpdError,),
    Event.FIRST_FRAME: (ZtpdError,),
}
"""The failures that an event proves to be over."""


class FailureMemory:
    """``last`` is None where nothing has failed since the last success."""

    def __init__(self, wall_clock: Callable[[], datetime] = utc_now) -> None:
        self._wall_clock = wall_clock
        self.last: Failure | None = None
        self._error: ZtpdError | None = None
        self._times: dict[str, int] = {}

    def follow(self, event: Event, error: ZtpdError | None) -> None:
        """Note ``error``, which came with ``event``; without one, the success that it means."""
        if error is not None:
            self._note(error)
        elif isinstance(self._error, _SUCCESSES.get(event, ())):
            self.last = self._error = None
            self._times.clear()

    def _note(self, error: ZtpdError) -> None:
        if error is self._error:  # the same wait, reported once more
            return
        self._error = error
        self._times[error.code] = self._times.get(error.code, 0) + 1
        came = self._wall_clock()
        with suppress(OverflowError):  # an age that a wrong clock has made
            came -= timedelta(seconds=error.age_s)
        self.last = Failure(
            event=error.code,
            text=str(error),
            advice=error.advice,
            at=came.isoformat(timespec="seconds"),
            times=self._times[error.code],
            needs_person=error.needs_person,
        )
