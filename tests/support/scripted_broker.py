"""An MQTT broker that plays a script: wrong answers, floods, silence, which no real broker sends.

The script is a coroutine of the test that talks to one client::

    async def refuses(client: Peer) -> None:
        await client.expect(CONNECT)
        client.send(connack(5))

    async with ScriptedBroker(refuses) as broker: ...
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from ztpd.sim.mqtt_packets import (
    CONNECT,
    REFUSED,
    SUBSCRIBE,
    Packet,
    connack,
    read_packet,
    suback,
    subscribed,
)


class Peer:
    """The connection with one client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def packet(self) -> Packet:
        """The client's next packet. Raises EOFError when it has closed the connection."""
        return await read_packet(self._reader)

    async def expect(self, kind: int) -> Packet:
        """The client's next packet. Raises AssertionError if it is of another type."""
        found = await self.packet()
        if found.type != kind:
            raise AssertionError(f"packet type {found.type:#x}, expected {kind:#x}")
        return found

    async def accept(self, *refused: str) -> list[str]:
        """Log the client in, refuse the subscriptions ``refused``; returns the topics asked for."""
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

    @property
    def alpn(self) -> str | None:
        """The protocol that the TLS handshake agreed on."""
        secured = self._writer.get_extra_info("ssl_object")
        return None if secured is None else str(secured.selected_alpn_protocol() or "") or None

    def stop_reading(self) -> None:
        transport: asyncio.ReadTransport = self._writer.transport  # type: ignore[assignment]
        transport.pause_reading()


Script = Callable[[Peer], Awaitable[None]]


class ScriptedBroker:
    """Listens on loopback and plays ``script`` to every client; closes when the script ends.

    ``narrow``: the kernel holds a few kilobytes of a connection, as on a mobile link; on loopback
    it would hold megabytes.
    """

    def __init__(
        self,
        script: Script,
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        narrow: bool = False,
    ) -> None:
        self.host, self.port = "127.0.0.1", port
        self._narrow = narrow
        self.sessions = 0
        self._script = script
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._playing: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._play, self.host, self.port, ssl=self._tls)
        (listening,) = self._server.sockets
        self.port = listening.getsockname()[1]
        if self._narrow:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raises the error of a script, unless the block itself failed."""
        if self._server is not None:
            self._server.close()
        for task in self._playing:
            task.cancel()
        if self._playing:
            await asyncio.wait(self._playing)
        if self._error is not None and error is None:
            raise self._error

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._playing.add(task)
            task.add_done_callback(self._playing.discard)
        self.sessions += 1
        try:
            await self._script(Peer(reader, writer))
        except (EOFError, ConnectionError):
            pass  # the client left
        except asyncio.CancelledError:
            writer.transport.abort()
        except BaseException as error:
            self._error = error
        finally:
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()
