"""Texts of a caster for a person. An error page may repeat the request: password and position."""

from __future__ import annotations

import base64
import re

from ztpd.model import NtripEndpoint
from ztpd.sanitize import clean

_POSITION = re.compile(rb"\$?G[A-Z]GGA,[^\s<]*")
_NOTHING = re.compile(b"(?!)")
_SHORTEST = 4  # bytes of a secret to look for: ordinary words contain shorter ones


class CasterText:
    """Takes the secrets of one request out of the answer to it."""

    def __init__(self, endpoint: NtripEndpoint | None = None) -> None:
        """Without ``endpoint`` there are none."""
        self._hidden = _hidden(endpoint) if endpoint else _NOTHING

    def hide(self, data: bytes | bytearray) -> bytes:
        """``data`` without the password, in the forms in which the request has it."""
        return self._hidden.sub(b"***", data)

    def said(self, data: bytes | bytearray, limit: int) -> str:
        """``data`` as one line, without password and positions, cut at ``limit``."""
        return clean(_POSITION.sub(b"***", self.hide(data)), limit)


def _hidden(endpoint: NtripEndpoint) -> re.Pattern[bytes]:
    password = endpoint.password.reveal().encode()
    pair = base64.b64encode(endpoint.username.encode() + b":" + password).rstrip(b"=")
    known = [re.escape(each) for each in (pair, password) if password and len(each) >= _SHORTEST]
    return re.compile(b"|".join(known)) if known else _NOTHING
