"""The program inside a namespace of :mod:`tests.support.namespace`; prints its result as JSON."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway
from tests.support.services import corrections, reason, state
from tests.support.until import until
from ztpd.check.network import Endpoint
from ztpd.errors import ZtpdError
from ztpd.model import MqttEndpoint, NtripEndpoint, Secret, Topic
from ztpd.net.dial import dial
from ztpd.net.resolve import resolve
from ztpd.provisioning import http
from ztpd.sim.authority import Authority, server_context
from ztpd.sim.caster import Caster
from ztpd.sim.ztp_service import ZtpService
from ztpd.sources.mqtt import MqttSession
from ztpd.sources.ntrip import NtripSession

NAME = "service.test"
DEAD_NAMESERVER, NAMESERVER, SLOW_NAMESERVER = "127.0.0.52", "127.0.0.53", "127.0.0.54"
SLOW_S = 4.8  # glibc asks again after 5 s


class Nameserver(asyncio.DatagramProtocol):
    """Answers A with 127.0.0.1 and other types with nothing (RFC 1035 section 4.1)."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        end = data.index(b"\0", 12) + 5
        question, (kind,) = data[12:end], struct.unpack(">H", data[end - 4 : end - 2])
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + bytes((127, 0, 0, 1))
        found = answer if kind == 1 else b""
        head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, bool(found), 0, 0)
        send = self._transport.sendto
        asyncio.get_running_loop().call_later(self._delay_s, send, head + question + found, sender)


async def _nameservers() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Nameserver, local_addr=(NAMESERVER, 53))
    await loop.create_datagram_endpoint(
        lambda: Nameserver(SLOW_S), local_addr=(SLOW_NAMESERVER, 53)
    )
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(DEAD_NAMESERVER, 53))


async def slow_lookup(_: Path) -> Any:
    """How long a look-up takes whose first name server is dead."""
    await _nameservers()
    began_s = asyncio.get_running_loop().time()
    addresses = await resolve(NAME, 443)
    took_s = asyncio.get_running_loop().time() - began_s
    return {"addresses": [each.place[0] for each in addresses], "took_s": took_s}


async def slow_clients(directory: Path) -> Any:
    """What every client reports of a port that refuses, after a slow look-up."""
    await _nameservers()
    began_s = asyncio.get_running_loop().time()
    told = await _reports_of_all(1, directory, Authority())
    return {"told": told, "took_s": asyncio.get_running_loop().time() - began_s}


async def slow_names(directory: Path) -> Any:
    """A whole gateway, from power-on to corrections, whose first name server is dead."""
    await _nameservers()
    return await _gateway(directory, "streaming", allowed_hosts=[NAME])


async def names_of_this_machine(directory: Path) -> Any:
    """A whole gateway that is sent to a caster whose public name leads to this machine."""
    return await _gateway(directory, "blocked")


async def _gateway(directory: Path, end: str, allowed_hosts: Sequence[str] = ()) -> Any:
    """A whole gateway, from power-on until its state is ``end``."""
    gateway = Gateway(directory)
    tls = gateway.authority.server_context(NAME)
    now = asyncio.get_running_loop().time
    async with (
        Caster({"NEAR-RTCM": corrections}, tls=tls) as caster,
        ZtpService(tls=tls, caster_host=NAME, caster_ports=(2101, caster.port)) as service,
        gateway.receiver(speed=5.0),
    ):
        gateway.configure(
            ztp={
                "url": f"https://{NAME}:{service.port}",
                "ca_file": gateway.ca_file,
                "token_file": gateway.token_file,
                "splay_s": 0,
                "allowed_hosts": list(allowed_hosts),
            },
            identity={"source": "fixed", "hardware_id": "gateway-1"},
            ntrip={"ca_file": gateway.ca_file},
        )
        began_s = now()
        reasons: set[str] = set()

        def ended() -> bool:
            reasons.add(reason(gateway))
            return state(gateway) == end

        async with gateway.running():
            await until(ended, within_s=45)
            took_s = now() - began_s
    return {
        "took_s": took_s,
        "calls": len(service.calls),
        "reasons": sorted(reasons),
        "sessions": caster.connections,
    }


async def _told(attempt: Callable[[], Awaitable[object]]) -> str:
    try:
        await attempt()
    except ZtpdError as error:
        return f"{error.code}: {error}"
    return "no error"


async def _reports_of_all(port: int, directory: Path, authority: Authority) -> dict[str, str]:
    """The errors of every client for one port of the service."""
    ca_file = str(authority.write(directory / "ca.pem"))

    async def mqtt() -> None:
        endpoint = MqttEndpoint(NAME, port, "x", (Topic("/pp/ip/eu"),), ca_file=ca_file)
        async with MqttSession(endpoint):
            pass

    async def ntrip() -> None:
        endpoint = NtripEndpoint(NAME, port, "NEAR", "me", Secret("x"), ca_file=ca_file)
        async with NtripSession(endpoint, position=lambda: None):
            pass

    async def check() -> None:
        there = Endpoint(NAME, port, tls=True, ca_file=ca_file)
        await there.dns()
        await there.tcp()
        await there.tls_handshake()

    async def ztp() -> None:
        await http.post(f"https://{NAME}:{port}/", b"{}", timeout_s=5, ca_file=ca_file)

    clients = (ztp, mqtt, ntrip, check)
    told = await asyncio.gather(*map(_told, clients))
    return {client.__name__: text for client, text in zip(clients, told, strict=True)}


async def failures(directory: Path) -> Any:
    """The failure reported for a name one of whose addresses has no route, for each fault of the
    other."""
    authority = Authority()
    contexts = {
        "untrusted": Authority().server_context(NAME),
        "wrong name": authority.server_context("other.test"),
        "expired": server_context(authority.server(NAME, not_after=datetime(2020, 1, 1))),
    }
    logged: dict[str, dict[str, str]] = {}
    for fault, context in contexts.items():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            logged[fault] = await _reports_of_all(port, directory, authority)
    logged["refused"] = await _reports_of_all(1, directory, authority)
    return logged


async def families(_: Path) -> Any:
    """The failure reported for an IPv4 address and for a name."""

    async def connect(host: str) -> None:
        try:
            (await dial(await resolve(host, 443))).sock.close()
        except OSError as error:
            raise AssertionError(f"untyped: {error!r}") from error

    return {host: await _told(lambda host=host: connect(host)) for host in ("192.0.2.1", NAME)}  # type: ignore[misc]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(globals()[sys.argv[1]](Path(sys.argv[2])))))
