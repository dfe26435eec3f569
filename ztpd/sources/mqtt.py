"""One session with an MQTT broker: connected, subscribed, and whole frames out of it.

paho-mqtt speaks MQTT 3.1.1; the event loop owns the socket and calls paho when there is
something to read or to write, and four times per keep-alive interval for the pings. There is no
thread, and paho's own reconnecting is not used: a session ends once, with a typed error.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from ztpd import events, log
from ztpd.errors import (
    ClosedEarly,
    ConnectTimeout,
    NoTransport,
    SessionClosed,
    SessionError,
    SessionProtocol,
    StreamCorrupt,
    SubscriptionRefused,
    ZtpdError,
)
from ztpd.model import Frame, FrameKind, MqttEndpoint
from ztpd.net.dial import avoid, dial, on_trial
from ztpd.net.resolve import Address, resolve
from ztpd.net.tcpinfo import ip_bytes
from ztpd.net.tls import client_context, handshake
from ztpd.sources import mqtt_codes
from ztpd.sources.mqtt_client import Client, topic_matches_sub
from ztpd.sources.mqtt_inbox import Inbox
from ztpd.sources.mqtt_socket import UnwantedPacket, WatchedSocket, WatchedTlsSocket
from ztpd.sources.topics import Role, qos, role
from ztpd.system.offload import offload
from ztpd.wire.frames import Counts
from ztpd.wire.hostnames import is_loopback

QUEUE_BYTES = 1 << 16

_TOPICS_PER_SUBSCRIBE = 8  # AWS IoT Core quotas: subscriptions per SUBSCRIBE request
_PACKETS_PER_TURN = 64  # then the event loop's other work has its turn
_BYTES_PER_TURN = 8192
_HTTPS_PORT = 443
_OWN_TOPICS = "Check [mqtt] topics, and with the broker's operator that this log-in may read them."
_MQTT_WITH_CERTIFICATE = "x-amzn-mqtt-ca"  # AWS IoT Core, "Device communication protocols"


class MqttSession:
    """An asynchronous context manager around the session, and an iterator over its frames.

    Entering connects and subscribes, or raises a typed error within ``timeout_s``. Iterating
    gives SPARTN, RTCM 3 and UBX frames until the session ends, which raises. Frames that the
    reader is too slow for are dropped, oldest first; keys and assistance last.
    """

    def __init__(self, endpoint: MqttEndpoint, *, timeout_s: float = 15.0) -> None:
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self.where = f"mqtt://{host}:{endpoint.port}"
        self.sample = b""
        self.refused: tuple[str, ...] = ()  # topics that the broker refused
        self._endpoint = endpoint
        self._paths = [topic.path for topic in endpoint.topics]
        self._timeout_s = timeout_s
        self._stage = "connecting"  # for the message of a failure
        self._on_trial: Address | None = None  # until corrections have come
        self._client: Client | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rest: asyncio.Handle | None = None
        self._accepted = False
        self._unanswered: dict[int, list[str]] = {}  # SUBSCRIBE packets by their identifier
        self._inbox = Inbox(QUEUE_BYTES, self._is_subscribed)
        self._failure: ZtpdError | None = None
        self._news = asyncio.Event()

    @property
    def counts(self) -> Counts:
        return self._inbox.counts

    @property
    def ip_bytes(self) -> int | None:
        return ip_bytes(self._client.given) if self._client else None

    async def __aenter__(self) -> Self:
        if not self._paths:
            raise SubscriptionRefused("there is no topic to subscribe to")
        if not self._endpoint.tls and not is_loopback(self._endpoint.host):
            raise NoTransport(f"{self.where} is not this machine, and would be without TLS")
        endpoint, context = self._endpoint, None
        addresses = await resolve(endpoint.host, endpoint.port, public_only=endpoint.public_only)
        if endpoint.tls:
            pair = endpoint.certificate, endpoint.private_key
            context = await offload(client_context, endpoint.ca_file, *pair, endpoint.authority)
            context.sslsocket_class = WatchedTlsSocket
            if endpoint.port == _HTTPS_PORT:
                context.set_alpn_protocols([_MQTT_WITH_CERTIFICATE])
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    await self._open(addresses, context)
                except ClosedEarly:
                    if not self._accepted or not self._leave_out_optional():
                        raise
                    await self._open(addresses, context)
        except BaseException as error:
            self._release()
            if isinstance(error, TimeoutError):
                raise ConnectTimeout(f"{self.where}, {self._stage}") from error
            if isinstance(error, OSError):
                raise self._network_error(error) from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._fail(SessionClosed(f"{self.where}, by this side"))
        if self._on_trial:
            avoid(self._on_trial)
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_write()
        self._release()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        await self._until(lambda: self._inbox.has_frames)
        frame = self._inbox.take()
        if frame.kind is not FrameKind.UBX:
            self._on_trial = None
        return frame

    async def _open(self, addresses: Sequence[Address], context: ssl.SSLContext | None) -> None:
        """Connect, log in, subscribe."""
        connected, self._on_trial = await dial(addresses)
        with on_trial(self._on_trial):
            if context:
                self._stage = "in the TLS handshake"
                sock: Any = await handshake(context, connected, self._endpoint.host)
            else:
                sock = WatchedSocket(fileno=connected.detach())
            await self._log_in(sock)

    def _leave_out_optional(self) -> bool:
        """Prepare a second try with the topics that corrections need; False if there is none to
        leave out. AWS IoT Core closes the connection for one topic that its policy does not allow.
        """
        needed = [path for path in self._paths if role(path) in (Role.CORRECTIONS, Role.KEY)]
        left_out = tuple(path for path in self._paths if path not in needed)
        if not needed or not left_out:
            return False
        self._release()
        self._paths, self.refused = needed, left_out
        self._failure, self._accepted, self._unanswered = None, False, {}
        return True

    async def _log_in(self, sock: WatchedSocket) -> None:
        self._stage = "waiting for CONNACK"
        client = self._start(sock)
        await self._until(lambda: self._accepted)
        self._stage = "waiting for SUBACK"
        self._subscribe(client)
        await self._until(lambda: not self._unanswered)
        self._stage = ""
        if set(self._paths) <= set(self.refused):
            advice = _OWN_TOPICS if self._endpoint.own_account else ""
            raise SubscriptionRefused(f"{self.where}: {', '.join(self.refused)}", advice=advice)
        if self.refused:
            log.emit(events.TOPICS_REFUSED, where=self.where, topics=", ".join(self.refused))

    def _start(self, sock: WatchedSocket) -> Client:
        """Hand ``sock`` to paho, and paho to the event loop."""
        endpoint = self._endpoint
        loop = asyncio.get_running_loop()
        self._client = client = Client(sock, endpoint.client_id)
        if endpoint.username:
            client.username_pw_set(endpoint.username, endpoint.password.reveal() or None)
        client.on_connack = self._on_connack
        client.on_subscribe = self._on_subscribe
        client.on_payload = self._inbox.add
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = _unwatch
        client.on_socket_register_write = self._on_wants_write
        client.on_socket_unregister_write = self._on_wants_no_write
        client.connect(endpoint.host, endpoint.port, keepalive=endpoint.keepalive_s)
        if client.socket() is not sock:
            raise SessionError("paho-mqtt opened its own socket: this version is not supported")
        loop.add_reader(sock.fileno(), self._read)
        self._tick()
        return client

    def _subscribe(self, client: Client) -> None:
        for at in range(0, len(self._paths), _TOPICS_PER_SUBSCRIBE):
            some = self._paths[at : at + _TOPICS_PER_SUBSCRIBE]
            try:
                _, number = client.subscribe([(path, qos(path)) for path in some])
            except ValueError as error:
                raise SubscriptionRefused(f"{', '.join(some)}: {error}") from error
            if number is not None:  # else the connection is gone, and this session with it
                self._unanswered[number] = some

    # All below, as far as _network_error, runs in the event loop's callbacks.

    def _read(self) -> None:
        """Read packets and scan their payloads, as much as one turn of the loop allows."""
        if self._rest is not None:
            self._rest.cancel()  # the socket is readable too: once a turn is enough
            self._rest = None
        scannable = _BYTES_PER_TURN
        for _ in range(_PACKETS_PER_TURN):
            if self._inbox.has_payloads:
                scannable -= self._scan(scannable)
                if self._failure is not None:
                    self._release()
                    return
                if self._inbox.has_frames and not self._has_more:
                    return  # they go on first
            elif (
                self._client is None or not self._step(self._client.loop_read) or not self._has_more
            ):
                return
            if scannable <= 0:
                break
        self._rest = asyncio.get_running_loop().call_soon(self._read)

    @property
    def _has_more(self) -> bool:
        """Whether there is what makes no socket readable: the rest of a payload, or bytes that
        OpenSSL has decrypted."""
        is_decrypted = self._client is not None and self._client.given.pending() > 0
        return self._inbox.has_payloads or is_decrypted

    def _write(self) -> None:
        if self._client is not None:
            self._step(self._client.loop_write)

    def _tick(self) -> None:
        if self._client is not None and self._step(self._client.loop_misc):
            interval_s = self._endpoint.keepalive_s / 4
            self._timer = asyncio.get_running_loop().call_later(interval_s, self._tick)

    def _step(self, step: Callable[[], object]) -> bool:
        """Let paho do one step; whether the session lives on."""
        try:
            step()
        except (ValueError, LookupError, struct.error) as error:  # paho 1.6, on malformed packets
            self._fail(SessionProtocol(f"{self.where}: {error}"))
        if self._failure is not None:
            self._release()
        return self._failure is None

    def _on_wants_write(self, _client: Any, _userdata: Any, sock: Any) -> None:
        asyncio.get_running_loop().add_writer(sock.fileno(), self._write)

    def _on_wants_no_write(self, _client: Any, _userdata: Any, sock: Any) -> None:
        asyncio.get_running_loop().remove_writer(sock.fileno())

    def _on_connack(self, code: int) -> None:
        if self._accepted:
            self._fail(SessionProtocol(f"{self.where}: a second CONNACK"))
        elif code == 0:
            self._accepted = True
            self._news.set()
        else:
            client_id = log.quoted(self._endpoint.client_id, 64)
            self._fail(mqtt_codes.refusal(code, self.where, client_id))

    def _on_subscribe(self, *given: Any) -> None:
        """Of paho: client, user data, identifier, codes; 2.x adds properties."""
        paths = self._unanswered.get(given[2])
        if paths is None:
            return
        codes = [mqtt_codes.number(code) for code in given[3]]
        if len(codes) != len(paths):
            self._fail(SessionProtocol(f"{self.where}: SUBACK of a wrong length"))
            return
        del self._unanswered[given[2]]
        self.refused += tuple(path for path, code in zip(paths, codes, strict=True) if code & 0x80)
        self._news.set()

    def _is_subscribed(self, topic: str) -> bool:
        return any(topic_matches_sub(each, topic) for each in self._paths)

    def _scan(self, limit: int) -> int:
        scanned = self._inbox.scan(limit)
        if self._inbox.has_frames:
            self._news.set()
        if self.counts.corrupt:
            self._fail(StreamCorrupt(f"{self.where}: {self.counts.bad_checks} wrong checks"))
        return scanned

    def _on_disconnect(self, *given: Any) -> None:
        """Of paho: client, user data, code; 2.x: client, user data, flags, code, properties."""
        code = mqtt_codes.number(given[3] if len(given) > 3 else given[2])
        cause = given[0].given.failure
        if isinstance(cause, UnwantedPacket):
            self._fail(SessionProtocol(f"{self.where}: {cause}"))
        elif cause is not None:
            self._fail(self._network_error(cause))
        else:
            early = f"{self.where}, {self._stage}"
            closed = ClosedEarly(early) if self._stage else SessionClosed(self.where)
            self._fail(mqtt_codes.broken(code, self.where) or closed)

    def _network_error(self, error: OSError) -> ZtpdError:
        shown = self._endpoint.certificate
        return mqtt_codes.lost(error, self.where, self._stage, shown, accepted=self._accepted)

    def _fail(self, error: ZtpdError) -> None:
        """The session is over because of ``error``; the first one counts."""
        if self._failure is None:
            self._failure = error
        self._news.set()

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait until ``reached``. Raises the session's failure."""
        while not reached():
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()

    def _release(self) -> None:
        """Close the socket and stop its watchers and timers, in any state."""
        for handle in (self._timer, self._rest):
            if handle is not None:
                handle.cancel()
        client, self._client = self._client, None
        if client is None:
            return
        client.on_socket_close = client.on_socket_unregister_write = None
        if client.given.fileno() != -1:
            _unwatch(client, None, client.given)
            client.given.close()


def _unwatch(_client: Any, _userdata: Any, sock: Any) -> None:
    loop = asyncio.get_running_loop()
    loop.remove_reader(sock.fileno())
    loop.remove_writer(sock.fileno())
