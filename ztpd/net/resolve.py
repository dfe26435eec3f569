"""The one way from a host name to addresses."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ztpd.errors import HostFiltered, NetworkError, NoRoute, ResolveFailed, ZtpHostNotAllowed
from ztpd.system.offload import offload
from ztpd.wire.hostnames import address, is_address

RESOLVE_S = 45.0
"""Above the resolver's own retries: by default 5 s for each of up to three name servers, twice
(resolv.conf(5), ``timeout`` and ``attempts``). It ends only a look-up that hangs."""

_PROC = Path("/proc/net")
_STREAM = (socket.AF_UNSPEC, socket.SOCK_STREAM)

Resolver = Callable[..., list[Any]]
"""Called as ``socket.getaddrinfo`` is, and may block."""


class Address(NamedTuple):
    """``place`` is the argument of ``socket.connect``."""

    family: socket.AddressFamily
    place: tuple[Any, ...]


async def resolve(
    host: str,
    port: int,
    *,
    public_only: bool = False,
    resolver: Resolver | None = None,
    proc: Path = _PROC,
) -> list[Address]:
    """The addresses of ``host``, families taking turns, beginning with the one that the resolver
    prefers (RFC 8305 section 4). The name is looked up each time.

    With ``public_only`` addresses of this machine and its link do not count. Raises
    :class:`ResolveFailed`, after ``RESOLVE_S`` where the resolver hangs; :class:`NoRoute` where no
    server of names can be reached; :class:`ZtpHostNotAllowed` where no address counts
    (:class:`HostFiltered` for 0.0.0.0).
    """
    try:
        addresses = await _ask(host, port, resolver)
    except ResolveFailed as error:
        raise await _explained(error, proc) from error.__cause__
    if not public_only:
        return addresses
    public = [each for each in addresses if not _is_here(each)]
    if not public:
        kind = HostFiltered if lead_nowhere(addresses) else ZtpHostNotAllowed
        raise kind(f"{host} is {addresses[0].place[0]}, on this machine or its link")
    return public


def lead_nowhere(addresses: Iterable[Address]) -> bool:
    """Whether all are 0.0.0.0 or ::, by which name servers hide a name."""
    return all(each.place[0] in ("0.0.0.0", "::") for each in addresses)


async def _explained(error: ResolveFailed, proc: Path) -> NetworkError:
    """``error``, or the missing route as its cause."""
    from ztpd.net import routes  # for a failure only

    cause = error.__cause__
    if not isinstance(cause, (socket.gaierror, TimeoutError)):
        return error
    known = await offload(routes.read, proc)
    if any(route.is_default for route in known) or not routes.are_known(proc):
        return error
    if known and cause.errno == socket.EAI_NONAME:  # a server of names has answered
        return error
    if known:
        return ResolveFailed(f"{error.detail}; there is no default route", advice=NoRoute.advice)
    return NoRoute("there is none at all")


def _is_here(found: Address) -> bool:
    ip = address(str(found.place[0]).partition("%")[0])
    here = ip and (ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast)
    return bool(here)


async def _ask(host: str, port: int, resolver: Resolver | None) -> list[Address]:
    if host == "localhost":  # RFC 6761 section 6.3: not a matter of the network
        places = [(socket.AF_INET6, ("::1", port, 0, 0)), (socket.AF_INET, ("127.0.0.1", port))]
        return [Address(*each) for each in places]
    resolver = resolver or socket.getaddrinfo
    try:
        if is_address(host):
            found = resolver(host, port, *_STREAM, 0, socket.AI_NUMERICHOST)
        else:
            found = await offload(resolver, host, port, *_STREAM, timeout_s=RESOLVE_S)
    except UnicodeError as error:  # an empty label, or one of more than 63 characters
        raise ResolveFailed(f"{host}: not a host name") from error
    except TimeoutError as error:
        raise ResolveFailed(f"{host}: no answer within {RESOLVE_S:g} s") from error
    except OSError as error:  # gaierror, and a process without descriptors
        raise ResolveFailed(f"{host}: {error.strerror or error}") from error
    families: dict[socket.AddressFamily, list[Address]] = {}
    for family, _, _, _, place in found:
        families.setdefault(family, []).append(Address(family, place))
    rounds = itertools.zip_longest(*families.values())
    in_turn = [found for each in rounds for found in each if found is not None]
    if not in_turn:
        raise ResolveFailed(f"{host}: no address")
    return in_turn
