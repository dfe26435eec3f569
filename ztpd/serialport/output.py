"""Frames on their way to a serial line: the queue before the kernel, and the pace of the line.

No I/O; the loop's time is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

KERNEL_QUEUE_S = 0.5  # of line time the kernel may hold: its buffers and a USB adapter's are deep
BITS_PER_BYTE = 10  # 8N1: start, eight data, stop

OnDone = Callable[[bool], None]
"""Called once for a frame: True when the kernel has its last byte, False where it was dropped."""


class FrameQueue:
    """Whole frames, oldest first. A frame that has begun leaves whole; the others may be dropped:
    the oldest first, above ``limit_bytes`` or older than ``max_age_s``. The newest is kept.

    Frames without ``on_done``, ztpd's own questions, pass the others: behind what waits for a full
    line their answers would come too late.
    """

    def __init__(self, limit_bytes: int, max_age_s: float) -> None:
        self.queued_bytes = 0  # with the rest of the frame begun
        self.one_by_one = True  # so came those of the last turn of the event loop
        self._came = 0  # in this turn
        self._limit_bytes = limit_bytes
        self._max_age_s = max_age_s
        self._waiting: deque[tuple[float, bytes, OnDone]] = deque()
        self._own = 0  # of them, the first ones: without on_done
        self._rest = memoryview(b"")  # of the frame begun
        self._on_done: OnDone = _ignore  # of that frame

    def put(self, data: bytes, now_s: float, on_done: OnDone | None = None) -> None:
        self._came += 1
        if on_done is None:
            self._waiting.insert(self._own, (now_s, data, _ignore))
            self._own += 1
        else:
            self._waiting.append((now_s, data, on_done))
        self.queued_bytes += len(data)
        while self.queued_bytes > self._limit_bytes and len(self._waiting) > 1:
            others = len(self._waiting) - self._own - (on_done is not None)
            self._drop(self._own if others else 0)

    def end_turn(self) -> None:
        self.one_by_one, self._came = self._came <= 1, 0

    def next(self, now_s: float, limit_bytes: int | None = None) -> list[memoryview]:
        """The rest of the frame begun, else the next frame, which then has begun; and the frames
        behind it, as far as ``limit_bytes`` go. Empty where nothing waits."""
        if not self._rest:
            while self._waiting and now_s - self._waiting[0][0] > self._max_age_s:
                self._drop(0)
            if not self._waiting:
                return []
            self._begin_next()
        parts = [self._rest[:limit_bytes]]
        size = len(self._rest)
        for put_s, data, _ in self._waiting:
            size += len(data)
            if (limit_bytes is not None and size > limit_bytes) or now_s - put_s > self._max_age_s:
                break
            parts.append(memoryview(data))
        return parts

    def sent(self, size_bytes: int) -> None:
        """So many bytes of :meth:`next` are with the kernel."""
        self.queued_bytes -= size_bytes
        done = []
        while size_bytes >= len(self._rest):
            size_bytes -= len(self._rest)
            self._rest = memoryview(b"")
            done.append(self._on_done)
            if not size_bytes:
                break
            self._begin_next()
        self._rest = self._rest[size_bytes:]
        for on_done in done:
            on_done(True)

    def _begin_next(self) -> None:
        _, data, self._on_done = self._waiting.popleft()
        self._own = max(0, self._own - 1)
        self._rest = memoryview(data)

    def drop_waiting(self) -> None:
        """Drop the frames that have not begun."""
        while self._waiting:
            self._drop(0)

    def lost(self) -> None:
        """The port is lost, and all frames with it; they do not count as dropped."""
        if self._rest:
            self._on_done(False)
        for _, _, on_done in self._waiting:
            on_done(False)
        self._waiting.clear()

    def _drop(self, place: int) -> None:
        _, data, on_done = self._waiting[place]
        del self._waiting[place]
        self._own -= place < self._own
        self.queued_bytes -= len(data)
        on_done(False)


class Pace:
    """Bounds the bytes in the kernel to ``KERNEL_QUEUE_S`` of line time: bytes there cannot be
    dropped when they become stale."""

    def __init__(self, baudrate: int, now_s: float) -> None:
        self.bytes_per_s = baudrate / BITS_PER_BYTE
        self._allowed = self.bytes_per_s * KERNEL_QUEUE_S
        self._allowed_at_s = now_s

    def allowance(self, now_s: float) -> int:
        """How many bytes may go to the kernel now."""
        gained = (now_s - self._allowed_at_s) * self.bytes_per_s
        self._allowed = min(self.bytes_per_s * KERNEL_QUEUE_S, self._allowed + gained)
        self._allowed_at_s = now_s
        return int(self._allowed)

    def sent(self, size_bytes: int) -> None:
        self._allowed -= size_bytes


def _ignore(_: bool) -> None:
    """Does nothing at the end of a frame."""
