"""One session with a correction service, by MQTT or NTRIP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from ztpd.errors import BrokerAccountRefused, SessionRefused
from ztpd.model import Fix, Frame, SourceEndpoint
from ztpd.sources import topics
from ztpd.sources.casters import CasterVersions, GgaPolicy
from ztpd.sources.endpoints import backup_password
from ztpd.system.offload import offload
from ztpd.wire.frames import Counts


class Session(Protocol):
    """An open session: whole checked frames, until it ends with a typed error."""

    @property
    def where(self) -> str:
        """URL of the service, for messages."""
        ...

    @property
    def counts(self) -> Counts: ...
    @property
    def ip_bytes(self) -> int | None:
        """IP bytes of its connection so far, both ways; None where they are not known."""
        ...

    @property
    def sample(self) -> bytes:
        """The beginning of the stream; empty where it comes in messages."""
        ...

    def __aiter__(self) -> AsyncIterator[Frame]: ...


SessionOpener = Callable[[SourceEndpoint], AbstractAsyncContextManager[Session]]


@asynccontextmanager
async def open_session(
    endpoint: SourceEndpoint,
    *,
    position: Callable[[], Fix | None],
    gga: GgaPolicy | None = None,
    versions: CasterVersions | None = None,
    fresh_credentials: bool,
    on_request: Callable[[], None] = lambda: None,
) -> AsyncIterator[Session]:
    """A session that is ready to deliver. Raises a typed error.

    ``position`` gives the receiver's present fix; ``gga`` keeps the position, and ``versions`` the
    protocol of each caster, from one session to the next. With ``fresh_credentials`` a refusal may
    only mean that the service has not activated them yet. ``on_request`` is called as a caster is
    asked for the mountpoint. The code of a transport, and paho-mqtt, are imported at their first
    use.
    """
    if endpoint.kind == "mqtt":
        from ztpd.sources.mqtt import MqttSession

        if endpoint.topics_offered:
            chosen = topics.choose(endpoint.topics, region=endpoint.region, position=position())
            endpoint = endpoint._replace(topics=chosen)
        try:
            async with MqttSession(endpoint) as mqtt:
                yield mqtt
        except SessionRefused as error:
            if not endpoint.own_account:
                raise
            raise BrokerAccountRefused(error.detail, advice=error.own_advice) from error
    else:
        from ztpd.sources.ntrip import NtripSession

        if endpoint.password_file:
            password = await offload(backup_password, endpoint.password_file)
            endpoint = endpoint._replace(password=password)
        async with NtripSession(
            endpoint,
            position=position,
            gga=gga,
            versions=versions,
            fresh_credentials=fresh_credentials,
            on_request=on_request,
        ) as ntrip:
            yield ntrip
