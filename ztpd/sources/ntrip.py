"""One session with an NTRIP caster: from the connection to the frames, and the position back."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self

from ztpd import log
from ztpd.errors import (
    AccountRefused,
    CasterForbidden,
    ClientCertificateWanted,
    ConnectionLost,
    ConnectTimeout,
    GgaRequired,
    SessionClosed,
    SessionError,
    SessionNotActive,
    SessionRefused,
    StreamCorrupt,
    TlsMismatch,
    ZtpdError,
)
from ztpd.model import Fix, Frame, FrameKind, NtripEndpoint
from ztpd.net.dial import avoid, dial, on_trial
from ztpd.net.errormap import network_error
from ztpd.net.resolve import Address, resolve
from ztpd.net.streams import open_streams
from ztpd.net.tcpinfo import ip_bytes
from ztpd.net.tls import client_context
from ztpd.sources.casters import CLOSEST_S, CasterVersions, GgaPolicy, is_a_place
from ztpd.system.looptime import loop_time
from ztpd.system.offload import offload
from ztpd.wire.foreign import SAMPLE_BYTES, is_text
from ztpd.wire.frames import Counts, Scanner
from ztpd.wire.ntrip import Response, request
from ztpd.wire.ntrip_refusal import is_ban, wants_position
from ztpd.wire.ntrip_text import CasterText

_ANSWER_S = 10.0  # for the whole head of the answer
_GGA_WAIT_S = 10.0  # silence that a missing position explains; below the time of a stale stream
_LOOK_S = 1.0  # how often the position is read before the request
_READ_LOOK_S = 1.5  # the same while nothing comes; most streams send something every second
_NO_FIX_LOOK_S = 5.5  # the same without a fix; streams send something every 5 s
_QUIET_S = 3.0  # a stream this quiet will not complete the frame begun
_CLOSE_S = 1.0
_WAITING = "waiting for the answer"  # a stage of opening
_READ_BYTES = 4096  # then the event loop's other work has its turn

# OpenSSL's reasons for an answer that is not TLS at all; which one depends on its version.
_NOT_TLS = (
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "WRONG_VERSION_NUMBER",
)

# The same for a client that shows no certificate where one is wanted. The first comes with TLS 1.3,
# after the handshake; the others from servers with TLS 1.2, which know no alert of its own.
_CERTIFICATE_WANTED = (
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
)

_NO_COMMON_CIPHER = _CERTIFICATE_WANTED[-1]  # an alert of many meanings

_NO_VERSION_2 = (400, 501, 505)  # statuses by which a caster of NTRIP 1 refuses HTTP/1.1


class NtripSession:
    """Whole, checked frames of one mountpoint, until the session ends with a typed error.

        async with NtripSession(endpoint, position=lambda: receiver.fix) as session:
            async for frame in session: ...

    Entered when the caster has accepted; left when the connection is closed. There is no task:
    the position goes out and frames come in while the caller awaits the next frame, and between
    two such calls TCP holds the caster back. The caller judges whether the frames are fresh.
    """

    def __init__(
        self,
        endpoint: NtripEndpoint,
        *,
        position: Callable[[], Fix | None],
        timeout_s: float = 15.0,
        fresh_credentials: bool = False,
        gga: GgaPolicy | None = None,
        versions: CasterVersions | None = None,
        on_request: Callable[[], None] = lambda: None,
    ) -> None:
        """``fresh_credentials``: provisioned so recently that a 401 means "not active yet".
        ``on_request`` is called as a request is sent.

        ``gga`` and ``versions`` go on from one session to the next; without them the session
        begins with new ones.
        """
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        mountpoint = log.quoted(endpoint.mountpoint.removeprefix("/"), 64)
        self.where = f"ntrip://{host}:{endpoint.port}/{mountpoint}"
        self._endpoint = endpoint
        self._position = position
        self._timeout_s = timeout_s
        self._fresh = fresh_credentials
        self._gga = gga or GgaPolicy()
        self._versions = versions or CasterVersions()
        self._on_request = on_request
        self._sent = 0  # a position: 1 in the request, 2 on the stream
        self._response = Response(endpoint.mountpoint)
        self._scanner = Scanner(FrameKind.SPARTN, FrameKind.RTCM3, FrameKind.UBX)
        self._sample = b""
        self._frames: deque[Frame] = deque()
        self._failure: ZtpdError | None = None
        self._stage = "connecting"
        self._opened_s = self._heard_s = 0.0
        self._on_trial: Address | None = None  # until corrections have come
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    @property
    def _table(self) -> str:
        """The table of the configuration that the endpoint is from."""
        return "[[backup]]" if self._endpoint.backup else "[ntrip]"

    @property
    def sample(self) -> bytes:
        """The beginning of the stream, without secrets of the request."""
        return self._response.text.hide(self._sample)

    @property
    def counts(self) -> Counts:
        return self._scanner.counts

    @property
    def ip_bytes(self) -> int | None:
        return ip_bytes(self._writer.get_extra_info("socket")) if self._writer else None

    async def __aenter__(self) -> Self:
        """Raises :class:`NetworkError`, :class:`SessionError` or :class:`ConfigError`."""
        await self._wait_stable_fix()
        endpoint = self._endpoint
        addresses = await resolve(endpoint.host, endpoint.port, public_only=endpoint.public_only)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._open(addresses)
        except OSError as error:
            await self._close()
            raise self._lost(error) from error
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._on_trial:
            avoid(self._on_trial)
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while not self._frames:
            if self._failure is not None:
                raise self._failure
            await self._more()
        frame = self._frames.popleft()
        if frame.kind is not FrameKind.UBX:
            self._on_trial = None
        return frame

    async def _wait_stable_fix(self) -> None:
        """Let a fix become a stable one: some casters require the position in the request."""
        self._gga.update(fix := self._position(), loop_time())
        while fix and is_a_place(fix) and not self._gga.has_position(loop_time()):
            await asyncio.sleep(_LOOK_S)
            self._gga.update(fix := self._position(), loop_time())

    async def _open(self, addresses: Sequence[Address]) -> None:
        version, endpoint = self._versions.first(self._endpoint), self._endpoint
        sentence = self._gga.next_sentence(loop_time(), interval_s=CLOSEST_S, caster=self.where)
        try:
            await self._ask(version, sentence, addresses)
        except (OSError, ZtpdError) as error:
            now, refused = loop_time(), self._response.status > 0
            about = self._is_about_version(error)
            if not about or not self._versions.may_fall_back(endpoint, now, refused=refused):
                raise
            await self._close()
            try:
                await self._ask(version := "1", sentence, addresses)
            except (OSError, ZtpdError):
                status, failure = self._response.status, self._response.failure
                answered = not isinstance(failure, SessionClosed | None)
                if answered and status not in _NO_VERSION_2:
                    self._versions.accepted(endpoint, version)
                else:
                    self._versions.fell_back(endpoint, loop_time(), answered=answered)
                if answered:
                    raise
                raise error from None
        self._versions.accepted(endpoint, version)

    def _is_about_version(self, error: Exception) -> bool:
        """Whether a caster that knows NTRIP 1 only may have failed so."""
        if self._response.status:
            kinds = (CasterForbidden, SessionError)
            return self._response.status in _NO_VERSION_2 and type(error) in kinds
        return self._stage == _WAITING and isinstance(error, (ConnectionError, SessionClosed))

    async def _ask(
        self, version: Literal["1", "2"], sentence: bytes, addresses: Sequence[Address]
    ) -> None:
        """Connect, ask for the mountpoint, and wait until the caster accepts."""
        endpoint = self._endpoint
        asked = request(endpoint._replace(version=version), gga=sentence)
        context = await offload(client_context, endpoint.ca_file) if endpoint.tls else None
        self._response = Response(endpoint.mountpoint, CasterText(endpoint))
        self._response.table.meant = self._versions.table_meant(endpoint, loop_time())
        self._stage = "connecting"
        connected, self._on_trial = await dial(addresses)
        with on_trial(self._on_trial):
            self._stage = "in the TLS handshake" if context else _WAITING
            self._reader, self._writer = await open_streams(connected, context, endpoint.host)
            self._stage = _WAITING
            self._on_request()
            self._writer.write(asked)
            self._sent = 1 if sentence else 0
            await self._wait_for_answer()

    async def _wait_for_answer(self) -> None:
        answered = self._response
        try:
            async with asyncio.timeout(_ANSWER_S):
                while not (answered.accepted or answered.failure):
                    await asyncio.sleep(0)  # as in _more()
                    self._receive(await self._reader.read(_READ_BYTES))
        except TimeoutError:
            answered.eof()  # a refusal whose words do not end is a refusal
            if answered.failure is None or isinstance(answered.failure, SessionClosed):
                raise
        if not answered.accepted and answered.failure is not None:
            if answered.table.names:
                self._versions.table_means(self._endpoint, answered.failure, loop_time())
            raise self._meant_by(answered.failure) from answered.failure
        self._stage = ""
        self._opened_s = self._heard_s = loop_time()

    async def _more(self) -> None:
        """Wait for more bytes, for seconds; set the result of them, or of silence."""
        self._send_position(loop_time())
        if self._heard_s == self._opened_s:  # the last read of the answer may have been full
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(self._look_in_s) as limit:
                data = await self._reader.read(_READ_BYTES)
        except OSError as error:
            if limit.expired():
                self._silence(loop_time())
            else:
                self._failure = self._lost(error)
                self._failure.__cause__ = error
            return
        self._heard_s = loop_time()
        self._receive(data)
        if len(data) == _READ_BYTES:  # a caster that never pauses must not stop the daemon
            await asyncio.sleep(0)
        if (failure := self._response.failure) is not None:
            self._failure = self._meant_by(failure)
            self._failure.__cause__ = failure
        elif self.counts.corrupt:
            self._failure = StreamCorrupt(f"{self.where}: {self.counts.bad_checks} wrong checks")

    @property
    def _look_in_s(self) -> float:
        """Longer where neither half a frame nor a position is waited for: fewer wake-ups."""
        if self._scanner.pending or self._waits_for_gga or self._position() is not None:
            return _READ_LOOK_S
        return max(CLOSEST_S, min(_NO_FIX_LOOK_S, self._endpoint.gga_interval_s))

    def _silence(self, now: float) -> None:
        if self._scanner.pending and now - self._heard_s >= _QUIET_S:
            self._frames += self._scanner.flush()
        if self._waits_for_gga and now - self._opened_s >= _GGA_WAIT_S:
            self._failure = GgaRequired(f"{self.where}: nothing came in {_GGA_WAIT_S:g} s")

    def _receive(self, data: bytes) -> None:
        if data:
            payload = self._response.feed(data)
            self._sample += payload[: SAMPLE_BYTES - len(self._sample)]
            self._frames += self._scanner.feed(payload)
        else:
            self._response.eof()

    def _send_position(self, now: float) -> None:
        self._gga.update(self._position(), now)
        if self._writer is None or self._writer.transport.get_write_buffer_size():
            return  # the caster reads nothing at present; a later position is a better one
        interval_s = self._endpoint.gga_interval_s if self._sent == 2 else CLOSEST_S
        sentence = self._gga.next_sentence(now, interval_s=interval_s, caster=self.where)
        if sentence:
            self._writer.write(sentence)
            self._sent = 2

    @property
    def _waits_for_gga(self) -> bool:
        """The caster has sent nothing, and has no position of ours."""
        return not self._sent and not self.counts.bytes

    def _meant_by(self, failure: ZtpdError) -> ZtpdError:
        """The meaning of the caster's ``failure``: it depends on the position sent before."""
        detail = f"{self.where}: {failure.detail}".replace("[ntrip]", self._table)
        if isinstance(failure, SessionRefused):
            if self._fresh:
                return SessionNotActive(detail)
            if not self._sent:  # casters answer 401 to a missing position, too
                return GgaRequired(f"{detail}, before a position could be sent")
            if self._endpoint.own_account:
                return AccountRefused(detail)
        if type(failure) is CasterForbidden and not self._sent and wants_position(failure.detail):
            return GgaRequired(detail)
        position_lost = self._sent > 0 and not self._gga.has_position(loop_time())
        if isinstance(failure, SessionClosed) and (self._waits_for_gga or position_lost):
            return GgaRequired(detail)
        if isinstance(failure, SessionClosed) and not self.counts.frames and is_text(self._sample):
            words = self._response.text.said(self._sample, 200)
            kind = CasterForbidden if is_ban(words) else SessionClosed
            return kind(f'{detail}; it said "{words}"')
        return type(failure)(detail, retry_after_s=failure.retry_after_s)

    def _lost(self, error: OSError) -> ZtpdError:
        where = f"{self.where}, {self._stage}" if self._stage else self.where
        if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
            return TlsMismatch(f"{self.where}: no TLS there, and {self._table} tls is on")
        if isinstance(error, ssl.SSLError) and error.reason in _CERTIFICATE_WANTED:
            said = error.reason.lower().replace("_", " ")
            unsure = error.reason == _NO_COMMON_CIPHER
            return ClientCertificateWanted(
                f"{self.where}: {said}{', or it knows old ciphers only' if unsure else ''}"
            )
        found = network_error(error, where)
        if "TLS" in self._stage and isinstance(found, (ConnectionLost, ConnectTimeout)):
            return type(found)(f"{found.detail}; {self._table} tls is on, is that port plain?")
        return found

    async def _close(self) -> None:
        """Close politely, and at once where the caster does not take part."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if not writer.transport.is_closing():  # Python 3.11.2 breaks on closing TLS twice
            writer.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await writer.wait_closed()
        except (TimeoutError, asyncio.CancelledError) as reason:
            writer.transport.abort()
            if isinstance(reason, asyncio.CancelledError):
                raise
        except OSError:
            pass  # closed either way, and the cause is known
        await asyncio.sleep(0)  # the transport closes its socket on the loop's next turn
