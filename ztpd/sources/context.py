"""The data that sessions and gateway exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ztpd.model import Fix, SourceEndpoint
from ztpd.sources import Session, open_session
from ztpd.sources.casters import CasterVersions, GgaPolicy

_FRESH_CREDENTIALS_S = 600.0
_POSITION_S = 5.0


class _Positioned(Protocol):
    @property
    def fix(self) -> Fix | None: ...
    @property
    def fix_age_s(self) -> float | None: ...


class SessionContext:
    """Opens sessions with the receiver's position and the age of the credentials."""

    def __init__(self, receiver: Callable[[], _Positioned]) -> None:
        """``receiver`` returns the one in use at present."""
        self._receiver = receiver
        self._gga = GgaPolicy()  # one for all sessions: a reconnection keeps the position
        self._versions = CasterVersions()
        self._obtained_s = float("-inf")

    def credentials_obtained(self) -> None:
        """New credentials came just now: the service may still have to activate them."""
        self._obtained_s = asyncio.get_running_loop().time()

    def open(self, endpoint: SourceEndpoint) -> AbstractAsyncContextManager[Session]:
        age_s = asyncio.get_running_loop().time() - self._obtained_s
        return open_session(
            endpoint,
            position=self.position,
            gga=self._gga,
            versions=self._versions,
            fresh_credentials=age_s < _FRESH_CREDENTIALS_S and not endpoint.backup,
        )

    def position(self) -> Fix | None:
        """The receiver's position now; None if it is older than 5 s."""
        receiver = self._receiver()
        age_s = receiver.fix_age_s
        return receiver.fix if age_s is not None and age_s <= _POSITION_S else None


def sends_keys(kind: str) -> bool:
    """Whether another session of this ``kind`` brings the decryption keys: a broker sends them at
    every subscription, a caster never."""
    return kind == "mqtt"
