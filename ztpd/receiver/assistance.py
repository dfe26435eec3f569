"""Assistance for a receiver that has just started: orbits that came, kept and given again."""

from __future__ import annotations

from collections import deque

from ztpd.model import Frame

KEPT_S = 7200.0
_MOST_FRAMES = 512  # a fetch has some 100 to 200, each of up to 80 bytes
_STARTING_S = 600.0  # a receiver that has no position for longer is not helped by orbits


class AssistanceStore:
    """UBX-MGA messages in memory, each once. Times are the loop's, in seconds."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, Frame]] = deque(maxlen=_MOST_FRAMES)
        self._started_s: float | None = None

    def add(self, frame: Frame, now_s: float) -> None:
        kept = [each for each in self._kept if each[1].data != frame.data]
        self._kept = deque([*kept, (now_s, frame)], maxlen=_MOST_FRAMES)

    def started(self, now_s: float) -> list[Frame]:
        """The receiver has started: the messages to give it again."""
        self._started_s = now_s
        return self._recent(now_s)

    def wanted(self, now_s: float) -> bool:
        """Whether a receiver without a position would be helped by messages that are not here."""
        started_s = self._started_s
        if started_s is None or now_s - started_s > _STARTING_S:
            return False
        return not self._recent(now_s)

    def _recent(self, now_s: float) -> list[Frame]:
        while self._kept and now_s - self._kept[0][0] > KEPT_S:
            self._kept.popleft()
        return [frame for _, frame in self._kept]
