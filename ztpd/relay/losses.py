"""Logs dropped frames each minute, a summary each hour."""

from __future__ import annotations

from typing import Protocol

from ztpd import events, log
from ztpd.model import Fix
from ztpd.sources import Session

_SUMMARY_S = 3600.0
_MINUTE_S = 60.0


class _Receiver(Protocol):
    @property
    def fix(self) -> Fix | None: ...
    @property
    def dropped(self) -> int: ...


class Losses:
    """Called with each frame; has no timer of its own."""

    def __init__(self, receiver: _Receiver, session: Session, now: float) -> None:
        self._receiver, self._session = receiver, session
        self._minute_s = self._hour_s = now
        self._dropped, self._skipped = receiver.dropped, session.counts.skipped_bytes
        self._hour = (sum(session.counts.frames.values()), session.counts.bytes, receiver.dropped)

    def update(self, now: float) -> None:
        if now - self._minute_s >= _MINUTE_S:
            self._minute_s = now
            self._log()
        if now - self._hour_s >= _SUMMARY_S:
            self._log_summary(now)

    def _log(self) -> None:
        dropped, skipped = self._receiver.dropped, self._session.counts.skipped_bytes
        if dropped > self._dropped:
            log.emit(events.DROPPED, frames=dropped - self._dropped)
        if skipped > self._skipped:
            log.emit(events.DAMAGED, bytes=skipped - self._skipped)
        self._dropped, self._skipped = dropped, skipped

    def _log_summary(self, now: float) -> None:
        counts, receiver = self._session.counts, self._receiver
        totals = (sum(counts.frames.values()), counts.bytes, receiver.dropped)
        frames, octets, dropped = (new - old for new, old in zip(totals, self._hour, strict=True))
        log.emit(
            events.SUMMARY,
            period=log.duration(now - self._hour_s),
            frames=frames,
            octets=octets,
            dropped=dropped,
            fix=receiver.fix.label if receiver.fix else "none",
        )
        self._hour_s, self._hour = now, totals
