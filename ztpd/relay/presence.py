"""A receiver that goes away while corrections come."""

from __future__ import annotations

from typing import Protocol

from ztpd.errors import ZtpdError
from ztpd.lifecycle import Dispatch, Event, waiting_event

_REPORTED_AFTER_S = 10.0  # a restart of the receiver is shorter
_CLOSED_AFTER_S = 60.0  # mobile data for a receiver that is not there


class _Watched(Protocol):
    @property
    def ready(self) -> bool: ...
    @property
    def error(self) -> ZtpdError | None: ...


class ReceiverAway(Exception):
    """The receiver has been away for a minute: the session is not worth its data."""


class ReceiverPresence:
    """Called with each frame; has no timer of its own."""

    def __init__(self, receiver: _Watched, dispatch: Dispatch) -> None:
        self._receiver, self._dispatch = receiver, dispatch
        self._away_since_s: float | None = None
        self._reported: str | None = None  # the cause, as the daemon's state has it

    def check(self, now: float, where: str) -> None:
        """Report a receiver that is away, and its return. Raises :class:`ReceiverAway`."""
        if self._receiver.ready:
            if self._reported is not None:
                self._dispatch(Event.FIRST_FRAME, f"the receiver is back; corrections from {where}")
            self._away_since_s = self._reported = None
            return
        if self._away_since_s is None:
            self._away_since_s = now
        away_s, error = now - self._away_since_s, self._receiver.error
        if away_s >= _CLOSED_AFTER_S:
            raise ReceiverAway(f"closed, because the receiver is away ({error or 'not ready'})")
        cause = str(error or "")
        if away_s >= _REPORTED_AFTER_S and cause != self._reported:  # another one may have come
            self._reported = cause
            self._dispatch(waiting_event(error), "the receiver is not ready yet", error=error)
