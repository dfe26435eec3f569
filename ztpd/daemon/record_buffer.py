"""The records of one recording, until its reader takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime

from ztpd import __version__
from ztpd.model import Frame, FrameKind
from ztpd.sanitize import without_tiles
from ztpd.system.looptime import loop_time
from ztpd.wire import recording
from ztpd.wire.frames import Scanner
from ztpd.wire.recording import Record, RecordKind
from ztpd.wire.redaction import FrameRedaction
from ztpd.wire.ubx import MonVer

BUFFER_BYTES = 262_144
"""What waits for a reader: minutes of a UART, seconds of USB."""

_GATHER_S = 0.2  # records leave together
_LOOK_S = 1.0  # a reader that has gone is noticed so soon, also on a silent line
_QUIET_S = 0.5  # after such a pause the rest of a frame does not come
_PIECE_BYTES = 4096


class RecordBuffer:
    """The records that wait for one reader."""

    def __init__(self, *, with_position: bool) -> None:
        self._with_position = with_position
        self._began_s = loop_time()
        self._redaction = FrameRedaction(with_position=with_position)
        self._lines = {
            RecordKind.FROM_RECEIVER: _Line(self._redaction),
            RecordKind.TO_RECEIVER: _Line(self._redaction),
        }
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = self._lost_bytes = 0
        self._news = asyncio.Event()

    def header(self, version: MonVer) -> bytes:
        """The beginning of the file; ``version`` is of the receiver."""
        return recording.header(
            {
                "begun": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "version": __version__,
                "position": self._with_position,
                "receiver": version.encode().hex() if version.software else "",
            }
        )

    async def next(self) -> bytes:
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._news.wait()
            await asyncio.sleep(_GATHER_S)
        except TimeoutError:
            pass
        self._news.clear()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        return data

    def event(self, name: str, **fields: object) -> None:
        self._add(Record.event(self._age_s, name, **fields))

    def opened(self, where: str) -> None:
        self.event("session-opened", where=where if self._with_position else without_tiles(where))

    def frame(self, frame: Frame) -> None:
        self._add(Record(self._age_s, RecordKind.FROM_SERVICE, self._redaction.apply(frame)))

    def received(self, data: bytes) -> None:
        self._add_bytes(RecordKind.FROM_RECEIVER, data)

    def sent(self, data: bytes) -> None:
        self._add_bytes(RecordKind.TO_RECEIVER, data)

    def _add_bytes(self, kind: RecordKind, data: bytes) -> None:
        found = self._lines[kind].redacted(data, loop_time())
        for begin in range(0, len(found), _PIECE_BYTES):
            self._add(Record(self._age_s, kind, found[begin : begin + _PIECE_BYTES]))

    @property
    def _age_s(self) -> float:
        return loop_time() - self._began_s

    def _add(self, record: Record) -> None:
        self._news.set()
        if self._waiting_bytes + len(record.data) > BUFFER_BYTES:
            self._lost_bytes += len(record.data)
            return
        if self._lost_bytes:
            self._put(Record.event(self._age_s, "lost", bytes=self._lost_bytes))
            self._lost_bytes = 0
        self._put(record)

    def _put(self, record: Record) -> None:
        encoded = record.encode()
        self._waiting.append(encoded)
        self._waiting_bytes += len(encoded)


class _Line:
    """One direction of the port: its frames redacted, and zeros for all other bytes, which may be
    the remains of a key."""

    def __init__(self, redaction: FrameRedaction) -> None:
        self._redaction = redaction
        self._scanner = Scanner(*FrameKind)
        self._fed_s = 0.0

    def redacted(self, data: bytes, now_s: float) -> bytes:
        scanner, frames = self._scanner, []
        skipped = scanner.counts.skipped_bytes
        if scanner.pending and now_s - self._fed_s > _QUIET_S:
            frames = scanner.flush()
        self._fed_s = now_s
        frames += scanner.feed(data)
        skipped = scanner.counts.skipped_bytes - skipped
        return b"".join(map(self._redaction.apply, frames)) + bytes(skipped)
