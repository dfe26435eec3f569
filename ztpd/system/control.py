"""Requests to the daemon over its control socket: one JSON line each way, and for a recording the
bytes behind it.

Only root and the daemon's own user are answered. ``control_server`` is the other end, apart from
this one so that `ztpd status` imports no event loop.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from ztpd.errors import DaemonRefused, DaemonSilent, NotPermitted, NotRunning

SOCKET_NAME = "control.sock"
LINE_LIMIT = 65_536
_ANSWER_LIMIT = 1 << 20
_STREAM_LOOK_S = 0.5
_FULL_S = 0.01  # before the next try to connect
LONGEST_WAIT_S = 600.0  # for the result of a request
ONLY = "only root and the daemon's user may ask this"


class Verb(StrEnum):
    """The requests that the daemon answers: the value of ``do``."""

    RETRY = "retry"  # end the present wait
    PROVISION = "provision"  # get credentials; with ``force`` also in place of those there are
    PAUSE = "pause"  # close the session, and open none
    RESUME = "resume"  # end any pause
    IMPORTED = "imported"  # load the credentials that were imported
    FORGOTTEN = "forgotten"  # the stored credentials were deleted: no wait precedes a call
    TIME = "time"  # UTC by the receiver
    RECEIVER = "receiver"  # its settings, read from it now
    STATUS = "status"
    HISTORY = "history"  # what there is of the last 24 hours, or with ``column`` one series of it
    RECORD = "record"  # what goes over the wires, until the client hangs up


def patience_s(request: dict[str, Any]) -> float:
    """How long a request may wait for its result: ``wait_s``, 0 to 600."""
    given = request.get("wait_s")
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not given > 0:
        return 0.0
    return float(min(given, LONGEST_WAIT_S))  # a whole number may be longer than any float


def ask(directory: Path, request: dict[str, Any], *, timeout_s: float = 10.0) -> dict[str, Any]:
    """The daemon's answer; blocks for ``timeout_s`` at most, however slowly the answer comes.

    Raises :class:`NotRunning` where there is no daemon, :class:`NotPermitted` where it does not
    answer this user, and :class:`DaemonSilent` where no whole answer of at most 1 MiB comes.
    """
    with _answered(directory, request, timeout_s) as (_, answer, _):
        return answer


def stream(
    directory: Path, request: dict[str, Any], *, timeout_s: float = 10.0
) -> Generator[bytes, None, None]:
    """The bytes that follow the answer, until the daemon ends; the daemon notices when this is
    closed. Empty ones where none came for half a second.

    Raises as :func:`ask`, and :class:`DaemonRefused` with the daemon's reason.
    """
    with _answered(directory, request, timeout_s) as (client, answer, behind):
        if not answer.get("ok"):
            raise DaemonRefused(str(answer.get("error", "")))
        yield behind
        client.settimeout(_STREAM_LOOK_S)
        while True:
            try:
                more = client.recv(LINE_LIMIT)
            except TimeoutError:
                yield b""
                continue
            if not more:
                return
            yield more


@contextmanager
def _answered(
    directory: Path, request: dict[str, Any], timeout_s: float
) -> Iterator[tuple[socket.socket, dict[str, Any], bytes]]:
    """The connection, the answer, and the bytes that came behind it. Raises as :func:`ask`."""
    path, deadline_s = directory / SOCKET_NAME, time.monotonic() + timeout_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            _connect(client, path, deadline_s)
            client.sendall(json.dumps(request).encode() + b"\n")
            line, behind = _read_line(client, deadline_s)
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("the answer is no object")
            if answer.get("event") == NotPermitted.code:
                raise NotPermitted(ONLY)
            yield client, answer, behind
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise NotRunning(str(path)) from error
    except PermissionError as error:
        raise NotPermitted(str(path)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DaemonSilent(str(path)) from error


def _connect(client: socket.socket, path: Path, deadline_s: float) -> None:
    while True:
        try:
            return client.connect(str(path))
        except BlockingIOError:  # its queue is full: a socket with a timeout does not wait for that
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_FULL_S)


def _read_line(client: socket.socket, deadline_s: float) -> tuple[bytes, bytes]:
    """The first line, and the bytes that came behind it.

    Raises OSError after ``deadline_s``, and ValueError for more than 1 MiB.
    """
    line = bytearray()
    while b"\n" not in line:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        client.settimeout(left_s)
        more = client.recv(LINE_LIMIT)
        if not more:
            break
        line += more
        if len(line) > _ANSWER_LIMIT:
            raise ValueError("the answer is too long")
    first, _, behind = bytes(line).partition(b"\n")
    return first, behind


def is_listening(directory: Path) -> bool | None:
    """Whether a daemon accepts connections here; None where this user may not know."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1.0)
            client.connect(str(directory / SOCKET_NAME))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return False
    except BlockingIOError:  # its queue is full, so there is one
        return True
    except OSError:
        return None
    return True
