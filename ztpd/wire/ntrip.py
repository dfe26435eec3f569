"""NTRIP 1 and 2: the request, the caster's answer, the sourcetable. Bytes and values only.

Sources: RTCM 10410.0 (NTRIP 1.0) and 10410.1 (NTRIP 2.0) for request and answers, RFC 9110 and
9112 for HTTP/1.1 and its chunked coding, RFC 7617 for Basic authentication.
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from ztpd import __version__
from ztpd.errors import (
    CasterForbidden,
    ConfigError,
    MountpointUnknown,
    SessionClosed,
    SessionError,
    SessionProtocol,
    SessionRefused,
    TlsMismatch,
    ZtpdError,
)
from ztpd.model import NtripEndpoint

PLAIN_PORT = 2101  # IANA: "rtcm-sc104"
TLS_PORT = 2102  # PointPerfect's; no standard names one

HEAD_LIMIT = 8192  # bytes of status line and headers, and again of a chunked body's trailer
_CHUNK_LINE_LIMIT = 256  # size, extensions and line end
_TABLE_LIMIT = 65_536  # of a sourcetable; public casters have longer ones, the start is enough
_WORDS_LIMIT = 2048  # of any other text that comes in place of a stream

_STATUS = re.compile(rb"(HTTP/1\.[01]|ICY|SOURCETABLE) +(\d{3})(?: (.*))?")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110 5.6.2, of a sane length
_CHUNK_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r]*)?\r\n")
_PRINTABLE = re.compile(r"[!-~]+")
_TAG = re.compile(r"<[^>]*>")
_TABLE_END = b"ENDSOURCETABLE"
_BUSY = (408, 425, 429)


def request(endpoint: NtripEndpoint, *, gga: bytes = b"") -> bytes:
    """The bytes that ask for the delivery's mountpoint.

    ``gga`` is a whole sentence, b"" for none: the Ntrip-GGA header of 10410.1; an NTRIP 1 caster
    ignores it. Raises :class:`ConfigError` for what cannot be asked.
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


@dataclass(frozen=True, slots=True)
class Mountpoint:
    """One stream of a sourcetable (its STR line)."""

    name: str
    format: str = ""  # "RTCM 3.3", "SPARTN"; free text
    needs_gga: bool = False  # the caster wants a position (field 12, "nmea")


def sourcetable(text: bytes) -> list[Mountpoint]:
    """The streams ``text`` lists; lines of other kinds and damaged ones are passed over."""
    found = []
    for line in text.splitlines():
        kind, *fields = (_clean(field, 64) for field in line.split(b";"))
        if kind == "STR" and fields and fields[0]:
            fields += [""] * (11 - len(fields))
            found.append(Mountpoint(fields[0], fields[2], fields[10] == "1"))
    return found


