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

_ANSWER_WITHIN_S = 10.0

Answer = dict[str, Any] | AsyncGenerator[bytes, None]
"""One line, or bytes for as long as the client takes them: they follow a line that says "ok". An
empty piece is a look at whether the client is still there."""

Handler = Callable[[dict[str, Any]], Awaitable[Answer]]


@asynccontextmanager
async def serve(directory: Path, handle: Handler) -> AsyncIterator[None]:
    """Answer requests on the socket in ``directory`` while the context lasts.

    ``handle`` raises nothing. Raises OSError where the socket cannot be made.
    """
    clients: set[asyncio.Task[Any]] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            clients.add(task)
            task.add_done_callback(clients.discard)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                request, refusal = await _read(reader, writer)
            async with asyncio.timeout(_ANSWER_WITHIN_S + patience_s(request)):
                answer = refusal or await handle(request)
                line = answer if isinstance(answer, dict) else {"ok": True}
                writer.write(json.dumps(line).encode() + b"\n")
                await writer.drain()
            if not isinstance(answer, dict):
                await _stream(answer, reader, writer)
        except (TimeoutError, OSError):
            pass  # the client is gone, or slow: it gets no answer
        except asyncio.CancelledError:
            pass  # at the end; asyncio of Python 3.11 logs a client that was cancelled as an error
        finally:
            writer.close()

    path = directory / SOCKET_NAME
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(client, path, limit=LINE_LIMIT, start_serving=False)
    try:
        path.chmod(0o666)  # the peer's user is checked at each connection
        await server.start_serving()
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)
        await end(*clients)


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


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The request, and None; where it is not one, the answer to that."""
    try:
        line = await reader.readline()  # unread bytes would cost the client its answer
    except ValueError:  # longer than the limit
        line = b""
    peer: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, os.geteuid()):
        return {}, {"ok": False, "error": ONLY, "event": NotPermitted.code}
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
        request = None
    if not isinstance(request, dict):
        return {}, {"ok": False, "error": "a request is a JSON object"}
    return request, None
