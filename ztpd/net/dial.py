"""A TCP connection to a host, by whichever of its addresses answers first."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any

from ztpd.errors import ResolveFailed
from ztpd.system.offload import offload

RESOLVE_S = 5.0  # a resolver that has not answered by then has no uplink either

_HEAD_START_S = 0.25  # RFC 8305 section 5, "Connection Attempt Delay"

_Address = tuple[socket.AddressFamily, Any]
Resolver = Callable[..., list[Any]]
"""Called as ``socket.getaddrinfo`` is, and may block."""


async def dial(host: str, port: int, *, resolver: Resolver = socket.getaddrinfo) -> socket.socket:
    """A connected, non-blocking socket.

    The name is looked up anew each time. The addresses are tried in the resolver's order,
    families taking turns, each with a head start on the next: an address family that is dead on
    this uplink costs a quarter of a second. Raises :class:`ResolveFailed` when the name leads
    nowhere or the resolver does not answer within ``RESOLVE_S``, and the OSError of the first
    address that failed when none works. Else gives up only when cancelled.
    """
    waiting = await _resolve(resolver, host, port)
    running: set[asyncio.Task[socket.socket]] = set()
    failures: list[BaseException] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect(waiting.pop(0))))
            done, running = await asyncio.wait(
                running,
                timeout=_HEAD_START_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            won = [task.result() for task in done if task.exception() is None]
            failures += [error for task in done if (error := task.exception())]
            for late in won[1:]:
                late.close()
            if won:
                return won[0]
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for task in running:
            if not task.cancelled() and task.exception() is None:
                task.result().close()
    raise failures[0] if failures else ResolveFailed(f"{host}: no address")


async def _resolve(resolver: Resolver, host: str, port: int) -> list[_Address]:
    hints = (socket.AF_UNSPEC, socket.SOCK_STREAM)
    try:
        found = await offload(resolver, host, port, *hints, timeout_s=RESOLVE_S)
    except socket.gaierror as error:
        raise ResolveFailed(f"{host}: {error.strerror}") from error
    except UnicodeError as error:  # an empty label, or one of more than 63 characters
        raise ResolveFailed(f"{host}: not a host name") from error
    except TimeoutError as error:
        raise ResolveFailed(f"{host}: no answer within {RESOLVE_S:g} s") from error
    families: dict[socket.AddressFamily, list[_Address]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append((family, address))
    rounds = itertools.zip_longest(*families.values())
    return [address for each in rounds for address in each if address is not None]


async def _connect(address: _Address) -> socket.socket:
    family, (host, *rest) = address
    # A link-local address names its zone twice, in the text and by number. With the text asyncio
    # would resolve it once more, in a thread that stays.
    place = (host.partition("%")[0], *rest)
    # With its protocol named asyncio switches Nagle's delay off: a position is one small write.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock
