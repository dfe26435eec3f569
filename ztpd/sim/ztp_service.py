"""The provisioning service on loopback, with faults on request.

It has its own HTTP/1.1, with one request for each connection, because no HTTP library sends most of
the faults.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self

from ztpd.sim.authority import Authority
from ztpd.sim.portal import Portal, Profile, Thing, asked_for


@dataclass(frozen=True, slots=True)
class Call:
    """One request and its answer. The token is not stored."""

    path: str
    headers: Mapping[str, str] = field(repr=False)
    hardware_id: str
    given_name: str
    tags: tuple[str, ...]
    status: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Sends this answer and does nothing else."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"answers {self.status}"


@dataclass(frozen=True, slots=True)
class Silence:
    """Sends nothing until the client closes."""

    stage: Literal["handshake", "response"] = "response"

    def __str__(self) -> str:
        return f"is silent instead of its {self.stage}"


@dataclass(frozen=True, slots=True)
class Reset:
    """Resets the connection: before TLS, before the answer, or in the middle of its body."""

    stage: Literal["handshake", "response", "body"] = "response"

    def __str__(self) -> str:
        return f"resets the connection, stage {self.stage}"


@dataclass(frozen=True, slots=True)
class Cut:
    """Processes the request, and closes after byte ``at`` of the answer, head included."""

    at: int

    def __str__(self) -> str:
        return f"cuts its answer after {self.at} bytes"


@dataclass(frozen=True, slots=True)
class Drip:
    """Processes the request, and sends the answer's body byte by byte."""

    interval_s: float = 1.0

    def __str__(self) -> str:
        return f"sends a byte every {self.interval_s:g} s"


@dataclass(frozen=True, slots=True)
class Huge:
    """Sends a body of ``size`` bytes, announced beforehand or not."""

    size: int = 200 * 1024 * 1024
    announced: bool = False

    def __str__(self) -> str:
        return f"sends a body of {self.size} bytes"


@dataclass(frozen=True, slots=True)
class Bomb:
    """Sends ``size`` zeros in a coding that the client did not accept."""

    size: int = 200 * 1024 * 1024
    coding: Literal["gzip", "deflate"] = "gzip"

    def __str__(self) -> str:
        return f"sends {self.size} bytes in {self.coding}"


Fault = Answer | Silence | Reset | Cut | Drip | Huge | Bomb

FAULTS: Mapping[str, Fault] = {
    "bomb": Bomb(),
    "cut": Cut(600),
    "drip": Drip(),
    "html": Answer(200, "<html><title>Welcome to the hotel</title></html>"),
    "huge": Huge(),
    "not-json": Answer(200, "certainly"),
    "redirect": Answer(302, headers={"Location": "https://login.example/"}),
    "reset": Reset(),
    "silence": Silence(),
    "throttled": Answer(429, "Too Many Requests", {"Retry-After": "5"}),
    "unavailable": Answer(503, "<html><body>Service Unavailable</body></html>"),
}


