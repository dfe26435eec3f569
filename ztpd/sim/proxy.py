"""Simulates a bad line: a TCP proxy that delays, slows, cuts, discards and regroups bytes.

It works with any protocol over TCP. Each direction has its own :class:`Line`, which may be changed
during connections.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

_BLOCK = 16_384
_IN_FLIGHT = 1 << 18  # bytes on the line; beyond it the sender waits, as for a TCP window


@dataclass(frozen=True, slots=True)
class Line:
    """The faults of one direction. Offsets count from the first byte of a connection."""

    latency_s: float = 0.0
    bytes_per_s: float = 0.0  # 0: no limit
    piece: int = 0  # at most so many bytes at a time, each as a segment of its own; 0: any
    coalesce_s: float = 0.0  # collect for this time, then deliver all at once
    cut_at: int | None = None  # bytes delivered, then both sides see an orderly end
    reset_at: int | None = None  # bytes delivered, then both sides see a reset
    silent_at: int | None = None  # bytes delivered, then nothing, and no end: half-open

    def room(self, sent: int) -> int:
        """The number of bytes that may be delivered after ``sent``."""
        ends = (self.cut_at, self.reset_at, self.silent_at)
        return max(0, min((end for end in ends if end is not None), default=sys.maxsize) - sent)


GOOD = Line()

BAD_LINES: Mapping[str, tuple[str, Line]] = {
    "latency": ("bytes take 300 ms", Line(latency_s=0.3)),
    "rate": ("the line carries 64 kbit/s", Line(bytes_per_s=8000)),
    "split": ("every byte arrives in a segment of its own", Line(piece=1)),
    "coalesce": ("bytes arrive in bursts, 2 s apart", Line(coalesce_s=2.0)),
}
"""Bad lines towards the client that still work, each with its description."""


class FaultProxy:
    """Listens on loopback and passes every connection on to ``host:port``.

        async with FaultProxy("127.0.0.1", caster.port, to_client=Line(piece=1)) as proxy:
            connect to proxy.port

    ``connections`` counts accepted connections, ``alive`` the open ones; ``carried`` has the bytes
    delivered to the client and to the server.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        to_client: Line = GOOD,
        to_server: Line = GOOD,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.to_client, self.to_server = to_client, to_server
        self.port = 0
        self.connections = 0
        self.carried = [0, 0]
        self._target = (host, port)
        self._say = say
        self._alive: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def alive(self) -> int:
        return len(self._alive)

    async def listen(self) -> None:
        """Accept connections, again on the same port after :meth:`refuse`."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Refuse new connections, like a machine whose server is down."""
        if self._server:
            self._server.close()

    def cut(self) -> None:
        """End every connection in an orderly way, now."""
        self._end_all("cut", reset=False)

    def reset(self) -> None:
        """Reset every connection, now."""
        self._end_all("reset", reset=True)

    def go_silent(self) -> None:
        """Discard all bytes in both directions from now on, without closing a connection."""
        self.to_client = replace(self.to_client, silent_at=0)
        self.to_server = replace(self.to_server, silent_at=0)
        self._say("the line went silent")

    def half_open(self) -> None:
        """Leave every present connection half-open; new ones work."""
        self._say("the line drops its connections without closing them")
        for connection in self._alive:
            connection.stranded = True

    def heal(self) -> None:
        """Make the line good again, for connections that still exist: TCP repeats a FIN, too."""
        self.to_client = self.to_server = GOOD
        for connection in self._alive:
            connection.repeat_fins()
        self._say("the line is good again")

    def _end_all(self, how: str, *, reset: bool) -> None:
        self._say(f"the line was {how}")
        for connection in list(self._alive):
            connection.end(reset=reset)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._dial()
        except OSError:
            _reset(writer)
            return
        self._writers.add(far_writer)
        connection = _Connection(writer, far_writer)
        self._alive.add(connection)
        directions = [
            asyncio.create_task(self._copy(connection, reader, far_writer, 1)),
            asyncio.create_task(self._copy(connection, far_reader, writer, 0)),
        ]
        try:
            await asyncio.gather(*directions)
        except OSError:
            connection.end(reset=True)
        finally:
            connection.end(reset=False)
            self._alive.discard(connection)
            for each in directions:
                each.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket(socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._target)
        except BaseException:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock)

    def _line(self, direction: int) -> Line:
        return self.to_server if direction else self.to_client

    async def _copy(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: int,
    ) -> None:
        """One direction: queues the bytes read, each with its time of delivery."""
        flight = _Flight()
        landing = asyncio.create_task(self._land(connection, flight, writer, direction))
        try:
            while data := await reader.read(_BLOCK):
                await flight.take(data, self._line(direction).latency_s)
            await flight.take(b"", self._line(direction).latency_s)
            await landing
        finally:
            landing.cancel()
            await asyncio.gather(landing, return_exceptions=True)

    async def _land(
        self,
        connection: _Connection,
        flight: _Flight,
        writer: asyncio.StreamWriter,
        direction: int,
    ) -> None:
        sent = 0
        while data := await flight.next(self._line(direction).coalesce_s):
            for piece in _pieces(data, self._line(direction)):
                line = self._line(direction)
                part = b"" if connection.stranded else piece[: line.room(sent)]
                writer.write(part)
                await writer.drain()
                sent += len(part)
                self.carried[direction] += len(part)
                if line.room(sent) == 0 and line.silent_at is None:
                    connection.end(reset=line.reset_at is not None and sent >= line.reset_at)
                    return
                # Without a pause the kernel would join the pieces into one segment.
                await asyncio.sleep(len(part) / line.bytes_per_s if line.bytes_per_s else 0)
        if connection.stranded:
            return
        if self._line(direction).silent_at is not None:
            connection.unheard.append(writer)
        elif writer.can_write_eof():
            writer.write_eof()


class _Connection:
    """The two ends of one connection; compared by identity."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.stranded = False
        self.unheard: list[asyncio.StreamWriter] = []  # ends that missed the other one's FIN
        self._ends = (near, far)

    def repeat_fins(self) -> None:
        while self.unheard:
            writer = self.unheard.pop()
            if writer.can_write_eof():
                writer.write_eof()

    def end(self, *, reset: bool) -> None:
        for writer in self._ends:
            if reset:
                _reset(writer)
            else:
                writer.close()


class _Flight:
    """Bytes on the line, oldest first, each with its time of delivery; b"" is the end."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._changed = asyncio.Condition()

    async def take(self, data: bytes, latency_s: float) -> None:
        due_s = asyncio.get_running_loop().time() + latency_s
        async with self._changed:
            await self._changed.wait_for(lambda: self._bytes < _IN_FLIGHT)
            self._blocks.append((due_s, data))
            self._bytes += len(data)
            self._changed.notify_all()

    async def next(self, coalesce_s: float) -> bytes:
        """The next bytes to deliver, joined if the line joins them; b"" at the end, each time."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._blocks)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._blocks[0][0] - loop.time(), coalesce_s))
        data = b""
        while self._blocks and self._blocks[0][0] <= loop.time() and self._blocks[0][1]:
            data += self._blocks.popleft()[1]
            if not coalesce_s:
                break
        async with self._changed:
            self._bytes -= len(data)
            self._changed.notify_all()
        return data


def _pieces(data: bytes, line: Line) -> list[bytes]:
    size = line.piece or len(data)
    if line.bytes_per_s:
        size = min(size, max(1, int(line.bytes_per_s / 20)))
    return [data[at : at + size] for at in range(0, len(data), size)]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the peer sees a reset: no lingering (RFC 793 3.5, "abort")."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
