"""The device's end of a Unix socket: the line on which ModemManager's test interface reaches a
simulated modem."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path


class UnixSocketLine:
    """The line of a :class:`ztpd.sim.modem.Engine`, for one host at a time.

    Unplugging ends the connection and removes the socket.
    """

    baudrate = 0  # a socket has no speed

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._listener: socket.socket | None = None
        self._host: socket.socket | None = None
        self._plugged = asyncio.Event()

    def plug(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._plugged.set()

    def unplug(self) -> None:
        self._plugged.clear()
        for end in (self._host, self._listener):
            if end is not None:
                end.close()
        self._host = self._listener = None
        Path(self.path).unlink(missing_ok=True)

    async def read(self, limit: int = 4096) -> bytes:
        """At least one byte from the host. While there is no host, waits for one."""
        loop = asyncio.get_running_loop()
        while True:
            await self._plugged.wait()
            if self._host is None and self._listener is not None:
                await _readable(self._listener.fileno())
                with contextlib.suppress(BlockingIOError):
                    self._host, _ = self._listener.accept()
                    self._host.setblocking(False)
            data = b""
            if self._host is not None:
                with contextlib.suppress(ConnectionError):
                    data = await loop.sock_recv(self._host, limit)
            if data:
                return data
            if self._host is not None:
                self._host.close()
                self._host = None

    async def write(self, data: bytes) -> None:
        """Send ``data`` to the host; without a host it is lost."""
        if self._host is not None:
            with contextlib.suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(self._host, data)


async def _readable(fd: int) -> None:
    """What ``sock_accept`` has accepted, a cancellation in that instant would lose."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
