"""The device's end of a serial line: a pseudo-terminal with a stable name.

The host opens :attr:`Pty.path`, a symbolic link such as udev makes in ``/dev/serial/by-id``; the
simulated device reads and writes the master side. Unplugging closes it, so the host sees a
hang-up; plugging in again makes a new terminal with the same name.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
import tty
from pathlib import Path
from types import TracebackType

_TIOCGEXCL = 0x80045440  # linux/ioctls.h; not in the termios module
_SPEEDS = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name[0] == "B" and name[1:].isdigit()
}


class Pty:
    """One serial line.

    The simulator keeps the host's end open too, since reads on the device's end fail while no host
    has the port open. It reads nothing ahead, so a device that does not read makes the host's
    writes wait, as flow control does.
    """

    def __init__(self, path: str | Path) -> None:
        """``path`` becomes the symbolic link; nothing exists before :meth:`plug`."""
        self.path = str(path)
        self._device: int | None = None  # master side
        self._host: int | None = None  # slave side
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Pty:
        self.plug()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unplug()

    @property
    def plugged(self) -> bool:
        return self._device is not None

    @property
    def terminal(self) -> str:
        """The name behind the link, "/dev/pts/7"; it changes with every plug."""
        return os.ttyname(self._host_fd())

    def plug(self) -> None:
        """Make the port appear. A port that is there stays as it is."""
        if self._device is not None:
            return
        self._device, self._host = os.openpty()
        tty.setraw(self._host)  # a new pty echoes: the device would receive its own output
        os.set_blocking(self._device, False)
        link = Path(self.path)
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.terminal)
        fresh.replace(link)
        if self._reading is not None:
            asyncio.get_running_loop().add_reader(self._device, _settle, self._reading)

    def unplug(self) -> None:
        """Make the port vanish: a program that has it open sees a hang-up."""
        if self._device is None or self._host is None:
            return
        if self._reading is not None:
            asyncio.get_running_loop().remove_reader(self._device)
        if self._writing is not None:
            asyncio.get_running_loop().remove_writer(self._device)
            _settle(self._writing)
        link = Path(self.path)
        if link.is_symlink() and link.readlink() == Path(self.terminal):
            link.unlink()
        os.close(self._host)
        os.close(self._device)
        self._device = self._host = None

    def replug(self) -> None:
        """Unplug, and come back as another terminal with the same name."""
        old = self.terminal if self.plugged else None
        self.unplug()
        holder = os.open(old, os.O_RDWR | os.O_NOCTTY) if old and Path(old).exists() else None
        try:
            self.plug()  # a holder keeps the number from being reused
        finally:
            if holder is not None:
                os.close(holder)

    async def read(self, limit: int = 4096) -> bytes:
        """Bytes from the host: at least one, at most ``limit``. One reader at a time.

        While the port is unplugged this waits for it to be plugged again.
        """
        while True:
            if self._device is not None:
                try:
                    return os.read(self._device, limit)
                except BlockingIOError:
                    pass
            await self._readable()

    def pending(self) -> int:
        """The number of bytes from the host that the device has not read yet."""
        if self._device is None:
            return 0
        select.select([self._device], [], [], 0)  # makes the kernel deliver pending bytes
        answer = fcntl.ioctl(self._device, termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])

    async def write(self, data: bytes) -> None:
        """Send ``data`` to the host, as fast as it reads; bytes written while unplugged, or cut off
        by an unplug, are lost."""
        async with self._turn:
            device, rest = self._device, memoryview(data)
            while rest and device is not None and self._device == device:
                rest = rest[_give(device, rest) :]
                if rest:
                    await self._writable(device)

    def send(self, data: bytes) -> None:
        """Send ``data`` to the host without waiting; bytes that do not fit are lost."""
        if self._device is not None:
            _give(self._device, memoryview(data))

    @property
    def baudrate(self) -> int:
        """The speed that the host set, in baud; 0 if it set none or the port is unplugged."""
        if self._host is None:
            return 0
        return _SPEEDS.get(termios.tcgetattr(self._host)[5], 0)

    @property
    def exclusive(self) -> bool:
        """Whether a host set TIOCEXCL. A pty keeps the flag after that process has ended."""
        answer = fcntl.ioctl(self._host_fd(), _TIOCGEXCL, struct.pack("i", 0))
        return bool(struct.unpack("i", answer)[0])

    def clear_exclusive(self) -> None:
        """Clear TIOCEXCL, as the last close of a real port does."""
        fcntl.ioctl(self._host_fd(), termios.TIOCNXCL)

    def users(self) -> list[int]:
        """The processes that have the port open: a pid for each descriptor, except our own."""
        own, terminal = f"/proc/{os.getpid()}/fd/{self._host_fd()}", os.fstat(self._host_fd())
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # another user's process, or it has ended
                for entry in (process / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        if os.path.samestat(entry.stat(), terminal) and str(entry) != own:
                            found.append(int(process.name))
        return found

    def _host_fd(self) -> int:
        if self._host is None:
            raise OSError(errno.ENODEV, f"{self.path} is unplugged")
        return self._host

    async def _readable(self) -> None:
        if self._reading is not None:
            raise RuntimeError(f"two readers on {self.path}")
        loop = asyncio.get_running_loop()
        self._reading = loop.create_future()
        if self._device is not None:
            loop.add_reader(self._device, _settle, self._reading)
        try:
            await self._reading
        finally:
            self._reading = None
            if self._device is not None:
                loop.remove_reader(self._device)

    async def _writable(self, device: int) -> None:
        loop = asyncio.get_running_loop()
        self._writing = loop.create_future()
        loop.add_writer(device, _settle, self._writing)
        try:
            await self._writing
        finally:
            self._writing = None
            if self._device == device:
                loop.remove_writer(device)


def _give(device: int, data: memoryview) -> int:
    try:
        return os.write(device, data)
    except BlockingIOError:
        return 0


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
