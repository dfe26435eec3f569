"""The daemon's control socket: one JSON line each way, root and the daemon's own user only."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from ztpd.errors import DaemonSilent, NotPermitted, NotRunning
from ztpd.system.tasks import end

SOCKET_NAME = "control.sock"
_LINE_LIMIT = 65_536
_ANSWER_WITHIN_S = 10.0
_ANSWER_LIMIT = 1 << 20
_ONLY = "only root and the daemon's user may ask this"


class Verb(StrEnum):
    """The requests that the daemon answers: the value of ``do``."""

    RETRY = "retry"  # end the present wait
    PROVISION = "provision"  # get credentials; with ``force`` also in place of those there are
    IMPORTED = "imported"  # load the credentials that were imported
    TIME = "time"  # UTC by the receiver
    RECEIVER = "receiver"  # its settings, read from it now
    STATUS = "status"


Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


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
                answer = await _answer(reader, writer, handle)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError):
            pass  # the client is gone, or slow: it gets no answer
        finally:
            writer.close()

    path = directory / SOCKET_NAME
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(client, path, limit=_LINE_LIMIT, start_serving=False)
    try:
        path.chmod(0o666)  # the peer's user is checked at each connection
        await server.start_serving()
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)
        await end(*clients)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
) -> dict[str, Any]:
    try:
        line = await reader.readline()  # unread bytes would cost the client its answer
    except ValueError:  # longer than the limit
        line = b""
    peer: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, os.geteuid()):
        return {"ok": False, "error": _ONLY, "event": NotPermitted.code}
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
        request = None
    if not isinstance(request, dict):
        return {"ok": False, "error": "a request is a JSON object"}
    return await handle(request)


def ask(directory: Path, request: dict[str, Any], *, timeout_s: float = 10.0) -> dict[str, Any]:
    """The daemon's answer; blocks for ``timeout_s`` at most, however slowly the answer comes.

    Raises :class:`NotRunning` where there is no daemon, :class:`NotPermitted` where it does not
    answer this user, and :class:`DaemonSilent` where no whole answer of at most 1 MiB comes.
    """
    path, deadline_s = directory / SOCKET_NAME, time.monotonic() + timeout_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(str(path))
            client.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_read_line(client, deadline_s))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise NotRunning(str(path)) from error
    except PermissionError as error:
        raise NotPermitted(str(path)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DaemonSilent(str(path)) from error
    if not isinstance(answer, dict):
        raise DaemonSilent(str(path))
    if answer.get("event") == NotPermitted.code:
        raise NotPermitted(_ONLY)
    return answer


def _read_line(client: socket.socket, deadline_s: float) -> bytes:
    """Raises OSError after ``deadline_s``, and ValueError for more than 1 MiB."""
    line = bytearray()
    while not line.endswith(b"\n"):
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        client.settimeout(left_s)
        more = client.recv(_LINE_LIMIT)
        if not more:
            break
        line += more
        if len(line) > _ANSWER_LIMIT:
            raise ValueError("the answer is too long")
    return bytes(line)


def is_listening(directory: Path) -> bool | None:
    """Whether a daemon accepts connections here; None where this user may not know."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1.0)
            client.connect(str(directory / SOCKET_NAME))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return False
    except TimeoutError:  # its queue is full, so there is one
        return True
    except OSError:
        return None
    return True
