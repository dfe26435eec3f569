"""One HTTPS POST that cannot hang, grow without bound, or carry its body to another host.

aiohttp is imported inside the call: a gateway that is provisioned never pays for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ztpd import __version__, events, log
from ztpd.errors import (
    ConfigError,
    ConnectionLost,
    ConnectTimeout,
    NetworkError,
    ResolveFailed,
    TlsUntrusted,
    ZtpBadAnswer,
    ZtpTooBig,
    ZtpTruncated,
)
from ztpd.net.errormap import network_error
from ztpd.system.offload import offload
from ztpd.wire.hostnames import is_address, is_loopback
from ztpd.wire.ztp import BODY_LIMIT

_LOOKUP_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_S = 10.0  # TCP and TLS

_PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Progress:
    """How far the exchange has come: "lookup", "connect", "handshake", "response" or "body"."""

    where: str
    stage: str = "lookup"

    def __str__(self) -> str:
        return f"{self.where}, stage {self.stage}"


async def post(url: str, body: bytes, *, timeout_s: float, ca_file: str = "") -> Reply:
    """The answer to ``body``, JSON, sent to ``url``; all of it within ``timeout_s``.

    TLS is verified against ``ca_file`` ("": the system's trust store) and is 1.2 or newer; plain
    HTTP is for loopback. Redirects are returned, not followed; proxies in the environment are not
    used. A body that is coded although none was asked for is not decoded: with status 200 that is
    a :class:`ZtpBadAnswer`, else the body is left out.

    Raises :class:`ConfigError`, a :class:`NetworkError`, :class:`ZtpTooBig` (more than
    ``BODY_LIMIT`` bytes), :class:`ZtpTruncated` and :class:`ZtpBadAnswer` (not HTTP). Importing
    aiohttp and reading the trust store hold up the event loop, for a second on a slow board.
    """
    target = _target(url)
    context = _context(ca_file) if target.scheme == "https" else None
    for variable in _PROXY_VARIABLES:
        if os.environ.get(variable):
            log.emit(events.PROXY_IGNORED, variable=variable)
    host, port = target.hostname or "", target.port or (443 if context else 80)
    progress = _Progress(f"{host}:{port}")
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await _lookup(host, port)
            return await _exchange(url, body, context, addresses, progress)
    except TimeoutError as error:
        raise ConnectTimeout(str(progress)) from error


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
        context = ssl.create_default_context(cafile=ca_file or None)
    except (FileNotFoundError, IsADirectoryError, PermissionError, ssl.SSLError) as error:
        reason = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"[ztp] ca_file = {ca_file}: {reason}") from error
    except OSError as error:
        raise NetworkError(f"{ca_file}: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not ca_file and not _has_trust(context):
        raise TlsUntrusted("this system trusts nobody; install the package ca-certificates")
    return context


def _has_trust(context: ssl.SSLContext) -> bool:
    """Certificates in a directory are read when they are needed, so they are not counted."""
    if context.cert_store_stats()["x509_ca"]:
        return True
    directory = ssl.get_default_verify_paths().capath
    try:
        return bool(directory) and any(Path(directory).iterdir())
    except OSError:
        return False


async def _lookup(host: str, port: int) -> list[dict[str, Any]]:
    """The addresses of ``host``, as aiohttp wants them; none if it is an address itself.

    IPv4 comes first. aiohttp before 3.10 tries one address after the other: IPv6 that is
    announced and leads nowhere, which is common on mobile networks, would cost it a whole
    time-out, whereas IPv4 that is not there fails at once.
    """
    if is_address(host):
        return []
    if host == "localhost":  # RFC 6761 section 6.3: not a matter of the network
        found = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
    else:
        found = sorted(await _ask_resolver(host, port), key=lambda entry: entry[0])
    return [
        {
            "hostname": host,
            "host": address,
            "port": port,
            "family": family,
            "proto": socket.IPPROTO_TCP,
            "flags": socket.AI_NUMERICHOST,
        }
        for family, address in found
    ]


async def _ask_resolver(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    hints = (socket.AF_UNSPEC, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    try:
        found = await offload(socket.getaddrinfo, host, port, *hints, timeout_s=_LOOKUP_TIMEOUT_S)
    except socket.gaierror as error:
        raise ResolveFailed(f"{host}: {error.strerror}") from error
    except UnicodeError as error:
        raise ResolveFailed(f"{host}: not a host name") from error
    except TimeoutError as error:
        raise ResolveFailed(f"{host}: no answer within {_LOOKUP_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise network_error(error, host) from error
    return [(family, str(place[0])) for family, _, _, _, place in found]


async def _exchange(
    url: str,
    body: bytes,
    context: ssl.SSLContext | None,
    addresses: list[dict[str, Any]],
    progress: _Progress,
) -> Reply:
    import aiohttp

    progress.stage = "connect"
    watch = aiohttp.TraceConfig()

    async def connected(*_: object) -> None:
        progress.stage = "response"

    watch.on_connection_create_end.append(connected)
    tls: dict[str, Any] = {}
    if context:
        context.sslobject_class = _watched(progress)
        tls["ssl"] = context
    connector = aiohttp.TCPConnector(
        resolver=_Known(addresses),  # type: ignore[arg-type]
        use_dns_cache=False,
        force_close=True,
        **tls,
    )
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": f"ztpd/{__version__}",
    }
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                headers=headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[watch],
            ) as session,
            session.post(url, data=body, allow_redirects=False) as response,
        ):
            progress.stage = "body"
            try:
                return await _read(response, progress)
            finally:
                if response.connection and response.connection.transport:
                    response.connection.transport.abort()  # hear no more of what is not wanted
    except TimeoutError:
        raise
    except aiohttp.ClientConnectorCertificateError as error:
        raise _failed(error.certificate_error, progress) from error
    except aiohttp.ClientConnectorError as error:
        raise _failed(error.os_error, progress) from error
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


def _failed(error: Exception, progress: _Progress) -> NetworkError:
    if isinstance(error, OSError):
        if error.errno and not isinstance(error, ssl.SSLError):
            error = OSError(error.errno, error.strerror)  # the kind that belongs to the number
        return network_error(error, str(progress))
    return NetworkError(f"{progress}: {type(error).__name__}")


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


class _Known:
    """A resolver that has looked the name up already (aiohttp's ``AbstractResolver``)."""

    def __init__(self, addresses: list[dict[str, Any]]) -> None:
        self._addresses = addresses

    async def resolve(self, *_: object, **__: object) -> list[dict[str, Any]]:
        return self._addresses

    async def close(self) -> None:
        """Nothing is held."""


def _watched(progress: _Progress) -> type[ssl.SSLObject]:
    """aiohttp reports TCP and TLS as one; which of them hangs or fails is worth knowing."""

    class Watched(ssl.SSLObject):
        def do_handshake(self) -> None:
            progress.stage = "handshake"
            super().do_handshake()

    return Watched
