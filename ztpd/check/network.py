"""Route, DNS, TCP and TLS towards one service; nothing is said to it."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ztpd.config import Config
from ztpd.errors import ConnectTimeout, NoRoute, ResolveFailed
from ztpd.model import Secret, SourceEndpoint
from ztpd.net import routes
from ztpd.net.dial import dial
from ztpd.net.errormap import network_error
from ztpd.net.tls import client_context, handshake
from ztpd.system.offload import offload
from ztpd.wire.hostnames import is_loopback

_LOOKUP_S = 5.0
_CONNECT_S = 10.0


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
    _connected: socket.socket | None = None

    @classmethod
    def ztp(cls, config: Config) -> Endpoint:
        url = urlsplit(config.ztp.url)
        tls = url.scheme == "https"
        port = url.port or (443 if tls else 80)
        return cls(url.hostname or "", port, tls, config.ztp.ca_file)

    @classmethod
    def source(cls, way: SourceEndpoint) -> Endpoint:
        if way.kind == "ntrip":
            return cls(way.host, way.port, way.tls, way.ca_file)
        pair = way.certificate, way.private_key
        return cls(way.host, way.port, way.tls, way.ca_file, *pair, way.authority)

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
        lookup = (socket.getaddrinfo, self.host, self.port, 0, socket.SOCK_STREAM)
        try:
            found = await offload(*lookup, timeout_s=_LOOKUP_S)
        except TimeoutError as error:
            raise ResolveFailed(f"{self.host}: no answer within {_LOOKUP_S:g} s") from error
        except UnicodeError as error:
            raise ResolveFailed(f"{self.host}: not a host name") from error
        except OSError as error:
            raise ResolveFailed(f"{self.host}: {error.strerror}") from error
        addresses = dict.fromkeys(str(place[0]) for *_, place in found)
        return f"{self.host} is {' and '.join(list(addresses)[:2])}"

    async def tcp(self) -> str:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(_CONNECT_S):
                self._connected = await dial(self.host, self.port)
        except TimeoutError as error:
            raise ConnectTimeout(self.where) from error
        except OSError as error:
            raise network_error(error, self.where) from error
        return f"{self.where} answers after {1000 * (time.monotonic() - began_s):.0f} ms"

    async def tls_handshake(self) -> str:
        """The TLS handshake, with the client's certificate where there is one."""
        connected, self._connected = self._connected, None
        if connected is None:
            return ""
        if not self.tls:
            connected.close()
            return "not used with this service"
        try:
            pair = self.certificate, self.private_key
            context = await offload(client_context, self.ca_file, *pair, self.authority)
            async with asyncio.timeout(_CONNECT_S):
                secured = await handshake(context, connected, self.host)
        except TimeoutError as error:
            raise ConnectTimeout(f"{self.where}, in the middle of TLS") from error
        except OSError as error:
            raise network_error(error, self.host) from error
        finally:
            connected.close()
        with secured:
            return f"{self.host} has shown a valid certificate ({secured.version()})"

    def close(self) -> None:
        if self._connected is not None:
            self._connected.close()
