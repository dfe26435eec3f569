"""Varlink: one JSON object for each message, ended by a NUL byte (https://varlink.org/Wire-Format)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REPLY_LIMIT = 4 << 20
"""Bytes of a reply: a credential of systemd has at most 1 MiB, in base64 a third more."""


class VarlinkError(ValueError):
    """The peer does not speak Varlink, or its reply is too long."""


@dataclass(frozen=True, slots=True)
class VarlinkReply:
    """``error`` is the full name of an error, "" for success; the parameters may be secret."""

    error: str
    parameters: Mapping[str, Any] = field(repr=False)


def encode_call(method: str, parameters: Mapping[str, Any]) -> bytes:
    """The message that calls ``method``, such as "io.systemd.Credentials.Encrypt"."""
    call = {"method": method, "parameters": parameters}
    return json.dumps(call, separators=(",", ":"), allow_nan=False).encode() + b"\0"


class ReplyReader:
    """Puts one reply together from pieces of any size."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> VarlinkReply | None:
        """The reply, once ``data`` completes it; bytes after it are ignored: nobody asked for them.

        Raises :class:`VarlinkError`, whose text has nothing of the message.
        """
        searched = len(self._received)
        self._received += data
        end = self._received.find(0, searched)
        if max(end, len(self._received) if end < 0 else 0) > REPLY_LIMIT:
            raise VarlinkError("the reply is too long")
        return None if end < 0 else _parse(bytes(self._received[:end]))


def _parse(message: bytes) -> VarlinkReply:
    reply: Any = None
    with contextlib.suppress(ValueError, RecursionError):  # not chained: they hold the message
        reply = json.loads(message)
    if not isinstance(reply, dict):
        raise VarlinkError("the reply is not a JSON object")
    error, parameters = reply.get("error") or "", reply.get("parameters") or {}
    if not isinstance(error, str) or not isinstance(parameters, dict):
        raise VarlinkError("the reply has not the form of one")
    return VarlinkReply(error, parameters)
