"""The data that sessions and gateway exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

from ztpd import events, log
from ztpd.errors import SessionError
from ztpd.model import Fix, SourceEndpoint
from ztpd.sources import Session, open_session
from ztpd.sources.assistance import FetchRecord
from ztpd.sources.casters import CasterVersions, GgaPolicy
from ztpd.system.looptime import loop_time

_FRESH_CREDENTIALS_S = 600.0
_POSITION_S = 5.0
_REPORT_LOOK_S, _REPORT_LOOKS = 0.25, 12


class _Positioned(Protocol):
    @property
    def fix(self) -> Fix | None: ...
    @property
    def fix_age_s(self) -> float | None: ...
    @property
    def wants_assistance(self) -> bool: ...


class SessionContext:
    """Opens sessions with the receiver's position and the age of the credentials."""

    def __init__(self, receiver: Callable[[], _Positioned], fetches: FetchRecord) -> None:
        """``receiver`` returns the one in use at present."""
        self._fetches = fetches
        self._receiver = receiver
        self._gga = GgaPolicy()  # one for all sessions: a reconnection keeps the position
        self._versions = CasterVersions()
        self._obtained_s = float("-inf")

    def credentials_obtained(self) -> None:
        """New credentials came just now: the service may still have to activate them."""
        self._obtained_s = loop_time()

    @asynccontextmanager
    async def open(self, endpoint: SourceEndpoint) -> AsyncIterator[Session]:
        """A session that is ready to deliver. Raises a typed error."""
        async with AsyncExitStack() as stack:
            session = await self._assisted(endpoint, stack)
            if session is None:
                session = await stack.enter_async_context(self._session(endpoint))
            yield session

    def _session(
        self, endpoint: SourceEndpoint, on_request: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[Session]:
        age_s = loop_time() - self._obtained_s
        return open_session(
            endpoint,
            position=self.position,
            gga=self._gga,
            versions=self._versions,
            fresh_credentials=age_s < _FRESH_CREDENTIALS_S and not endpoint.backup,
            on_request=on_request,
        )

    async def _assisted(self, endpoint: SourceEndpoint, stack: AsyncExitStack) -> Session | None:
        """A session that begins with assistance, where the receiver wants it; it costs money each
        time, so it is asked for once. None where the service refuses it."""
        if endpoint.kind != "ntrip" or not endpoint.assistance:
            return None
        if not self._fetches.is_due or not await self._wanted():
            return None
        mountpoint = endpoint.assistance
        session = self._session(endpoint._replace(mountpoint=mountpoint), self._fetches.note)
        try:
            opened = await stack.enter_async_context(session)
        except SessionError as error:
            log.emit(events.ASSISTANCE_REFUSED, mountpoint=mountpoint, error=error)
            return None
        log.emit(events.ASSISTANCE_FETCHED, mountpoint=mountpoint, plain=endpoint.mountpoint)
        return opened

    async def _wanted(self) -> bool:
        """Whether the receiver wants assistance: its first report may show a position."""
        receiver = self._receiver()
        for _ in range(_REPORT_LOOKS):
            if not receiver.wants_assistance or self.has_report:
                break
            await asyncio.sleep(_REPORT_LOOK_S)
        return receiver.wants_assistance

    @property
    def has_report(self) -> bool:
        """Whether the receiver has reported in the last seconds, with a position or without."""
        age_s = self._receiver().fix_age_s
        return age_s is not None and age_s <= _POSITION_S

    def position(self) -> Fix | None:
        """The receiver's position now; None if it is older than 5 s."""
        return self._receiver().fix if self.has_report else None


def sends_keys(kind: str) -> bool:
    """Whether another session of this ``kind`` brings the decryption keys: a broker sends them at
    every subscription, a caster never."""
    return kind == "mqtt"
