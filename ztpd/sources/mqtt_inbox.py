"""The messages of one MQTT session, and the frames in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ztpd.model import Frame, FrameKind
from ztpd.sources.topics import Role, frame_kinds, role
from ztpd.wire.frames import Counts, Scanner

_MOST_STREAMS = 64  # a wildcard may match any number of topics

# The first bytes of a frame that may pass. Of UBX only keys and assistance: other messages could
# reconfigure the receiver.
_BEGINNING = {
    Role.KEY: b"\xb5\x62\x02\x36",
    Role.ASSIST: b"\xb5\x62\x13",
    Role.CORRECTIONS: b"",
    Role.OTHER: b"",
}


class _Stream(NamedTuple):
    """The messages of one topic."""

    role: Role
    scanner: Scanner


class Inbox:
    """Payloads in, whole frames out: scanned in slices, in a queue of at most ``queue_bytes``."""

    def __init__(self, queue_bytes: int, is_subscribed: Callable[[str], bool]) -> None:
        """``is_subscribed`` is true for a topic of a subscription."""
        self.counts = Counts()  # over all topics
        self._limit = queue_bytes
        self._is_subscribed = is_subscribed
        self._streams: dict[str, _Stream] = {}
        self._unscanned: deque[tuple[_Stream, memoryview]] = deque()  # payloads, or their rest
        self._queue: deque[Frame] = deque()
        self._queued_bytes = 0

    @property
    def has_frames(self) -> bool:
        return bool(self._queue)

    @property
    def has_payloads(self) -> bool:
        """Whether some are not scanned yet."""
        return bool(self._unscanned)

    def add(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a message."""
        stream = self._stream(topic)
        if stream is None or (retained and stream.role is Role.CORRECTIONS):
            return  # retained corrections are of any age
        self._unscanned.append((stream, memoryview(payload)))

    def scan(self, limit: int) -> int:
        """Scan at most ``limit`` bytes of the first payload; how many they were, at least one."""
        stream, payload = self._unscanned.popleft()
        some, rest = payload[:limit], payload[limit:]
        frames = stream.scanner.feed(bytes(some))
        if rest:
            self._unscanned.appendleft((stream, rest))
        elif stream.role is not Role.CORRECTIONS:
            frames += stream.scanner.flush()  # a message there is whole, or worthless
        for frame in frames:
            if frame.data.startswith(_BEGINNING[stream.role]):
                self._put(frame)
        return max(1, len(some))

    def take(self) -> Frame:
        """The oldest frame. Raises IndexError where there is none."""
        frame = self._queue.popleft()
        self._queued_bytes -= len(frame.data)
        return frame

    def _put(self, frame: Frame) -> None:
        """Queue ``frame``; the oldest corrections give way, keys and assistance last."""
        self._queue.append(frame)
        self._queued_bytes += len(frame.data)
        while self._queued_bytes > self._limit:
            corrections = (each for each in self._queue if each.kind is not FrameKind.UBX)
            oldest = next(corrections, self._queue[0])
            self._queue.remove(oldest)
            self._queued_bytes -= len(oldest.data)
            self.counts.overrun += 1

    def _stream(self, topic: str) -> _Stream | None:
        """The stream of ``topic``; None for one that was not subscribed to."""
        if topic not in self._streams:
            kinds = frame_kinds(topic)
            full = len(self._streams) >= _MOST_STREAMS
            if full or not kinds or not self._is_subscribed(topic):
                return None
            self._streams[topic] = _Stream(role(topic), Scanner(*kinds, counts=self.counts))
        return self._streams[topic]
