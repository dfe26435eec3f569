"""Logs dropped frames each minute, a summary each hour."""

from __future__ import annotations

from typing import Protocol

from ztpd import events, log
from ztpd.model import Fix
from ztpd.relay.open_session import OpenSession
from ztpd.wire.foreign import format_name

_SUMMARY_S = 3600.0
_MINUTE_S = 60.0
_DAY_S = 86_400.0


class _Receiver(Protocol):
    @property
    def fix(self) -> Fix | None: ...
    @property
    def dropped(self) -> int: ...


class DamageLog:
    """Logs bytes that are part of no frame: the first time, and then a sum each day."""

    def __init__(self) -> None:
        self._bytes = 0
        self._next_s = float("-inf")

    def add(self, octets: int, now: float, sample: bytes) -> None:
        """``octets`` were skipped in the last minute of the stream that begins with ``sample``."""
        self._bytes += octets
        if not self._bytes or now < self._next_s:
            return
        first = self._next_s == float("-inf")
        kind = "; among them NMEA sentences" if format_name(sample) == "NMEA" else ""
        log.emit(events.DAMAGED, bytes=self._bytes, period="minute" if first else "day", kind=kind)
        self._bytes, self._next_s = 0, now + _DAY_S


class Losses:
    """Called with each frame; has no timer of its own."""

    def __init__(
        self, receiver: _Receiver, current: OpenSession, now: float, damage: DamageLog
    ) -> None:
        self._damage = damage
        self._receiver, self._session, self._progress = receiver, current.session, current.progress
        self._minute_s = self._hour_s = now
        self._dropped, self._skipped = receiver.dropped, self._session.counts.skipped_bytes
        self._hour = self._totals

    def update(self, now: float) -> None:
        if now - self._minute_s >= _MINUTE_S:
            self._minute_s = now
            self._log(now)
        if now - self._hour_s >= _SUMMARY_S:
            self._log_summary(now)

    def _log(self, now: float) -> None:
        dropped, skipped = self._receiver.dropped, self._session.counts.skipped_bytes
        if dropped > self._dropped:
            log.emit(events.DROPPED, frames=dropped - self._dropped)
        if overrun := self._session.counts.overrun - self._progress.overrun:
            log.emit(events.OVERRUN, frames=overrun, where=self._progress.where)
            self._progress.overrun += overrun
        self._damage.add(skipped - self._skipped, now, self._session.sample)
        self._dropped, self._skipped = dropped, skipped

    def _log_summary(self, now: float) -> None:
        receiver, totals = self._receiver, self._totals
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

    @property
    def _totals(self) -> tuple[int, int, int]:
        """Frames, bytes, frames dropped on either side."""
        counts = self._session.counts
        dropped = counts.overrun + self._receiver.dropped
        return sum(counts.frames.values()), counts.bytes, dropped
