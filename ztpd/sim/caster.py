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
from typing import Self

from ztpd.sim.caster_answers import (
    FAULTS,
    HEADS,
    OUTSIDE,
    REFUSALS,
    STALLS,
    Form,
    coded,
    sourcetable,
    spoilt,
    status,
)
from ztpd.wire import nmea

Feed = Callable[[], AsyncIterator[bytes]]
"""Called once for each session; every item is one block of the stream, a frame or more."""

_STALL_BYTES = 2048
_SHORT_LIFE_S = 10.0
_RESET_S = 20.0
_HEAD_LIMIT = 8192


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
    last one. ``users`` None admits every user, in any number of sessions; else each user has one,
    and a second connection ends the first. ``fault`` (of :data:`FAULTS`, "" for none) holds for
    connections made from then on. With ``ban`` an address is banned as RTK2go does: after so many
    failed connections without a successful one between them.

    One class because tests read its counters, and change its faults, while it serves.
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
                refusal = status("400 Bad Request")
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
            return REFUSALS["banned"]
        canned = REFUSALS.get(self.fault)
        if canned is not None:
            return canned
        if self.fault == "no-accept" and "accept" not in headers:
            return status("403 Forbidden")
        if self.fault == "no-version" and "ntrip-version" not in headers:
            return status("404 Not Found")
        if self.fault == "cut-table":
            return sourcetable(self.streams, headers, needs_gga=self.needs_gga)[:-60]
        if self.fault == "gga-first" and "ntrip-gga" not in headers:
            return status("401 Unauthorized")
        if self.fault == "sourcetable" or mountpoint not in self.streams:
            return sourcetable(self.streams, headers, needs_gga=self.needs_gga)
        if self.users is not None and (not user or self.users.get(user) != password):
            if self.fault == "table-for-password":
                return sourcetable(self.streams, headers, needs_gga=self.needs_gga)
            return status("401 Unauthorized", 'WWW-Authenticate: Basic realm="sim"')
        return None

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
        writer.write(HEADS[form])
        located = asyncio.Event()
        sentence = headers.get("ntrip-gga", "")
        if sentence and self._note(sentence, user, in_request=True):
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
            self._say(f"caster received the position {fields[2]}{fields[3]} {fields[4]}{fields[5]}")
        return True

    async def _send(
        self, writer: asyncio.StreamWriter, mountpoint: str, form: str, located: asyncio.Event
    ) -> None:
        if self.needs_gga:
            await located.wait()
        if self.fault == "silent":
            await asyncio.get_running_loop().create_future()
        if self.fault in ("empty", "outside"):
            writer.write(OUTSIDE if self.fault == "outside" else b"")
            return
        self.sessions += 1
        self.failed_in_a_row = 0
        sent = 0
        async for block in spoilt(self.streams[mountpoint](), self.fault, self._rng):
            if self.fault in STALLS and sent + len(block) > _STALL_BYTES:
                writer.write(
                    coded(block[: _STALL_BYTES - sent], form, self._rng) + STALLS[self.fault]
                )
                await asyncio.get_running_loop().create_future()
            writer.write(coded(block, form, self._rng))
            await writer.drain()
            sent += len(block)
        if form in ("chunked", "odd"):
            writer.write(b"0\r\n\r\n" if form == "chunked" else b"00;end\r\nX-Sum: 0\r\n\r\n")
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection by RST, as a network does that has lost its state."""
    sock = writer.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


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
