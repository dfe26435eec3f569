"""One HTTPS POST that cannot hang, grow without bound, or carry its body to another host.

aiohttp is imported inside the call, which the daemon makes in another process
(``post_process``): a gateway that is provisioned never pays for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ztpd import __version__
from ztpd.errors import (
    ConfigError,
    ConfigFileUnusable,
    ConnectionLost,
    ConnectTimeout,
    NetworkError,
    ZtpBadAnswer,
    ZtpdError,
    ZtpTooBig,
    ZtpTruncated,
)
from ztpd.net.dial import avoid, dial, on_trial
from ztpd.net.errormap import network_error
from ztpd.net.resolve import Address, resolve
from ztpd.net.tls import authority_reason, secure, verifying_context
from ztpd.provisioning.reply import Reply
from ztpd.system.offload import offload
from ztpd.wire.hostnames import is_loopback
from ztpd.wire.ztp import BODY_LIMIT

_HANDSHAKE_TIMEOUT_S = 10.0
_ANSWER_LIMIT = BODY_LIMIT + 65_536
"""Bytes of the whole answer: aiohttp bounds each header and trailer, and not their number."""

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": f"ztpd/{__version__}",
}

_STAGES = {
    "connect": "while connecting",
    "handshake": "in the TLS handshake",
    "response": "before the answer",
    "body": "in the middle of the answer",
}


@dataclass(slots=True)
class _Progress:
    """How far the exchange has come, a key of ``_STAGES``."""

    host: str
    port: int
    stage: str = "connect"
    received_bytes: int = 0  # above TLS

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"the provisioning service at {self.where}, {_STAGES[self.stage]}"

    def check_size(self, cause: Exception | None = None) -> None:
        """Raises :class:`ZtpTooBig` where the answer was cut off."""
        if self.received_bytes > _ANSWER_LIMIT:
            raise ZtpTooBig(f"cut off after {_ANSWER_LIMIT} bytes") from cause

    def failed(self, error: ZtpdError) -> ZtpdError:
        """``error``, marked with whether the service can have received the request."""
        error.delivered = self.stage in ("response", "body")
        return error


async def post(url: str, body: bytes, *, timeout_s: float, ca_file: str = "") -> Reply:
    """The answer to ``body``, JSON, sent to ``url``; within ``timeout_s`` of the look-up.

    TLS is verified against ``ca_file`` ("": the system's trust store) and is 1.2 or newer; plain
    HTTP is for loopback. Redirects are returned, not followed; proxies in the environment are not
    used. A body that is coded although none was asked for is not decoded: with status 200 that is
    a :class:`ZtpBadAnswer`, else the body is left out.

    Raises :class:`ConfigError`, a :class:`NetworkError`, :class:`ZtpTooBig` (a body of more than
    ``BODY_LIMIT`` bytes, or 64 KiB more in all), :class:`ZtpTruncated` and :class:`ZtpBadAnswer`
    (not HTTP). Importing aiohttp holds up the event loop, for a second on a slow board.
    """
    target = _target(url)
    context = await offload(_context, ca_file) if target.scheme == "https" else None
    progress = _Progress(target.hostname or "", target.port or (443 if context else 80))
    try:
        addresses = await resolve(progress.host, progress.port)
        async with asyncio.timeout(timeout_s):
            reply = await _exchange(url, body, addresses, context, progress)
    except TimeoutError as error:
        raise progress.failed(ConnectTimeout(str(progress))) from error
    except (NetworkError, ZtpTruncated, ZtpBadAnswer) as error:
        progress.check_size(error)
        progress.failed(error)
        raise
    progress.check_size()  # an answer may end with the connection: cut off, it seems whole
    return reply


def _target(url: str) -> SplitResult:
    try:
        target = urlsplit(url)
        wrong = not target.hostname or target.port == 0 or target.username is not None
    except ValueError:
        wrong = True
    if wrong or target.scheme not in ("https", "http"):
        raise ConfigError("[ztp] url is not https://HOST/ with nothing but a port beside it")
    if target.scheme == "http" and not is_loopback(target.hostname or ""):
        raise ConfigError(f"[ztp] url: plain http to {target.hostname}; use https")
    return target


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return verifying_context(ca_file)
    except (FileNotFoundError, IsADirectoryError, PermissionError, ssl.SSLError) as error:
        reason = authority_reason(error, ca_file)
        raise ConfigFileUnusable(f"[ztp] ca_file = {ca_file}: {reason}") from error
    except OSError as error:
        raise NetworkError(f"{ca_file}: {error.strerror}") from error


async def _exchange(
    url: str,
    body: bytes,
    addresses: Sequence[Address],
    context: ssl.SSLContext | None,
    progress: _Progress,
) -> Reply:
    import aiohttp

    class Connector(aiohttp.BaseConnector):
        """Gives out one connection, whose address was chosen by our rules: those of aiohttp
        differ from release to release."""

        connection: Any = None

        def make_protocol(self) -> Any:
            self.connection = _bounded(self._factory(), progress)
            return self.connection

        async def _create_connection(self, *_: Any) -> Any:
            return self.connection

    connector = Connector(force_close=True)
    with _typed(progress):
        connected, address = await dial(addresses)
        with on_trial(address):
            transport = await _opened(connected, connector.make_protocol, context, progress)
            try:
                async with (
                    aiohttp.ClientSession(
                        connector=connector,
                        headers=_HEADERS,
                        cookie_jar=aiohttp.DummyCookieJar(),
                        timeout=aiohttp.ClientTimeout(total=None),
                        auto_decompress=False,
                        trust_env=False,
                    ) as session,
                    session.post(url, data=body, allow_redirects=False) as response,
                ):
                    progress.stage = "body"
                    if response.status >= 500:
                        avoid(address)
                    try:
                        return await _read(response, progress)
                    finally:
                        transport.abort()  # discard the rest
            finally:
                transport.abort()


@contextlib.contextmanager
def _typed(progress: _Progress) -> Iterator[None]:
    """Turns the exceptions of aiohttp and of the socket into ours; a time-out stays one."""
    import aiohttp

    try:
        yield
    except TimeoutError:
        raise
    except aiohttp.ClientPayloadError as error:
        raise ZtpTruncated(str(progress)) from error
    except aiohttp.ServerDisconnectedError as error:
        raise ConnectionLost(str(progress)) from error
    except aiohttp.ClientResponseError as error:
        raise ZtpBadAnswer(f"{progress}: not an HTTP answer") from error
    except OSError as error:
        raise _failed(error, progress) from error
    except aiohttp.ClientError as error:
        raise NetworkError(f"{progress}: {type(error).__name__}") from error


async def _opened(
    connected: socket.socket,
    make_protocol: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext | None,
    progress: _Progress,
) -> asyncio.Transport:
    """The transport of ``connected``, below TLS where there is a ``context``."""
    if context is None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(make_protocol, sock=connected)
    else:
        progress.stage = "handshake"
        async with asyncio.timeout(_HANDSHAKE_TIMEOUT_S):
            transport = (await secure(connected, make_protocol, context, progress.host)).raw
    progress.stage = "response"
    return transport


def _failed(error: OSError, progress: _Progress) -> NetworkError:
    if error.errno and not isinstance(error, ssl.SSLError):
        error = OSError(error.errno, error.strerror)  # the kind that belongs to the number
    return network_error(error, str(progress))


def _bounded(protocol: Any, progress: _Progress) -> Any:
    """``protocol`` of aiohttp, which gets at most ``_ANSWER_LIMIT`` bytes; then the connection is
    cut. Headers, trailers and chunk extensions without end would else fill the memory."""
    receive = protocol.data_received

    def data_received(data: bytes) -> None:
        progress.received_bytes += len(data)
        if progress.received_bytes <= _ANSWER_LIMIT:
            receive(data)
        elif protocol.transport:
            protocol.transport.abort()

    protocol.data_received = data_received
    return protocol


async def _read(response: Any, progress: _Progress) -> Reply:
    headers = {name.lower(): text for name, text in response.headers.items()}
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        if response.status == 200:
            raise ZtpBadAnswer(f"{progress.where}: a coded body, which was not asked for")
        return Reply(response.status, headers, b"")
    if (response.content_length or 0) > BODY_LIMIT:
        raise ZtpTooBig(f"{response.content_length} bytes announced")
    body = bytearray()
    async for block in response.content.iter_any():
        body += block
        if len(body) > BODY_LIMIT:
            raise ZtpTooBig(f"cut off after {BODY_LIMIT} bytes")
    return Reply(response.status, headers, bytes(body))
