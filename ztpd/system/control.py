"""The daemon's control socket: one JSON line each way, root and the daemon's own user only."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ztpd.errors import NotRunning

SOCKET_NAME = "control.sock"
_LINE_LIMIT = 65_536
_ANSWER_WITHIN_S = 10.0

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def serve(directory: Path, handle: Handler) -> AsyncIterator[None]:
    """Answer requests on the socket in ``directory`` while the context lasts."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                answer = await _answer(reader, writer, handle)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # a client that went away or speaks nonsense has nobody to be told
        finally:
            writer.close()

    path = directory / SOCKET_NAME
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(client, path, limit=_LINE_LIMIT)
    path.chmod(0o666)  # the peer's user is checked at each connection
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
) -> dict[str, Any]:
    peer: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, os.geteuid()):
        return {"ok": False, "error": "only root and the daemon's user may ask this"}
    request = json.loads(await reader.readline())
    if not isinstance(request, dict):
        return {"ok": False, "error": "a request is a JSON object"}
    return await handle(request)


def ask(directory: Path, request: dict[str, Any], *, timeout_s: float = 10.0) -> dict[str, Any]:
    """The daemon's answer; blocks. Raises :class:`NotRunning` where there is no daemon."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(str(directory / SOCKET_NAME))
            client.sendall(json.dumps(request).encode() + b"\n")
            line = b""
            while not line.endswith(b"\n") and (more := client.recv(_LINE_LIMIT)):
                line += more
        answer = json.loads(line)
    except (OSError, ValueError) as error:
        raise NotRunning(str(directory / SOCKET_NAME)) from error
    return answer if isinstance(answer, dict) else {"ok": False, "error": "no answer"}
