"""Counts of the correction messages on their way to the receiver. Time is passed in."""

from __future__ import annotations

from collections import deque

SHARE_WINDOW_S = 300.0
"""The share of dropped messages is that of the last five minutes."""

_STEP_S = 10.0  # resolution of that window


class _Step:
    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.sent = 0
        self.dropped = 0


class DeliveryCounts:
    """Each message ends as one of these, once: sent, dropped, refused or undelivered."""

    def __init__(self) -> None:
        self.frames = 0  # that left the port
        self.bytes = 0
        self.dropped = 0  # came faster than the line takes them, or became too old on this side
        self.refused = 0  # no corrections, or not for this receiver
        self.undelivered = 0  # came while the receiver was not ready, or the port was lost
        self._recent: deque[_Step] = deque()

    def on_sent(self, size_bytes: int, now_s: float) -> None:
        self.frames += 1
        self.bytes += size_bytes
        self._step(now_s).sent += 1

    def on_dropped(self, now_s: float) -> None:
        self.dropped += 1
        self._step(now_s).dropped += 1

    def dropped_share(self, now_s: float) -> float | None:
        """Dropped of all that were to be sent in the last five minutes, 0 to 1; None where there
        were none."""
        self._expire(now_s)
        sent = sum(step.sent for step in self._recent)
        dropped = sum(step.dropped for step in self._recent)
        return dropped / (sent + dropped) if sent + dropped else None

    def _step(self, now_s: float) -> _Step:
        self._expire(now_s)
        if not self._recent or now_s - self._recent[-1].began_s >= _STEP_S:
            self._recent.append(_Step(now_s))
        return self._recent[-1]

    def _expire(self, now_s: float) -> None:
        while self._recent and now_s - self._recent[0].began_s > SHARE_WINDOW_S:
            self._recent.popleft()
