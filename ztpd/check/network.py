"""Route, DNS, TCP and TLS towards one service; no request is sent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ztpd.config import Config
from ztpd.errors import (
    BrokerAccountRefused,
    ConnectTimeout,
    NetworkError,
    NoRoute,
    SessionRefused,
    TlsClock,
    TlsHostname,
    TlsUntrusted,
)
from ztpd.model import Secret, SourceEndpoint, utc
from ztpd.net import routes
from ztpd.net.dial import Dialled, dial, on_trial
from ztpd.net.errormap import network_error
from ztpd.net.resolve import Address, resolve
from ztpd.net.tls import client_context, handshake, presented
from ztpd.system.offload import offload
from ztpd.wire import x509
from ztpd.wire.hostnames import is_loopback

_HANDSHAKE_S = 10.0


@dataclass
class Endpoint:
    """A service, and the connection with it once there is one."""

    host: str
    port: int
    tls: bool
    ca_file: str = ""
    certificate: str = ""
    private_key: Secret = field(default_factory=lambda: Secret(""))
    authority: str = ""
    public_only: bool = False
    own_account: bool = False
    _addresses: Sequence[Address] = ()
    _connected: Dialled | None = None

    @classmethod
    def ztp(cls, config: Config) -> Endpoint:
        url = urlsplit(config.ztp.url)
        tls = url.scheme == "https"
        port = url.port or (443 if tls else 80)
        return cls(url.hostname or "", port, tls, config.ztp.ca_file)

    @classmethod
    def source(cls, given: SourceEndpoint) -> Endpoint:
        there = cls(given.host, given.port, given.tls, given.ca_file, public_only=given.public_only)
        if given.kind == "mqtt":
            there.certificate, there.private_key = given.certificate, given.private_key
            there.authority, there.own_account = given.authority, given.own_account
        return there

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"

    async def route(self) -> str:
        if is_loopback(self.host):
            return "not needed: the service is on this machine"
        known = await offload(routes.read)
        if not known:
            raise NoRoute("there is none at all")
        default = [route for route in known if route.is_default]
        return str(default[0]) if default else f"no default, only {known[0]}"

    async def dns(self) -> str:
        self._addresses = await resolve(self.host, self.port, public_only=self.public_only)
        found = dict.fromkeys(str(address.place[0]) for address in self._addresses)
        return f"{self.host} is {' and '.join(list(found)[:2])}"

    async def tcp(self) -> str:
        began_s = time.monotonic()
        try:
            self._connected = await dial(self._addresses)
        except OSError as error:
            raise network_error(error, self.where) from error
        return f"{self.where} answers after {1000 * (time.monotonic() - began_s):.0f} ms"

    async def tls_handshake(self) -> str:
        """The TLS handshake, with the client's certificate where there is one."""
        if self._connected is None:
            return ""
        (connected, address), self._connected = self._connected, None
        if not self.tls:
            connected.close()
            return "not used with this service"
        try:
            pair = self.certificate, self.private_key
            context = await offload(client_context, self.ca_file, *pair, self.authority)
            with on_trial(address):
                async with asyncio.timeout(_HANDSHAKE_S):
                    secured = await handshake(context, connected, self.host)
        except TimeoutError as error:
            raise ConnectTimeout(f"{self.where}, in the middle of TLS") from error
        except SessionRefused as error:
            if not self.own_account:
                raise
            raise BrokerAccountRefused(error.detail) from error
        except OSError as error:
            raise await self._described(network_error(error, self.host)) from error
        finally:
            connected.close()
        with secured:
            return f"{self.host} has shown a valid certificate ({secured.version()})"

    async def _described(self, error: NetworkError) -> NetworkError:
        """``error``, and the certificate that was shown, where it is about that."""
        if not isinstance(error, (TlsUntrusted, TlsHostname, TlsClock)):
            return error
        with contextlib.suppress(OSError, ValueError, OverflowError):
            async with asyncio.timeout(_HANDSHAKE_S):
                again = await dial(self._addresses)
                shown = x509.parse(await presented(again.sock, self.host))
            names = f'shown was a certificate for "{shown.subject}", issued by "{shown.issuer}"'
            dates = (
                f"valid from {utc(shown.not_before):%Y-%m-%d} to {utc(shown.not_after):%Y-%m-%d}"
            )
            return type(error)(f"{error.detail}; {names}, {dates}", advice=error.own_advice)
        return error

    def close(self) -> None:
        if self._connected is not None:
            self._connected.sock.close()
