"""NTRIP 1 and 2: the request, the caster's answer, the sourcetable. Bytes and values only.

Sources: RTCM 10410.0 (NTRIP 1.0) and 10410.1 (NTRIP 2.0) for request and answers, RFC 9110 and
9112 for HTTP/1.1 and its chunked coding, RFC 7617 for Basic authentication.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from urllib.parse import quote

from ztpd import __version__
from ztpd.errors import (
    ConfigError,
    SessionClosed,
    SessionProtocol,
    TlsMismatch,
    ZtpdError,
)
from ztpd.model import NtripEndpoint
from ztpd.sanitize import clean
from ztpd.wire.ntrip_refusal import is_ban, refusal, refused_in_a_line
from ztpd.wire.ntrip_text import CasterText
from ztpd.wire.sourcetable import Sourcetable

HEAD_LIMIT = 8192  # bytes of status line and headers, and again of a chunked body's trailer
_CHUNK_LINE_LIMIT = 256  # size, extensions and line end
_BLANK_LINES = 4  # before the status line
_WORDS_LIMIT = 2048  # of any other text that comes in place of a stream

_STATUS = re.compile(rb" *(HTTP(?:/1\.[01])?|ICY|SOURCETABLE) +(\d{3})(?: (.*))?", re.IGNORECASE)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110 5.6.2, of a sane length
_HEADER_NAME = re.compile(_TOKEN.pattern + rb"[ \t]*")
_CHUNK_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r]*)?\r\n")
_PRINTABLE = re.compile(r"[!-~]+")
_TAG = re.compile(rb"<[^>]*>")
_SPARTN = re.compile(rb"s[^\t\r\n -~]")


def request(endpoint: NtripEndpoint, *, gga: bytes = b"") -> bytes:
    """The bytes that ask for the endpoint's mountpoint.

    ``gga`` is a whole sentence, b"" for none: the Ntrip-GGA header of 10410.1; an NTRIP 1 caster
    ignores it. Raises :class:`ConfigError` for settings that no request can hold.
    """
    if ":" in endpoint.username:
        raise ConfigError('[ntrip] username: a ":" cannot be sent in a user name (RFC 7617)')
    if not _PRINTABLE.fullmatch(endpoint.host):
        raise ConfigError("[ntrip] host: only printable ASCII without spaces is a host name")
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    path = quote(endpoint.mountpoint.removeprefix("/"), safe="/~!$&'()*+,;=:@")
    first = endpoint.version == "1"
    lines = [
        f"GET /{path} HTTP/1.{0 if first else 1}",
        f"Host: {host}:{endpoint.port}",
        f"User-Agent: NTRIP ztpd/{__version__}",
        "Accept: */*",  # without it some casters, and the proxies before them, answer 403
    ]
    if not first:
        lines.append("Ntrip-Version: Ntrip/2.0")
    if endpoint.username:
        pair = f"{endpoint.username}:{endpoint.password.reveal()}".encode()
        lines.append(f"Authorization: Basic {base64.b64encode(pair).decode()}")
    if gga:
        lines.append(f"Ntrip-GGA: {gga.decode('ascii').strip()}")
    lines += ["Accept-Encoding: identity", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("ascii")


class Response:
    """One caster's answer: bytes in, the payload out.

    ``feed`` never raises; the end of a stream, or an answer without one, is a typed error in
    ``failure``, set once and behind all the payload that came before it.

    ``accepted`` is set when the caster streams, or will once it has a position, as early as
    possible: an NTRIP 1 caster may send ``ICY 200 OK``, a single line end, and then wait for a
    GGA. ``status`` is 0 until the first line was read.

    Heads are read as leniently as NTRIP 1 was always written. A line that cannot be read is quoted.
    """

    def __init__(self, mountpoint: str, text: CasterText | None = None) -> None:
        self.text = text or CasterText()
        self.accepted = False
        self.status = 0
        self.failure: ZtpdError | None = None
        self._mountpoint = clean(mountpoint.removeprefix("/"), 64)
        self._protocol = ""
        self._reason = ""
        self._chunked = False
        self._headers: dict[str, str] = {}
        self._waiting = bytearray()
        self._payload = bytearray()
        self._text: bytearray | None = None  # collected in place of a payload, its beginning
        self.table = Sourcetable(self._mountpoint)
        self._blank_lines = 0
        self._first_chunk = True
        self._left: int | None = None  # bytes left of the body or chunk; None: until it closes
        self._room = HEAD_LIMIT
        self._step: Callable[[], bool] = self._status_line

    @property
    def form(self) -> str:
        """Protocol and coding of the answer: "ICY", "HTTP/1.1 chunked"."""
        return self._protocol + (" chunked" if self._chunked else "")

    def feed(self, data: bytes) -> bytes:
        """Parse received bytes; returns the payload in them."""
        if self.failure is None:
            self._waiting += data
            while self.failure is None and self._step():
                pass
        payload, self._payload = bytes(self._payload), bytearray()
        return payload

    def eof(self) -> None:
        """No more will come: sets ``failure`` if nothing did before."""
        if self.failure is not None:
            return
        if self._text is not None or self.status not in (0, 200):  # RTKLIB's 401 is one line only
            self._refuse(is_cut=self._left is not None or self._chunked)
        elif self.status:
            self._fail(SessionClosed("the caster closed the connection"))
        elif self._blank_lines:
            self._fail(SessionProtocol("the answer has empty lines only"))
        else:
            self._fail(SessionClosed("the caster closed the connection without an answer"))

    # Each step takes its part of _waiting and returns whether another may follow at once.

    def _status_line(self) -> bool:
        if self._waiting[:1] == b"\x15":  # a TLS alert record (RFC 8446 5.1)
            return self._fail(TlsMismatch("the caster speaks TLS on that port; [ntrip] tls is off"))
        line = self._line()
        if line is None:
            return False
        if not line.strip() and self._blank_lines < _BLANK_LINES:
            self._blank_lines += 1
            return True
        match = _STATUS.fullmatch(line)
        if match is None:
            return self._fail(refused_in_a_line(self.text.said(line, 80), self._mountpoint))
        protocol, status, reason = match.groups()
        self._protocol, self.status = protocol.decode().upper(), int(status)
        self._reason = self.text.said(reason or b"", 80)
        self._step = self._header_line
        if self._protocol == "ICY" and self.status == 200:
            self.accepted = True
            self._step = self._behind_icy
        return True

    def _behind_icy(self) -> bool:
        """An empty line, the header lines some casters send, or data at once.

        Data begins with 0xD3 (RTCM 3), 0xB5 (UBX) or 0x73 and a byte below 0x20 or above 0x7F
        (SPARTN), so it never looks like a header's name.
        """
        waiting = self._waiting
        if bytes(waiting[:2]) in (b"", b"\r"):
            return False
        if waiting.startswith((b"\n", b"\r\n")):
            del waiting[: waiting.index(b"\n") + 1]
            self._step = self._body
            return True
        name = _HEADER_NAME.match(waiting)
        if name and name.end() == len(waiting) and name.end() < 64:
            return False
        header = name is not None and waiting[name.end() : name.end() + 1] == b":"
        self._step = self._header_line if header else self._body
        return True

    def _header_line(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            return self._head_is_whole()
        if line[:1] in b" \t":  # a folded line: none that matters here is ever folded
            return True
        name, colon, value = line.partition(b":")
        if not colon:
            return self._words_begin(line)
        name = name.rstrip(b" \t")
        if not _TOKEN.fullmatch(name):
            shown = self.text.said(line, 80)
            return self._fail(SessionProtocol(f'the answer\'s head has the line "{shown}"'))
        key = name.decode().lower()
        if key == "location":  # shown, where the others are read
            value = self.text.hide(value)
        text = value.strip().decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text
        return True

    def _words_begin(self, line: bytes) -> bool:
        """Some casters send a sentence in place of headers ("NO SOURCETABLE AVAILABLE")."""
        self.accepted = False
        self._text = bytearray()
        self._step = self._body
        self._deliver(line + b"\r\n")
        return True

    def _head_is_whole(self) -> bool:
        content = self._headers.get("content-encoding", "").strip().lower()
        transfer = self._headers.get("transfer-encoding", "").replace(",", " ").lower().split()
        length = self._headers.get("content-length", "")
        self.accepted = self.status == 200 and self._is_stream()
        if not self.accepted:
            self._text = bytearray()
        if content not in ("", "identity"):
            return self._unreadable(f"content coding {clean(content, 40)}, not asked for")
        if transfer == ["chunked"]:
            self._step, self._chunked = self._chunk_size, True
        elif transfer not in ([], ["identity"]):
            return self._unreadable(f"transfer coding {clean(' '.join(transfer), 40)}")
        elif re.fullmatch(r"[0-9]{1,18}", length):
            self._step, self._left = self._body, int(length)
        elif length:
            return self._unreadable("a Content-Length that is no number")
        else:
            self._step = self._body
        return True

    def _is_stream(self) -> bool:
        """A 200 may also bring the sourcetable or a page of words (RTCM 10410.1; captive
        portals, and casters with a ban list, send pages)."""
        if self._protocol == "SOURCETABLE":
            return False
        kind = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind not in ("gnss/sourcetable", "application/json") and not kind.startswith("text/")

    def _body(self) -> bool:
        """A body without coding, until its length is reached or the caster closes."""
        take = len(self._waiting) if self._left is None else self._left
        self._deliver(self._waiting[:take])
        if self._left is not None:
            self._left -= min(take, len(self._waiting))
            if self._left == 0:
                self._end()
        del self._waiting[:take]
        return False

    def _chunk_size(self) -> bool:
        if self._first_chunk and _is_frame(self._waiting):
            self._chunked, self._step, self._left = False, self._body, None
            return True  # "chunked" was announced, and the stream is not
        end = self._waiting.find(b"\n", 0, _CHUNK_LINE_LIMIT) + 1
        if not end:
            if len(self._waiting) >= _CHUNK_LINE_LIMIT:
                self._fail(SessionProtocol("a chunk's size line has no end"))
            return False
        match = _CHUNK_SIZE.fullmatch(self._waiting, 0, end)
        if match is None:
            shown = self.text.said(self._waiting[:end], 40)
            return self._fail(
                SessionProtocol(f'a chunk\'s size is no number below 4 GiB: "{shown}"')
            )
        self._left = int(match[1], 16)
        self._first_chunk = False
        del self._waiting[:end]
        self._room = HEAD_LIMIT
        self._step = self._chunk_data if self._left else self._trailer
        return True

    def _chunk_data(self) -> bool:
        left = self._left or 0
        data = self._waiting[:left]
        del self._waiting[:left]
        self._left = left - len(data)
        self._deliver(data)
        if self._left:
            return False
        self._step = self._chunk_end
        return True

    def _chunk_end(self) -> bool:
        if bytes(self._waiting[:2]) in (b"", b"\r"):
            return False
        if not self._waiting.startswith(b"\r\n"):
            return self._fail(SessionProtocol("a chunk is longer than its size says"))
        del self._waiting[:2]
        self._step = self._chunk_size
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line == b"":
            self._end()
        return bool(line)

    def _line(self) -> bytes | None:
        """The next line of head or trailer without its end, None while it is not whole.

        NTRIP 1 casters are careless with line ends, so a bare LF is one too.
        """
        end = self._waiting.find(b"\n") + 1
        if (end or len(self._waiting)) > self._room:
            self._fail(SessionProtocol(f"the answer's head is longer than {HEAD_LIMIT} bytes"))
            return None
        if not end:
            return None
        line = bytes(self._waiting[: end - 1]).removesuffix(b"\r")
        del self._waiting[:end]
        self._room -= end
        return line

    def _deliver(self, data: bytes | bytearray) -> None:
        text = self._text
        if text is None:
            self._payload += data
            return
        begun = len(text) >= 2
        text += data[: _WORDS_LIMIT - len(text)] if begun else data
        if not begun and len(text) >= 2 and self._may_stream() and _is_frame(text):
            self._payload += text  # a stream under the name of a text
            self._text, self.accepted = None, True
            return
        del text[_WORDS_LIMIT:]
        if self.status == 200:
            self.table.feed(data)
        if self.table.is_decided or (len(text) >= _WORDS_LIMIT and not self._may_be_table()):
            self._refuse()

    def _may_stream(self) -> bool:
        named_text = self._protocol == "ICY" and "content-type" in self._headers
        return self.status == 200 and (self._protocol.startswith("HTTP") or named_text)

    def _end(self) -> None:
        if self._text is None:
            self._fail(SessionClosed("the caster ended the stream"))
        else:
            self.table.complete = True
            self._refuse()

    def _fail(self, error: ZtpdError) -> bool:
        if self.failure is None:
            self.failure = error
            self._waiting.clear()
        return False

    def _unreadable(self, part: str) -> bool:
        """A refusal stands even where its words cannot be read."""
        if self._text is not None:
            self._refuse()
            return False
        self.accepted = False
        return self._fail(SessionProtocol(f"the answer has {part}"))

    def _may_be_table(self) -> bool:
        kind = self._headers.get("content-type", "")
        is_table = self._protocol == "SOURCETABLE" or "sourcetable" in kind.lower()
        return self.status == 200 and (is_table or bool(self.table.names))

    def _refuse(self, *, is_cut: bool = False) -> None:
        """Set the failure that an answer without a stream means. ``is_cut``: the connection ended
        before the length that was announced."""
        text = bytes(self._text or b"")
        words = self.text.said(_TAG.sub(b" ", text), 200)
        line = f"{self.status} {self._reason}".rstrip()
        whole = f"status {line}" + (f": {words}" if words not in ("", line, self._reason) else "")
        table = self.table
        is_table = self._may_be_table() or (self.status == 200 and table.complete and not is_cut)
        is_page = text.lstrip()[:1] == b"<" and not table.names
        if is_table and not is_page and (table.names or not is_ban(whole)):
            self._fail(table.failure(words))
        else:
            self._fail(
                refusal(self.status, whole, self._headers, self._mountpoint, is_page=is_page)
            )


def _is_frame(data: bytes | bytearray) -> bool:
    """Whether ``data`` begins as RTCM 3, UBX or SPARTN, and so is no text."""
    return data[:1] == b"\xd3" or data[:2] == b"\xb5\x62" or bool(_SPARTN.match(data))
