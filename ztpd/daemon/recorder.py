"""Hands out what goes over the wires, as long as somebody records it.

Nobody else pays for it: without a recording each read of the port and each frame of a session costs
one look at an empty list. A reader that is too slow loses records, never the daemon's time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

from ztpd import __version__
from ztpd.errors import ZtpdError
from ztpd.model import Frame, FrameKind, SourceEndpoint
from ztpd.receiver import Receiver
from ztpd.sanitize import without_tiles
from ztpd.sources import Session
from ztpd.wire import recording
from ztpd.wire.frames import Counts, Scanner
from ztpd.wire.recording import Record, RecordKind
from ztpd.wire.redaction import FrameRedaction

MOST_RECORDINGS = 2
BUFFER_BYTES = 262_144
"""What waits for a reader: minutes of a UART, seconds of USB."""

_GATHER_S = 0.2  # records leave together
_LOOK_S = 1.0  # a reader that has gone is noticed so soon, also on a silent line
_QUIET_S = 0.5  # after such a pause the rest of a frame does not come
_PIECE_BYTES = 4096

SessionOpener = Callable[[SourceEndpoint], AbstractAsyncContextManager[Session]]


class Recorder:
    """Taps of the port and of the sessions; :meth:`record` is for the reader."""

    def __init__(self) -> None:
        self._recordings: list[_Recording] = []
        self._sessions: list[_TappedSession] = []
        self._open = False  # the receiver's port
        self._cause = ""  # why the last session could not be opened

    @property
    def is_recording(self) -> bool:
        return bool(self._recordings)

    @property
    def is_free(self) -> bool:
        """Whether another recording may begin."""
        return len(self._recordings) < MOST_RECORDINGS

    async def record(
        self, receiver: Receiver, *, with_position: bool
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a recording that begins now, empty ones where nothing came for a second. It
        ends when the iterator is closed."""
        found = _Recording(with_position=with_position)
        self._recordings.append(found)
        try:
            version = receiver.version
            yield recording.header(
                {
                    "begun": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "version": __version__,
                    "position": with_position,
                    "receiver": version.encode().hex() if version.software else "",
                }
            )
            if self._open:
                found.event("port-opened")
            for session in self._sessions:
                found.opened(session.where)
            if self._cause and not self._sessions:
                found.event("session-failed", cause=self._cause)
            while True:
                yield await found.next()
        finally:
            self._recordings.remove(found)

    def received(self, data: bytes) -> None:
        for each in self._recordings:
            each.bytes_came(RecordKind.FROM_RECEIVER, data)

    def sent(self, data: bytes) -> None:
        for each in self._recordings:
            each.bytes_came(RecordKind.TO_RECEIVER, data)

    def port_opened(self) -> None:
        self._open = True
        self._event("port-opened")

    def port_lost(self) -> None:
        self._open = False
        self._event("port-lost")

    def tapped(self, open_session: SessionOpener) -> SessionOpener:
        """``open_session``, noted from its beginning to its end."""

        @asynccontextmanager
        async def opened(endpoint: SourceEndpoint) -> AsyncIterator[Session]:
            entered = False
            try:
                async with open_session(endpoint) as session:
                    entered, self._cause = True, ""
                    tapped = _TappedSession(session, self._frame)
                    self._sessions.append(tapped)
                    for each in self._recordings:
                        each.opened(session.where)
                    try:
                        yield tapped
                    finally:
                        self._sessions.remove(tapped)
                        self._event("session-ended")
            except ZtpdError as error:
                if not entered:
                    self._cause = error.code
                    self._event("session-failed", cause=error.code)
                raise

        return opened

    def _event(self, name: str, **fields: object) -> None:
        for each in self._recordings:
            each.event(name, **fields)

    def _frame(self, session: _TappedSession, frame: Frame) -> None:
        """Of two sessions the older one counts: the other one is only being probed."""
        if self._recordings and session is self._sessions[0]:
            for each in self._recordings:
                each.frame(frame)


class _TappedSession:
    """A session whose frames are noted."""

    def __init__(self, session: Session, on_frame: Callable[[_TappedSession, Frame], None]) -> None:
        self._session = session
        self._on_frame = on_frame
        self._frames: AsyncIterator[Frame]

    @property
    def where(self) -> str:
        return self._session.where

    @property
    def counts(self) -> Counts:
        return self._session.counts

    @property
    def ip_bytes(self) -> int | None:
        return self._session.ip_bytes

    @property
    def sample(self) -> bytes:
        return self._session.sample

    def __aiter__(self) -> AsyncIterator[Frame]:
        self._frames = aiter(self._session)
        return self

    async def __anext__(self) -> Frame:
        frame = await anext(self._frames)
        self._on_frame(self, frame)
        return frame


class _Recording:
    """The records that wait for one reader."""

    def __init__(self, *, with_position: bool) -> None:
        self._with_position = with_position
        self._began_s = _now()
        self._redaction = FrameRedaction(with_position=with_position)
        self._lines = {
            RecordKind.FROM_RECEIVER: _Line(self._redaction),
            RecordKind.TO_RECEIVER: _Line(self._redaction),
        }
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = self._lost_bytes = 0
        self._news = asyncio.Event()

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

    def bytes_came(self, kind: RecordKind, data: bytes) -> None:
        found = self._lines[kind].redacted(data, _now())
        for begin in range(0, len(found), _PIECE_BYTES):
            self._add(Record(self._age_s, kind, found[begin : begin + _PIECE_BYTES]))

    @property
    def _age_s(self) -> float:
        return _now() - self._began_s

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


def _now() -> float:
    return asyncio.get_running_loop().time()