class ZtpService:
    """Listens on loopback, with TLS if there is an ``authority``.

        async with ZtpService(Authority(), profile=Profile(format="spartn")) as service:
            service.script.append(Reset("body"))

    Each call takes one fault from ``script``, which may grow at any time; without one
    :attr:`portal` answers.
    """

    def __init__(
        self,
        authority: Authority | None = None,
        *,
        profile: Profile | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        broker_host: str = "localhost",
        caster_host: str = "localhost",
        caster_ports: tuple[int, int] = (2101, 2102),
        script: Iterable[Fault] = (),
        now: Callable[[], float] = time.time,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``tls`` is used in place of a context of the ``authority``; see :class:`Portal`."""
        self.portal = Portal(
            profile or Profile(),
            authority,
            broker_host=broker_host,
            caster_host=caster_host,
            caster_ports=caster_ports,
            now=now,
            say=say,
        )
        self.script: deque[Fault] = deque(script)
        self.calls: list[Call] = []
        self.connections = 0
        self.requests = 0  # heads that arrived
        self.port = port
        self._tls = tls or (authority.server_context() if authority else None)
        self._say = say
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    @property
    def things(self) -> Mapping[str, Thing]:
        """The Things created, by hardware code."""
        return self.portal.things

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    async def __aenter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._listener.setblocking(False)
        # As HTTP servers do; asyncio sets it only on sockets it has opened itself.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept(self._listener))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener:
            self._listener.close()

    def _start(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            self.connections += 1
            self._start(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self.script and getattr(self.script[0], "stage", "") == "handshake":
            fault = self.script.popleft()
            self._say(str(fault))
            with connection, suppress(OSError):
                if isinstance(fault, Reset):
                    _linger_not(connection)
                else:
                    while await loop.sock_recv(connection, 4096):
                        pass
            return
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls
            )
        except OSError:  # such as a client that refuses the certificate
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._converse(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client closed
        finally:
            with suppress(AttributeError):  # Python 3.11.2 keeps nothing of TLS that is closed
                transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.requests += 1
        method, path, _ = head[0].split(" ", 2)
        fields = (line.partition(":") for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        fault = self.script.popleft() if self.script else None
        if fault:
            self._say(str(fault))
        match fault:
            case Silence():
                await reader.read()
            case Reset("response"):
                _reset(writer)
            case Answer(status, text, extra):
                self._note(path, headers, body, status)
                writer.write(_response(status, text.encode(), extra))
            case Huge(size, announced):
                announcement = {"Content-Length": str(size)} if announced else {}
                writer.write(_head(200, announcement))
                await _pour(writer, (bytes(65_536) for _ in range(size // 65_536)))
            case Bomb(size, coding):
                writer.write(_head(200, {"Content-Encoding": coding}))
                await _pour(writer, _compressed(size, coding))
            case _:
                status, answer = self.portal.answer(method, path, headers, body)
                self._note(path, headers, body, status)
                await _send(writer, _response(status, answer), fault)

    def _note(self, path: str, headers: Mapping[str, str], body: bytes, status: int) -> None:
        asked = asked_for(body)
        self.calls.append(
            Call(
                path=path,
                headers=headers,
                hardware_id=str(asked.get("hardwareId", "")),
                given_name=str(asked.get("givenName", "")),
                tags=tuple(map(str, asked.get("tags", ()))),
                status=status,
            )
        )


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    phrase = HTTPStatus(status).phrase
    fields = {"Connection": "close", "Content-Type": "application/json"} | dict(headers)
    lines = (f"HTTP/1.1 {status} {phrase}", *(f"{name}: {text}" for name, text in fields.items()))
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    return _head(status, {"Content-Length": str(len(body))} | dict(headers or {})) + body


async def _send(writer: asyncio.StreamWriter, response: bytes, fault: Fault | None) -> None:
    body_at = response.index(b"\r\n\r\n") + 4
    match fault:
        case Cut(at):
            writer.write(response[:at])
        case Reset():
            writer.write(response[: body_at + 1])
            await writer.drain()
            await asyncio.sleep(0.05)  # a reset discards bytes that the client has not read
            _reset(writer)
        case Drip(interval_s):
            writer.write(response[:body_at])
            for place in range(body_at, len(response)):
                await asyncio.sleep(interval_s)
                writer.write(response[place : place + 1])
                await writer.drain()
        case _:
            writer.write(response)


async def _pour(writer: asyncio.StreamWriter, blocks: Iterable[bytes]) -> None:
    """Send ``blocks`` while the client reads them."""
    for block in blocks:
        writer.write(block)
        await writer.drain()
        await asyncio.sleep(0)  # with drain alone the loop never notices that the client closed


def _compressed(size: int, coding: str) -> Iterable[bytes]:
    squeeze = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    for _ in range(size // 65_536):
        yield squeeze.compress(bytes(65_536))
    yield squeeze.flush()


def _reset(writer: asyncio.StreamWriter) -> None:
    _linger_not(writer.get_extra_info("socket"))
    writer.transport.abort()


def _linger_not(connection: Any) -> None:
    """Closing sends a reset from now on."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
