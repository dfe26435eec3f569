"""An MQTT broker of bytes, for what no real broker does: wrong answers, floods, silence.

It has no logic of its own. A test gives it a script, a coroutine that talks to one client::

    async def refuses(client: Peer) -> None:
        await client.packet()            # CONNECT
        client.send(connack(5))

    async with FakeBroker(refuses) as broker: ...

Packets as in MQTT 3.1.1, section 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import NamedTuple, Self

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 0x80, 0x90, 0xC0, 0xD0, 0xE0

REFUSED = 0x80
"""A SUBACK code."""


class Packet(NamedTuple):
    """One packet: its type (the upper four bits of the first byte), and what follows the length."""

    type: int
    body: bytes


def packet(first: int, body: bytes = b"") -> bytes:
    """A packet with ``first`` as its first byte, flags included."""
    return bytes((first,)) + remaining_length(len(body)) + body


def remaining_length(count: int) -> bytes:
    """Section 2.2.3: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while True:
        count, low = divmod(count, 128)
        encoded.append(low | 0x80 if count else low)
        if not count:
            return bytes(encoded)


def connack(code: int = 0) -> bytes:
    return packet(CONNACK, bytes((0, code)))


def suback(identifier: int, codes: Iterable[int]) -> bytes:
    return packet(SUBACK, struct.pack("!H", identifier) + bytes(codes))


def publish(
    topic: str,
    payload: bytes,
    *,
    identifier: int | None = None,
    retain: bool = False,
    duplicate: bool = False,
) -> bytes:
    """A message; with an ``identifier`` it is sent with QoS 1."""
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name
    if identifier is not None:
        body += struct.pack("!H", identifier)
    first = PUBLISH | duplicate << 3 | (identifier is not None) << 1 | retain
    return packet(first, body + payload)


class Peer:
    """The connection with one client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def packet(self) -> Packet:
        """The client's next packet. Raises EOFError when it has closed the connection."""
        try:
            first = (await self._reader.readexactly(1))[0]
            count = shift = 0
            more = True
            while more:
                byte = (await self._reader.readexactly(1))[0]
                count |= (byte & 0x7F) << shift
                shift, more = shift + 7, bool(byte & 0x80)
            return Packet(first & 0xF0, await self._reader.readexactly(count))
        except asyncio.IncompleteReadError as error:
            raise EOFError from error

    async def expect(self, kind: int) -> Packet:
        """The client's next packet, which must be of that type."""
        found = await self.packet()
        if found.type != kind:
            raise AssertionError(f"packet type {found.type:#x}, expected {kind:#x}")
        return found

    async def accept(self, *refused: str) -> list[str]:
        """Log the client in, and grant what it subscribes to except ``refused``; its topics."""
        await self.expect(CONNECT)
        self.send(connack())
        identifier, topics = subscribed(await self.expect(SUBSCRIBE))
        codes = [REFUSED if topic in refused else asked for topic, asked in topics.items()]
        self.send(suback(identifier, codes))
        return list(topics)

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def reset(self) -> None:
        """End the connection by a TCP reset."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


def subscribed(packet: Packet) -> tuple[int, dict[str, int]]:
    """Identifier of a SUBSCRIBE packet, and the QoS asked for by topic."""
    topics: dict[str, int] = {}
    at = 2
    while at < len(packet.body):
        end = at + 2 + int.from_bytes(packet.body[at : at + 2], "big")
        topics[packet.body[at + 2 : end].decode()] = packet.body[end]
        at = end + 1
    return int.from_bytes(packet.body[:2], "big"), topics


Script = Callable[[Peer], Awaitable[None]]


class FakeBroker:
    """Listens on loopback and plays ``script`` to every client; closes when the script ends."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port = "127.0.0.1", 0
        self.sessions = 0
        self._script = script
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._playing: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._play, self.host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raises what a script raised, unless the block itself failed."""
        assert self._server is not None  # noqa: S101 - entered
        self._server.close()
        for task in self._playing:
            task.cancel()
        if self._playing:
            await asyncio.wait(self._playing)
        if self._error is not None and error is None:
            raise self._error

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - streams run this in a task
        self._playing.add(task)
        self.sessions += 1
        try:
            await self._script(Peer(reader, writer))
        except (EOFError, ConnectionError):
            pass  # the client left
        except asyncio.CancelledError:
            writer.transport.abort()
        except BaseException as error:  # noqa: BLE001 - raised on exit, where the test sees it
            self._error = error
        finally:
            self._playing.discard(task)
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()
