"""The journal of sessions: a line for each cause of an outage, and one for its end."""

from __future__ import annotations

from ztpd import events, log
from ztpd.errors import CorrectionsUnused, ZtpdError
from ztpd.relay.channels import Channel
from ztpd.relay.open_session import Progress


class SessionLog:
    """During an outage the lines about single sessions have level DEBUG."""

    def __init__(self) -> None:
        self._failures = log.FailureLog()
        self._before: Channel | None = None  # the channel of the session before

    def connected(self, where: str) -> None:
        emit = log.emit_detail if self._failures.count else log.emit
        emit(events.CONNECTED, where=where)

    def streaming(self, format: str, *, after_s: float) -> None:
        """The end of a single failure; after several the session must prove to be stable first."""
        repeated = self._failures.count > 1
        emit = log.emit_detail if repeated else log.emit
        emit(events.STREAMING, format=format, after_s=after_s)
        if not repeated:
            self._failures.log_next()

    def service(self, channel: Channel) -> bool:
        """Corrections come from ``channel`` now: log a change to a backup, or back, and one that
        the receiver's use of the corrections caused. Whether there was one."""
        before, self._before = self._before, channel
        returned = isinstance(channel.error, CorrectionsUnused)
        if returned:
            channel.error = None
        if before is None or before is channel:
            return False
        unused = isinstance(before.error, CorrectionsUnused)
        if not (before.endpoint.backup or channel.endpoint.backup or unused or returned):
            return False
        reason = "it brought corrections for 10 min" if returned else "it works again"
        if before.error:
            reason = str(before.error)
        log.emit(events.SERVICE_CHANGED, service=channel.name, before=before.name, reason=reason)
        if self._failures.count == 1:  # that line tells its end: later ones are of other services
            self._failures.begin_anew()
        return True

    def ended(self, progress: Progress, reason: str, *, at_s: float, failed: bool) -> None:
        """The end of a session that had delivered corrections; after a failure, which has a line of
        its own, ``failed`` is true."""
        emit = log.emit_detail if failed else log.emit
        emit(
            events.ENDED,
            where=progress.where,
            lived_s=at_s - progress.opened_s,
            frames=sum(progress.frames.values()),
            reason=reason,
        )

    def failed(self, error: ZtpdError, *, retry_in_s: float) -> None:
        self._failures.record(error, retry_in_s=retry_in_s)

    def stable_session_failed(self) -> None:
        """The next failure begins another outage."""
        self._failures.begin_anew()

    def works(self, since_s: float | None = None) -> None:
        """A session is stable; its corrections have come since ``since_s``, by default now."""
        self._failures.clear(since_s)
