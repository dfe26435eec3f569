"""Hands out what goes over the wires, as long as somebody records it.

Nobody else pays for it: without a recording each read of the port and each frame of a session costs
one look at an empty list. A reader that is too slow loses records, never the daemon's time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ztpd.errors import ZtpdError
from ztpd.model import Frame, SourceEndpoint
from ztpd.receiver import Receiver
from ztpd.sources import Session, SessionOpener
from ztpd.wire.frames import Counts

if TYPE_CHECKING:
    from ztpd.daemon.record_buffer import RecordBuffer

MOST_RECORDINGS = 2


class Recorder:
    """Taps of the port and of the sessions; :meth:`record` is for the reader."""

    def __init__(self) -> None:
        self._recordings: list[RecordBuffer] = []
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
        from ztpd.daemon.record_buffer import RecordBuffer  # nobody else needs its parsers

        found = RecordBuffer(with_position=with_position)
        self._recordings.append(found)
        try:
            yield found.header(receiver.version)
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
            each.received(data)

    def sent(self, data: bytes) -> None:
        for each in self._recordings:
            each.sent(data)

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
