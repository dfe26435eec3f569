"""Counts of sessions, bytes and calls since the daemon started, and the metrics file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ztpd import metrics
from ztpd.errors import Retry, ZtpdError
from ztpd.model import SourceEndpoint, StoredCredentials
from ztpd.sources import Session, SessionOpener
from ztpd.system.files import write_atomic
from ztpd.system.looptime import loop_time

_TRANSPORTS = ("ntrip", "mqtt")
_OUTCOMES = ("success", *(each.value for each in (Retry.REFUSED, Retry.SERVER, Retry.LOCAL)))
_CLOCK_STEP_S = 2.0  # of the wall clock: less is its drift


class _Open:
    """A session that is open, and how much of it has been counted."""

    def __init__(self, session: Session, transport: str, counted_s: float) -> None:
        self.session = session
        self.transport = transport
        self.counted_s = counted_s  # loop time
        self.bytes = 0
        self.frames: Counter[str] = Counter()
        self.overrun = 0


class Counters:
    """A counter begins at zero, so that its first increase shows."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._began_s: float | None = None  # loop time
        self._started_unix_s = 0.0
        self._open: list[_Open] = []
        self._sessions = Counter(dict.fromkeys(_TRANSPORTS, 0))
        self._session_s = dict.fromkeys(_TRANSPORTS, 0.0)
        self._bytes = Counter(dict.fromkeys(_TRANSPORTS, 0))
        self._frames: Counter[str] = Counter()
        self._overrun = 0
        self._calls = Counter(dict.fromkeys(_OUTCOMES, 0))

    def counted(self, open_session: SessionOpener) -> SessionOpener:
        """``open_session``, with its sessions counted."""

        @asynccontextmanager
        async def opened(endpoint: SourceEndpoint) -> AsyncIterator[Session]:
            async with open_session(endpoint) as session:
                entry = _Open(session, endpoint.kind, loop_time())
                self._sessions[endpoint.kind] += 1
                self._open.append(entry)
                try:
                    yield session
                finally:
                    self._open.remove(entry)
                    self._count(entry)

        return opened

    def on_call(self, error: ZtpdError | None) -> None:
        """A call to the provisioning service ended, with ``error`` unless it gave credentials."""
        self._calls[error.retry.value if error else "success"] += 1

    def totals(self, fix_s: dict[str, float], stored: StoredCredentials | None) -> metrics.Totals:
        for entry in self._open:
            self._count(entry)
        return metrics.Totals(
            started_unix_s=self._started(),
            expires_unix_s=stored.expires_unix_s if stored else None,
            fix_s=fix_s,
            sessions=self._sessions,
            session_s=self._session_s,
            bytes=self._bytes,
            frames=self._frames,
            overrun=self._overrun,
            calls=self._calls,
        )

    def _count(self, entry: _Open) -> None:
        """Add what ``entry`` has brought since it was last counted."""
        counts, now = entry.session.counts, loop_time()
        self._session_s[entry.transport] += now - entry.counted_s
        self._bytes[entry.transport] += counts.bytes - entry.bytes
        for kind, count in counts.frames.items():
            self._frames[kind] += count - entry.frames[kind]
        self._overrun += counts.overrun - entry.overrun
        entry.counted_s, entry.bytes, entry.overrun = now, counts.bytes, counts.overrun
        entry.frames = Counter(counts.frames)

    def _started(self) -> float:
        """The start by the wall clock as it is now: at the start it may have shown 1970."""
        if self._began_s is None:
            self._began_s = loop_time()
        started = round(self._wall_clock() - (loop_time() - self._began_s))
        if abs(started - self._started_unix_s) >= _CLOCK_STEP_S:
            self._started_unix_s = started
        return self._started_unix_s


def write(directory: Path, text: str) -> None:
    """Publish ``text``; a full runtime directory costs the metrics, not the daemon."""
    with suppress(OSError):
        write_atomic(directory / metrics.FILE, text.encode(), mode=0o644, durable=False)
