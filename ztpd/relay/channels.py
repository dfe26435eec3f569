"""One channel to a correction service: its waits, and the meaning of its failures in a row."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ztpd import retry
from ztpd.errors import (
    ConnectionLost,
    GgaRequired,
    MqttWithdrawn,
    Retry,
    SessionClosed,
    SessionError,
    SessionEvicted,
    ZtpdError,
)
from ztpd.model import SourceEndpoint, fingerprint
from ztpd.relay import withdrawal

STABLE_S = 60.0
MAX_SHORT_SESSIONS = 3
FAST_S = 1.5

_WITHOUT_FIX = retry.Delay(300, 300, equal=True)


@dataclass
class Channel:
    """One transport of one service."""

    endpoint: SourceEndpoint
    backoff: retry.Backoff
    rng: random.Random
    due_s: float = 0.0
    error: ZtpdError | None = None
    short_sessions: int = 0
    last_corrections_s: float = float("-inf")  # the loop's time of the last frame
    failing_since_s: float | None = None  # no session could be opened since then
    hold_without_fix_until_s: float = 0.0  # not tried before this while the receiver has no fix

    @property
    def name(self) -> str:
        return f"{self.endpoint.kind} {self.endpoint.host}:{self.endpoint.port}"

    @property
    def mark(self) -> str:
        """Fingerprint of the endpoint. Saved waits apply only if it is unchanged."""
        endpoint = self.endpoint
        return fingerprint(*(getattr(endpoint, each.name) for each in fields(endpoint)))

    def ready_s(self, *, has_fix: bool) -> float:
        """The loop's time of the next try. A caster that needs a position waits for a fix."""
        return self.due_s if has_fix else max(self.due_s, self.hold_without_fix_until_s)

    @property
    def fast_retries_left(self) -> bool:
        """True while fast retries are left: wait for this channel instead of switching."""
        return self.backoff.fast_retries_left and self.error is not None

    def ended(
        self,
        error: ZtpdError,
        now: float,
        *,
        carried_s: float,
        opened: bool,
        others_last_s: Sequence[float],
    ) -> tuple[ZtpdError, float]:
        """Note the end of a session, or of the try to open one: its meaning and the wait in s.

        ``carried_s``: how long corrections came; ``others_last_s``: the loop's time at which each
        other channel last delivered any.
        """
        if carried_s >= STABLE_S:
            self.backoff.reset_fast()
            self.short_sessions = 0
        elif isinstance(error, (SessionClosed, ConnectionLost)) and opened:
            self.short_sessions += 1
            if self.short_sessions >= MAX_SHORT_SESSIONS:
                error = SessionEvicted(f"{error.detail}, {self.short_sessions} times in a row")
        if opened:
            self.failing_since_s = None
        elif self.failing_since_s is None:
            self.failing_since_s = now
        if self.failing_since_s is not None and withdrawal.has_ended(
            self.endpoint,
            error,
            now,
            failing_since_s=self.failing_since_s,
            last_corrections_s=self.last_corrections_s,
            others_last_s=others_last_s,
        ):
            error = MqttWithdrawn(str(error))
        wait_s = self.backoff.wait_s(error)
        self.error, self.due_s = error, now + wait_s
        waiting_for_fix = isinstance(error, GgaRequired)
        self.hold_without_fix_until_s = (
            now + _WITHOUT_FIX.sample(0, self.rng) if waiting_for_fix else 0.0
        )
        return error, wait_s

    @property
    def refuses(self) -> bool:
        """Whether the last try was refused, so that other credentials may help."""
        return isinstance(self.error, SessionError) and self.error.retry is Retry.REFUSED

    def retry_now(self) -> None:
        self.due_s = self.hold_without_fix_until_s = 0.0
