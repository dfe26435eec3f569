"""A TCP connection to a host, by whichever of its addresses answers first."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any

from ztpd.link.offload import offload

_HEAD_START_S = 0.25  # RFC 8305 section 5, "Connection Attempt Delay"

_Address = tuple[socket.AddressFamily, Any]


async def dial(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket.

    The addresses are tried in the resolver's order, families taking turns, each with a head
    start on the next: an address family that is dead on this uplink costs a quarter of a second.
    Raises the OSError of the first address that failed when none works, and ``socket.gaierror``
    when there is none. Gives up only when cancelled.
    """
    waiting = await _resolve(host, port)
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
    raise failures[0]


async def _resolve(host: str, port: int) -> list[_Address]:
    try:
        found = await offload(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    except UnicodeError as error:  # an empty label, or one of more than 63 characters
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    families: dict[socket.AddressFamily, list[_Address]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append((family, address))
    rounds = itertools.zip_longest(*families.values())
    return [address for each in rounds for address in each if address is not None]


async def _connect(address: _Address) -> socket.socket:
    family, place = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock
