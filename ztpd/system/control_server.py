"""The daemon's control socket: answers root and the daemon's own user."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from ztpd.errors import NotPermitted
from ztpd.system.control import LINE_LIMIT, ONLY, SOCKET_NAME, patience_s
from ztpd.system.tasks import end

_BACKLOG = 100
_ANSWER_WITHIN_S = 10.0
_STRANGER_WITHIN_S = 1.0
_MOST_STRANGERS = 8  # at once; each user of the machine may connect, and takes a descriptor
_FULL_S = 0.01  # before the next connection, where one more stranger was sent away
_NO_ROOM_S = 1.0  # the same where there is no descriptor left

Answer = dict[str, Any] | AsyncGenerator[bytes, None]
"""One line, or bytes for as long as the client takes them: they follow a line that says "ok". An
empty piece is a look at whether the client is still there."""

Handler = Callable[[dict[str, Any]], Awaitable[Answer]]


@asynccontextmanager
async def serve(directory: Path, handle: Handler) -> AsyncIterator[None]:
    """Answer requests on the socket in ``directory`` while the context lasts.

    ``handle`` raises nothing. Raises OSError where the socket cannot be made.
    """
    path = directory / SOCKET_NAME
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(path))
        clients: set[asyncio.Task[None]] = set()
        accepting: asyncio.Task[None] | None = None
        try:
            path.chmod(0o666)  # the peer's user is checked at each connection
            listener.listen(_BACKLOG)
            accepting = asyncio.create_task(_accept(listener, handle, clients))
            yield
        finally:
            path.unlink(missing_ok=True)
            if accepting:
                await end(accepting)  # then the task of each client has begun, and closes it
            await end(*clients)


async def _accept(
    listener: socket.socket, handle: Handler, clients: set[asyncio.Task[None]]
) -> None:
    """Accept one connection in each turn of the loop. asyncio's own server takes them all, and
    would leave no descriptor for a session with the correction service."""
    loop, strangers = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    while True:
        await asyncio.sleep(0)
        try:
            connection, _ = await loop.sock_accept(listener)
            is_known = _peer(connection) in (0, os.geteuid())
        except OSError:
            await asyncio.sleep(_NO_ROOM_S)
            continue
        if not is_known and len(strangers) >= _MOST_STRANGERS:
            connection.close()
            await asyncio.sleep(_FULL_S)
            continue
        served = _serve(connection, handle) if is_known else _refuse(connection)
        task = asyncio.create_task(served)
        for kept in (clients,) if is_known else (clients, strangers):
            kept.add(task)
            task.add_done_callback(kept.discard)


def _peer(connection: socket.socket) -> int:
    """The user at the other end."""
    _, uid, _ = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    return int(uid)


async def _refuse(connection: socket.socket) -> None:
    async def refusal(_: dict[str, Any]) -> Answer:
        return {"ok": False, "error": ONLY, "event": NotPermitted.code}

    await _serve(connection, refusal, within_s=_STRANGER_WITHIN_S)


async def _serve(
    connection: socket.socket, handle: Handler, *, within_s: float = _ANSWER_WITHIN_S
) -> None:
    """Read one request, within ``within_s``, and send its answer."""
    try:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LINE_LIMIT)
    except OSError:  # no memory; before the connection has a transport
        connection.close()
        return
    try:
        async with asyncio.timeout(within_s):
            request, refusal = await _read(reader)  # unread bytes would cost the client its answer
        async with asyncio.timeout(within_s + patience_s(request)):
            answer = refusal or await handle(request)
            line = answer if isinstance(answer, dict) else {"ok": True}
            writer.write(json.dumps(line).encode() + b"\n")
            await writer.drain()
        if not isinstance(answer, dict):
            await _stream(answer, reader, writer)
    except (TimeoutError, OSError):
        pass  # the client is gone, or slow: it gets no answer
    finally:
        writer.close()


async def _stream(
    pieces: AsyncGenerator[bytes, None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send ``pieces`` until the client hangs up. Raises TimeoutError for one that takes nothing,
    and OSError."""
    async with aclosing(pieces):
        async for piece in pieces:
            if reader.at_eof():
                return
            writer.write(piece)
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await writer.drain()


async def _read(reader: asyncio.StreamReader) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The request, and None; where it is not one, the answer to that."""
    try:
        line = await reader.readline()
    except ValueError:  # longer than the limit
        line = b""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
        request = None
    if not isinstance(request, dict):
        return {}, {"ok": False, "error": "a request is a JSON object"}
    return request, None
