"""An NTRIP caster on loopback, well-behaved or not.

It answers in every form casters are known to answer in, waits for a position, keeps one session
for each user, and on request misbehaves in a way that has a name (:data:`FAULTS`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
import socket
import ssl
import struct
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from ztpd.wire import nmea

Feed = Callable[[], AsyncIterator[bytes]]
"""Called once for each session; every item is one block of the stream, a frame or more."""

Form = Literal["auto", "icy", "icy-short", "icy-headers", "http10", "identity", "chunked", "odd"]
"""The head and the coding of a stream: "auto" goes by the request, as good casters do; "odd" is
chunked in every way that is legal and rare."""

FAULTS: Mapping[str, str] = {
    "unauthorized": "refuses every user",
    "forbidden": "refuses with 403",
    "not-found": "does not know the mountpoint",
    "sourcetable": "sends its sourcetable in place of the stream",
    "banned": "says with status 200 that this address is banned",
    "unavailable": "is overloaded and asks for two minutes of patience",
    "gzip": "compresses, though it was not asked to",
    "no-answer": "takes the request and says nothing",
    "half-head": "stops in the middle of the answer's head",
    "endless-head": "sends a head of one MiB",
    "bad-chunks": "sends a chunk size that is no number, after 2 kB",
    "huge-chunk": "announces a chunk of 2^63 bytes, after 2 kB",
    "silent": "says yes and then sends nothing",
    "stall": "sends 2 kB and then nothing",
    "short-life": "ends every session after 10 s",
    "bad-crc": "damages every fourth block",
    "noise": "puts bytes of no meaning between the blocks",
    "gga-first": "answers 401 unless the request has a position",
    "no-accept": "answers 403 to a request without an Accept header",
    "gp-only": "takes a position from $GPGGA sentences only",
    "empty": "says yes and closes without a byte",
    "outside": "says yes, then in a sentence that no station is near, and closes",
    "cmr": "streams CMR packets",
    "rtcm2": "streams RTCM 2",
    "nmea": "streams NMEA sentences",
    "nmea-between": "puts NMEA sentences and empty lines between the blocks",
    "table-for-password": "answers a wrong password with its sourcetable",
    "cut-table": "sends half a sourcetable and closes",
    "no-table": "answers with a sentence in place of headers",
    "loose-head": "writes its head as no standard allows, and calls the stream text/plain",
    "raw-chunks": "announces chunks and streams without them",
    "invalid-mount": "refuses the mountpoint in a line without a status, as Leica's receivers do",
    "digest": "asks for Digest authentication",
    "redirect": "redirects to another host",
    "https-port": "answers plain HTTP as a TLS server written in Go does",
    "version-1-400": "answers 400 to HTTP/1.1",
    "version-1-reset": "resets the connection at HTTP/1.1",
    "reset": "resets every session after 20 s",
}
"""Faults, and the manners of real casters; docs/casters.md says which caster has which."""

_STALL_BYTES = 2048
_SHORT_LIFE_S = 10.0
_RESET_S = 20.0
_HEAD_LIMIT = 8192
_V2 = b"HTTP/1.1 200 OK\r\nNtrip-Version: Ntrip/2.0\r\nServer: NTRIP sim\r\n"
_STREAM = _V2 + b"Cache-Control: no-store\r\nConnection: close\r\nContent-Type: gnss/data\r\n"

_HEADS: Mapping[str, bytes] = {
    "icy": b"ICY 200 OK\r\n\r\n",
    "icy-short": b"ICY 200 OK\r\n",
    "icy-headers": b"ICY 200 OK\r\nServer: NTRIP sim\r\n\r\n",
    "http10": b"HTTP/1.0 200 OK\r\nServer: NTRIP sim\r\n\r\n",
    "identity": _STREAM + b"\r\n",
    "chunked": _STREAM + b"Transfer-Encoding: chunked\r\n\r\n",
    "odd": _STREAM + b"TRANSFER-ENCODING:  Chunked \r\n\r\n",
    "loose": b"\r\nHTTP 200 OK\r\nServer : NTRIP sim\r\nContent-Type : text/plain\r\n\r\n",
    "raw-chunks": _STREAM + b"Transfer-Encoding: chunked\r\n\r\n",
}


@dataclass(frozen=True, slots=True)
class Gga:
    """A position from a client."""

    at_s: float  # the loop's time
    user: str
    sentence: str
    in_request: bool


class Caster:
    """Listens on loopback; ``streams`` are the mountpoints with their streams.

        async with Caster({"NEAR-RTCM": feed}, users={"user": "secret"}) as caster: ...

    With ``needs_gga`` a session gets nothing before a position, and ends ``gga_keep_s`` after the
    last one. ``users`` None lets everybody in, in any number of sessions; else each user has one,
    and a second connection ends the first. ``fault`` (of :data:`FAULTS`, "" for none) holds for
    connections made from then on. With ``ban`` an address is banned as RTK2go does: after so many
    failed connections without a successful one between them.
    """

    def __init__(
        self,
        streams: Mapping[str, Feed],
        *,
        users: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        form: Form = "auto",
        needs_gga: bool = False,
        gga_keep_s: float = 30.0,
        fault: str = "",
        ban: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        if fault and fault not in FAULTS:
            raise ValueError(f"no fault {fault}; there are {', '.join(FAULTS)}")
        self.streams, self.users, self.form, self.fault = dict(streams), users, form, fault
        self.needs_gga, self.gga_keep_s = needs_gga, gga_keep_s
        self.host, self.port = host, port
        self.ban = ban
        self.failed_in_a_row = self.most_failed_in_a_row = 0
        self.connected_s: list[float] = []  # the loop's time of each connection
        self.connections = 0
        self.sessions = 0  # streams begun
        self.evicted = 0
        self.requests: list[bytes] = []
        self.ggas: list[Gga] = []
        self._tls = tls
        self._say = say
        self._rng = random.Random(20)
        self._by_user: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, ssl=self._tls, limit=_HEAD_LIMIT
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server:
            self._server.close()
        self.end_sessions()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def alive(self) -> int:
        """Connections open at present."""
        return len(self._tasks)

    def end_sessions(self) -> None:
        """Close every connection, as a restart of the caster does."""
        for task in self._tasks:
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.connected_s.append(asyncio.get_running_loop().time())
        self.failed_in_a_row += 1  # until it has been served
        self.most_failed_in_a_row = max(self.most_failed_in_a_row, self.failed_in_a_row)
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = ""
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            mountpoint, headers = _parsed(request)
            user, password = _credentials(headers)
            if self.fault == "version-1-reset" and b" HTTP/1.1\r\n" in request:
                _reset(writer)
                return
            refusal = self._refusal(mountpoint, user, password, headers)
            if self.fault == "version-1-400" and b" HTTP/1.1\r\n" in request:
                refusal = _status("400 Bad Request")
            if refusal is None:
                await self._session(reader, writer, mountpoint, user, headers)
                return
            said = refusal.partition(b"\r\n")[0].decode() or "silence"
            self._say(f"caster answered {user or 'a client'} with {said}")
            writer.write(refusal)
            await writer.drain()
            if self.fault in ("no-answer", "half-head"):
                await reader.read()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or talks no NTRIP
        finally:
            if self._by_user.get(user) is asyncio.current_task():
                del self._by_user[user]
            if not writer.transport.is_closing():  # Python 3.11.2 breaks on closing TLS twice
                writer.close()

    def _refusal(
        self, mountpoint: str, user: str, password: str, headers: Mapping[str, str]
    ) -> bytes | None:
        """The answer in place of a stream, None where a stream is due."""
        if self.ban and self.failed_in_a_row > self.ban:
            return _REFUSALS["banned"]
        canned = _REFUSALS.get(self.fault)
        if canned is not None:
            return canned
        if self.fault == "no-accept" and "accept" not in headers:
            return _status("403 Forbidden")
        if self.fault == "cut-table":
            return self._sourcetable(headers)[:-60]
        if self.fault == "gga-first" and "ntrip-gga" not in headers:
            return _status("401 Unauthorized")
        if self.fault == "sourcetable" or mountpoint not in self.streams:
            return self._sourcetable(headers)
        if self.users is not None and (not user or self.users.get(user) != password):
            if self.fault == "table-for-password":
                return self._sourcetable(headers)
            return _status("401 Unauthorized", 'WWW-Authenticate: Basic realm="sim"')
        return None

    def _sourcetable(self, headers: Mapping[str, str]) -> bytes:
        gga = int(self.needs_gga)
        lines = [
            f"STR;{name};sim;;;2;;sim;GBR;0.00;0.00;{gga};1;;none;B;N;;" for name in self.streams
        ]
        table = "\r\n".join([*lines, "ENDSOURCETABLE", ""]).encode()
        if "ntrip-version" in headers:
            head = _V2 + b"Content-Type: gnss/sourcetable\r\n"
        else:
            head = b"SOURCETABLE 200 OK\r\nServer: NTRIP sim\r\nContent-Type: text/plain\r\n"
        return head + b"Content-Length: %d\r\n\r\n" % len(table) + table

    async def _session(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mountpoint: str,
        user: str,
        headers: Mapping[str, str],
    ) -> None:
        self._evict(user)
        name = user or "a client"
        form = self._form_for(headers)
        self._say(f"caster streams {mountpoint} to {name} ({form})")
        writer.write(_HEADS[form])
        located = asyncio.Event()
        told = headers.get("ntrip-gga", "")
        if told and self._note(told, user, in_request=True):
            located.set()
        life_s = {"short-life": _SHORT_LIFE_S, "reset": _RESET_S}.get(self.fault)
        parts = [
            asyncio.create_task(self._listen(reader, user, located)),
            asyncio.create_task(self._send(writer, mountpoint, form, located)),
        ]
        try:
            await asyncio.wait(parts, timeout=life_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            if self.fault == "reset":
                _reset(writer)
            self._say(f"caster ended the session of {name}")

    def _evict(self, user: str) -> None:
        task = asyncio.current_task()
        if self.users is None or task is None:
            return
        older = self._by_user.get(user)
        if older:
            self.evicted += 1
            self._say(f"a second session of {user} evicts the first")
            older.cancel()
        self._by_user[user] = task

    def _form_for(self, headers: Mapping[str, str]) -> str:
        if self.fault in ("bad-chunks", "huge-chunk"):
            return "chunked"
        if self.fault in ("loose-head", "raw-chunks", "outside"):
            return {"loose-head": "loose", "outside": "icy"}.get(self.fault, self.fault)
        if self.form != "auto":
            return self.form
        return "chunked" if "ntrip-version" in headers else "icy"

    async def _listen(
        self, reader: asyncio.StreamReader, user: str, located: asyncio.Event
    ) -> None:
        """Take the client's positions, until it leaves or a position that is needed stays away."""
        loop = asyncio.get_running_loop()
        silent_s = loop.time()
        while True:
            until_s = silent_s + self.gga_keep_s if self.needs_gga else None
            try:
                async with asyncio.timeout_at(until_s):
                    line = await reader.readline()
            except TimeoutError:
                self._say(f"caster had no position for {self.gga_keep_s:g} s")
                return
            except ValueError:
                return  # a line without end
            if not line:
                return
            if self._note(line.decode("latin-1").strip(), user, in_request=False):
                silent_s = loop.time()
                located.set()

    def _note(self, sentence: str, user: str, *, in_request: bool) -> bool:
        """Keep ``sentence`` if it is a GGA with a fix in it."""
        body, star, check = sentence.removeprefix("$").partition("*")
        fields = body.split(",")
        if not star or check != f"{nmea.checksum(body.encode()):02X}" or len(fields) != 15:
            return False
        if self.fault == "gp-only" and fields[0] != "GPGGA":
            return False
        if fields[0][2:] != "GGA" or not (fields[2] and fields[4]) or fields[6] in ("", "0"):
            return False
        at_s = asyncio.get_running_loop().time()
        self.ggas.append(Gga(at_s, user, sentence, in_request))
        if len(self.ggas) == 1:
            self._say(f"caster was told the position {fields[2]}{fields[3]} {fields[4]}{fields[5]}")
        return True

    async def _send(
        self, writer: asyncio.StreamWriter, mountpoint: str, form: str, located: asyncio.Event
    ) -> None:
        if self.needs_gga:
            await located.wait()
        if self.fault == "silent":
            await asyncio.get_running_loop().create_future()
        if self.fault in ("empty", "outside"):
            writer.write(_OUTSIDE if self.fault == "outside" else b"")
            return
        self.sessions += 1
        self.failed_in_a_row = 0
        sent = 0
        async for block in self._spoilt(self.streams[mountpoint]()):
            if self.fault in _STALLS and sent + len(block) > _STALL_BYTES:
                writer.write(self._coded(block[: _STALL_BYTES - sent], form) + _STALLS[self.fault])
                await asyncio.get_running_loop().create_future()
            writer.write(self._coded(block, form))
            await writer.drain()
            sent += len(block)
        if form in ("chunked", "odd"):
            writer.write(b"0\r\n\r\n" if form == "chunked" else b"00;end\r\nX-Sum: 0\r\n\r\n")
        await writer.drain()

    async def _spoilt(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        number = 0
        async for block in blocks:
            number += 1
            if self.fault == "bad-crc" and number % 4 == 0:
                yield block[:-1] + bytes([block[-1] ^ 0x10])
                continue
            if foreign := _FOREIGN.get(self.fault):
                yield foreign
                continue
            if self.fault == "nmea-between":
                yield _NMEA + b"\r\n"
            if self.fault == "noise":
                yield self._rng.randbytes(self._rng.randint(1, 40))
            yield block

    def _coded(self, block: bytes, form: str) -> bytes:
        if form == "chunked":
            return b"%x\r\n%b\r\n" % (len(block), block) if block else b""
        if form != "odd":
            return block
        coded = b""
        while block:
            size = min(len(block), self._rng.choice((1, 2, 7, 64, 1000)))
            digits = self._rng.choice(("%x", "%X", "00%x")) % size
            coded += (digits + self._rng.choice(("", ";a", ';a="1;2"', " ;b=c"))).encode()
            coded += b"\r\n%b\r\n" % block[:size]
            block = block[size:]
        return coded


def _status(line: str, *headers: str) -> bytes:
    body = f"{line}\r\n"
    head = [f"HTTP/1.1 {line}", "Server: NTRIP sim", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join([*head, "Connection: close", "", ""]) + body).encode()


_REFUSALS: Mapping[str, bytes] = {
    "unauthorized": _status("401 Unauthorized"),
    "forbidden": _status("403 Forbidden"),
    "not-found": _status("404 Not Found"),
    "banned": _V2 + b"Content-Type: text/plain\r\n\r\nYour IP address is banned.\r\n",
    "unavailable": _status("503 Service Unavailable", "Retry-After: 120"),
    "gzip": _STREAM + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00" + bytes(64),
    "no-answer": b"",
    "no-table": b"SOURCETABLE 200 OK\r\nNO SOURCETABLE AVAILABLE\r\n",
    "invalid-mount": b"Invalid mount point\r\n",
    "digest": _status("401 Unauthorized", 'WWW-Authenticate: Digest realm="sim", nonce="1"'),
    "redirect": _status("302 Found", "Location: http://me:secret@other.example:2101/NEAR"),
    "https-port": b"HTTP/1.0 400 Bad Request\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n",
    "half-head": _STREAM[: len(_STREAM) // 2],
    "endless-head": _STREAM + b"X-Pad: " + b"a" * (1 << 20),
}

_OUTSIDE = b"No station within 50 km of your position. Check your coverage.\r\n"
_NMEA = b"$GNGGA,120000.00,5123.4567,N,00012.3456,W,4,12,0.80,45.0,M,47.0,M,1.0,0000*42\r\n"


def _cmr(data: bytes) -> bytes:
    body = bytes([0, 0x93, len(data)]) + data  # status, type, length
    return b"\x02" + body + bytes([sum(body) & 0xFF, 3])


_FOREIGN: Mapping[str, bytes] = {
    "cmr": _cmr(bytes(range(4, 100))),
    "rtcm2": bytes(0x40 | (number * 37 + 26) & 0x3F for number in range(90)),
    "nmea": _NMEA,
}


def foreign_stream(name: str) -> bytes:
    """One block of the stream of a fault that sends neither SPARTN nor RTCM 3."""
    return _FOREIGN[name]


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection by RST, as a network does that has lost its state."""
    sock = writer.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


_STALLS: Mapping[str, bytes] = {
    "stall": b"",
    "bad-chunks": b"xyz\r\n",
    "huge-chunk": b"8000000000000000\r\n",
}


def _parsed(request: bytes) -> tuple[str, dict[str, str]]:
    """Mountpoint and headers (lower-case names) of a request."""
    first, *lines = request.decode("latin-1").split("\r\n")
    words = first.split(" ")
    pairs = (line.partition(":") for line in lines if ":" in line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return (words[1].removeprefix("/") if len(words) == 3 else ""), headers


def _credentials(headers: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, coded = headers.get("authorization", "").partition(" ")
    try:
        pair = base64.b64decode(coded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    user, _, password = pair.partition(":")
    return (user, password) if scheme.lower() == "basic" else ("", "")