class Response:
    """One caster's answer: bytes in, the payload out.

    ``feed`` never raises; what ends the stream, or is no stream at all, is a typed error in
    ``failure``, set once and behind all the payload that came before it.

    ``accepted`` says that the caster streams, or will once it has a position. It is told as early
    as can be: an NTRIP 1 caster may send ``ICY 200 OK``, a single line end, and then wait for a
    GGA. ``status`` is 0 until the first line was read.
    """

    def __init__(self, mountpoint: str) -> None:
        self.accepted = False
        self.status = 0
        self.failure: ZtpdError | None = None
        self._mountpoint = _clean(mountpoint.removeprefix("/"), 64)
        self._protocol = ""
        self._reason = ""
        self._chunked = False
        self._headers: dict[str, str] = {}
        self._waiting = bytearray()
        self._payload = bytearray()
        self._text: bytearray | None = None  # collected in place of a payload
        self._left: int | None = None  # bytes left of the body or chunk; None: until it closes
        self._room = HEAD_LIMIT
        self._step: Callable[[], bool] = self._status_line

    @property
    def form(self) -> str:
        """How the caster answers, for a person: "ICY", "HTTP/1.1 chunked"."""
        return self._protocol + (" chunked" if self._chunked else "")

    def feed(self, data: bytes) -> bytes:
        """Take what was received, give the payload in it."""
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
            self._refuse()
        elif self.status:
            self._fail(SessionClosed("the caster closed the connection"))
        else:
            self._fail(SessionClosed("the caster closed the connection without an answer"))

    # Each step takes from _waiting what it can and tells whether another may follow at once.

    def _status_line(self) -> bool:
        if self._waiting[:1] == b"\x15":  # a TLS alert record (RFC 8446 5.1)
            return self._fail(TlsMismatch("the caster speaks TLS on that port; [ntrip] tls is off"))
        line = self._line()
        if line is None:
            return False
        match = _STATUS.fullmatch(line)
        if match is None:
            return self._odd_first_line(line)
        protocol, status, reason = match.groups()
        self._protocol, self.status = protocol.decode(), int(status)
        self._reason = _clean(reason or b"", 80)
        self._step = self._header_line
        if protocol == b"ICY" and self.status == 200:
            self.accepted = True
            self._step = self._behind_icy
        return True

    def _odd_first_line(self, line: bytes) -> bool:
        """NTRIP 1 casters also refuse with a line such as "ERROR - Bad Password"."""
        said = _clean(line, 80)
        if not said.startswith("ERROR"):
            return self._fail(SessionProtocol(f'the answer begins with "{said}"'))
        if "pass" in said.lower():
            return self._fail(SessionRefused(said))
        if "mount" in said.lower():
            return self._fail(MountpointUnknown(f"{self._mountpoint} ({said})"))
        return self._fail(CasterForbidden(said))

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
        name = _TOKEN.match(waiting)
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
        if not colon or not _TOKEN.fullmatch(name):
            return self._fail(SessionProtocol("a line of the answer's head is no header"))
        key, text = name.decode().lower(), value.strip().decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text
        return True

    def _head_is_whole(self) -> bool:
        content = self._headers.get("content-encoding", "").strip().lower()
        transfer = self._headers.get("transfer-encoding", "").replace(",", " ").lower().split()
        length = self._headers.get("content-length", "")
        self.accepted = self.status == 200 and self._is_stream()
        if not self.accepted:
            self._text = bytearray()
        if content not in ("", "identity"):
            return self._unreadable(f"content coding {_clean(content, 40)}, not asked for")
        if transfer == ["chunked"]:
            self._step, self._chunked = self._chunk_size, True
        elif transfer not in ([], ["identity"]):
            return self._unreadable(f"transfer coding {_clean(' '.join(transfer), 40)}")
        elif re.fullmatch(r"[0-9]{1,18}", length):
            self._step, self._left = self._body, int(length)
        elif length:
            return self._unreadable("a Content-Length that is no number")
        else:
            self._step = self._body
        return True

    def _is_stream(self) -> bool:
        """A 200 may also bring the sourcetable or a page of words (RTCM 10410.1; pages are what
        captive portals, and casters with a ban list, send)."""
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
        end = self._waiting.find(b"\n", 0, _CHUNK_LINE_LIMIT) + 1
        if not end:
            if len(self._waiting) >= _CHUNK_LINE_LIMIT:
                self._fail(SessionProtocol("a chunk's size line has no end"))
            return False
        match = _CHUNK_SIZE.fullmatch(self._waiting, 0, end)
        if match is None:
            return self._fail(SessionProtocol("a chunk's size is no number below 4 GiB"))
        self._left = int(match[1], 16)
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
        searched = max(0, len(text) - len(_TABLE_END))
        limit = _TABLE_LIMIT if self._is_table() else _WORDS_LIMIT
        text += data[: limit - len(text)]
        if len(text) >= limit or text.find(_TABLE_END, searched) >= 0:
            self._refuse()

    def _end(self) -> None:
        if self._text is None:
            self._fail(SessionClosed("the caster ended the stream"))
        else:
            self._refuse()

    def _fail(self, error: ZtpdError) -> bool:
        if self.failure is None:
            self.failure = error
            self._waiting.clear()
        return False

    def _unreadable(self, what: str) -> bool:
        """A refusal stands even where its words cannot be read."""
        if self._text is not None:
            self._refuse()
            return False
        self.accepted = False
        return self._fail(SessionProtocol(f"the answer has {what}"))

    def _is_table(self) -> bool:
        kind = self._headers.get("content-type", "")
        return self._protocol == "SOURCETABLE" or "sourcetable" in kind.lower()

    def _refuse(self) -> None:
        """Set the failure that an answer without a stream means."""
        text = bytes(self._text or b"")
        words = _clean(_TAG.sub(" ", text.decode("utf-8", "ignore")), 200)
        status = self.status
        said = f"status {status} {self._reason}".rstrip() + (f": {words}" if words else "")
        low = said.lower()
        is_table = status == 200 and (self._is_table() or _TABLE_END in text)
        table = sourcetable(text) if is_table else []
        if "https port" in low:
            self._fail(TlsMismatch("the caster speaks TLS on that port; [ntrip] tls is off"))
        elif not table and ("banned" in low or "sandbox" in low):
            self._fail(CasterForbidden(said))
        elif is_table:
            self._fail(self._not_in(table))
        elif status in (401, 403):  # some casters say the one, some the other
            self._fail(SessionRefused(said))
        elif status == 404:
            self._fail(MountpointUnknown(f"{self._mountpoint} ({said})"))
        elif status in _BUSY or 500 <= status < 600:
            self._fail(SessionError(said, retry_after_s=self._retry_after_s()))
        elif 300 <= status < 500:
            self._fail(CasterForbidden(said, retry_after_s=self._retry_after_s()))
        else:
            self._fail(SessionProtocol(f"no caster's answer: {said}"))

    def _not_in(self, table: list[Mountpoint]) -> SessionError:
        wanted, names = self._mountpoint, {entry.name.upper(): entry.name for entry in table}
        if wanted in names.values():
            return SessionError(f"the caster lists {wanted}, but does not serve it at present")
        near = difflib.get_close_matches(wanted.upper(), names, n=3)
        hint = ""
        if near:
            hint = f"; did you mean {' or '.join(names[name] for name in near)}?"
        elif names:
            some = list(names.values())[:8]
            more = f" and {len(names) - len(some)} more" if len(names) > len(some) else ""
            hint = f"; it has {', '.join(some)}{more}"
        return MountpointUnknown(f"{wanted or 'none was named'}{hint}")

    def _retry_after_s(self) -> float | None:
        text = self._headers.get("retry-after", "")
        return float(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _clean(text: bytes | str, limit: int) -> str:
    """A peer's text on one line, of printable characters only, cut at ``limit``."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "ignore")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
