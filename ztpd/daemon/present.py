"""The daemon's present state, the reason for it, and how long it may last without a report."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ztpd import events, log
from ztpd.daemon.failures import FailureMemory
from ztpd.daemon.snapshot import Reason
from ztpd.daemon.systemd import notify
from ztpd.errors import ZtpdError
from ztpd.lifecycle import Activity, Event, State, step
from ztpd.system.clock import utc_now
from ztpd.system.looptime import loop_time

_GRACE_S = 60.0

_REPORT_WITHIN_S = {
    State.STARTING: 120.0,
    State.IDENTIFYING: 660.0,
    State.PROVISIONING: 660.0,
    State.CONNECTING: 120.0,
    State.STREAMING: 360.0,
    State.REFRESHING: 660.0,
}
"""How long a state may last without any report before the watchdog may end the process."""

_LOGGED_ELSEWHERE = {
    State.PROVISIONING,
    State.STREAMING,
    State.WAITING,
    State.BLOCKED,
    State.PAUSED,
    State.STOPPING,
}
"""States whose cause has an INFO line, or a failure's, of its own."""


class PresentState:
    """``state`` and ``activity`` are changed by :meth:`follow` only."""

    def __init__(self, wall_clock: Callable[[], datetime] = utc_now) -> None:
        self.wall_clock = wall_clock
        self.state = State.STARTING
        self.activity = Activity.NONE
        self.since = wall_clock()
        self.reason = Reason("daemon.started", "", "")
        self.failures = FailureMemory(wall_clock)
        self._overdue_s = float("inf")  # loop time

    @property
    def is_waiting(self) -> bool:
        """Whether there is a wait that a person can end."""
        return self.state in (State.WAITING, State.BLOCKED)

    @property
    def has_session(self) -> bool:
        """Whether there is a session, or one is being opened."""
        return self.state in (State.CONNECTING, State.STREAMING)

    def follow(
        self,
        event: Event,
        why: str,
        error: ZtpdError | None,
        wait_s: float | None,
        *,
        stale_after_s: float,
    ) -> Activity | None:
        """Take on the state that ``event`` leads to; the activity to start, or None.

        Raises :class:`ztpd.lifecycle.ImpossibleEvent`; then nothing has changed.
        """
        following = step(self.state, self.activity, event)
        self.failures.follow(event, error)
        now = loop_time()
        before, self.state = self.state, following.state
        self.activity = following.start or self.activity
        if before is not self.state:
            self.since = self.wall_clock()
        self.reason = Reason(
            event=error.code if error else f"state.{self.state.value}",
            text=str(error) if error else why or self.state.meaning,
            advice=error.advice if error else "",
            until_s=None if wait_s is None else now + wait_s,
        )
        allowed_s = _REPORT_WITHIN_S.get(self.state, float("inf"))
        if self.state is State.CONNECTING:
            allowed_s += stale_after_s
        self._overdue_s = now + (allowed_s if wait_s is None else wait_s + _GRACE_S)
        if before is not self.state:
            self._log(before, wait_s)
        return following.start

    def is_overdue(self, last_frame_s: float | None) -> bool:
        """Whether the state lasts too long; while streaming, each correction is a report."""
        if self.state is State.STREAMING and last_frame_s:
            self._overdue_s = last_frame_s + _REPORT_WITHIN_S[State.STREAMING]
        return loop_time() >= self._overdue_s

    def _log(self, before: State, wait_s: float | None) -> None:
        text = self.reason.text
        wait = "" if wait_s is None else f", next try in {log.duration(max(0.0, wait_s))}"
        notify(f"STATUS={self.state.value}: {text}{wait}")
        again = before in (State.WAITING, State.BLOCKED, State.STREAMING)
        quiet = again or self.state in _LOGGED_ELSEWHERE
        log.emit(events.STATE_AGAIN if quiet else events.STATE, state=self.state.value, why=text)
