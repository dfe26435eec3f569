"""A serial port under asyncio: exclusive, non-blocking, whole frames only, never stale.

pyserial opens and configures (``opening``); reading and writing go to the descriptor, since
pyserial's own write spins when a non-blocking port takes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ztpd.errors import (
    PortHung,
    PortLost,
)
from ztpd.serialport.opening import Opening, OpenPort, release
from ztpd.system.offload import offload

_READ_BYTES = 4096
_TTY_BUFFER_BYTES = 4096  # the kernel keeps so many for a reader, and more only for a while
_PAUSED, _FLOWING, _BEHIND = range(3)  # the last read: the line was quiet, busy, or faster than us
_USB_GATHER_S = 0.02  # a USB device sends a whole epoch at once
_BITS_PER_BYTE = 10  # 8N1: start, eight data, stop
KERNEL_QUEUE_S = 0.5  # of line time the kernel may hold: its buffers and a USB adapter's are deep
_DRAIN_S = 2.0  # for the kernel to send its bytes before a change of speed
DRAIN_GRACE_S = KERNEL_QUEUE_S + 0.2
"""After the last write; bytes that are held longer, the device does not take."""
_FINISH_S = 2.5  # for the frame begun to leave: 1.1 kB at 9600 baud behind a full kernel queue


class SerialPort:
    """One open port. Made by :meth:`open`; for one reader and any number of writers."""

    def __init__(self, port: OpenPort, path: str, queue_bytes: int, max_age_s: float) -> None:
        """Takes over ``port``, which is open and locked."""
        self.path = path
        self.baudrate: int = port.baudrate
        self.read_bytes = self.written_bytes = 0
        self.dropped_frames = 0
        self.queued_bytes = 0
        self._port = port
        self._fd: int = port.fileno()
        self._loop = asyncio.get_running_loop()
        self._lost = ""  # why, once it is
        self._reading: asyncio.Future[None] | None = None
        self._arriving = _PAUSED
        self._queue_bytes = queue_bytes
        self._max_age_s = max_age_s
        self._queue: deque[tuple[float, bytes, Callable[[bool], None]]] = deque()  # not begun
        self._rest = memoryview(b"")  # of the frame begun
        self._on_done: Callable[[bool], None] = _ignore  # of that frame
        self._resume: asyncio.TimerHandle | None = None
        self._sent_s = float("-inf")  # when the kernel was last given something
        self._emptied: list[asyncio.Future[None]] = []
        # USB CDC-ACM has no line speed: only the bus and its own flow control pace it.
        names = (Path(path).name, Path(os.path.realpath(path)).name)
        self._paced = not any(name.startswith("ttyACM") for name in names)
        self._set_pace()

    @classmethod
    async def open(
        cls,
        path: str,
        baudrate: int,
        *,
        timeout_s: float | None = 7.0,
        queue_bytes: int = 16384,
        max_age_s: float = 10.0,
        lock_directory: str = "/var/lock",
    ) -> SerialPort:
        """Open ``path`` raw, 8N1, at ``baudrate``, and keep everybody else out.

        ``queue_bytes`` and ``max_age_s`` bound the frames that wait. The lock is flock for
        those who flock too, and TIOCEXCL for those who do not; UUCP lock files in
        ``lock_directory`` are respected. Raises :class:`PortAbsent`, :class:`PortBusy`,
        :class:`PortPermission`, :class:`NotASerialPort`, :class:`PortLost`, and
        :class:`PortHung` after ``timeout_s``.
        """
        opening = Opening(path, baudrate, Path(lock_directory))
        try:
            port = await offload(opening.run, timeout_s=timeout_s)
            return cls(port, path, queue_bytes, max_age_s)
        except TimeoutError as error:
            opening.abandon()
            raise PortHung(f"{path} after {timeout_s:g} s") from error
        except asyncio.CancelledError:
            opening.abandon()
            raise

    async def read(self, *, gather_s: float = 0.0) -> bytes:
        """At least one byte. Raises :class:`PortLost`. One reader at a time.

        A UART gives its bytes in pieces of 16 and fewer. With ``gather_s`` the bytes of that time
        are read together, so the first of them is that much older: less where the kernel cannot
        keep so many, or where a USB device gives them all at once.
        """
        if gather_s:
            return await self._gather(self._window_s(gather_s))
        while True:
            await asyncio.sleep(0)  # a device that never pauses must not stop the daemon
            if data := self.read_now():
                return data
            await self._readable()

    async def _gather(self, window_s: float) -> bytes:
        """One wake-up for each window while bytes keep coming, and none while they do not."""
        while True:
            if self._arriving == _PAUSED:
                if self._lost:
                    raise self._gone()
                await self._readable()
            await asyncio.sleep(0 if self._arriving == _BEHIND else window_s)
            if not (data := self.read_now()):
                self._arriving = _PAUSED
                continue
            line_s = len(data) / self._bytes_per_s if self._paced else 0.0
            self._arriving = _FLOWING if line_s > window_s / 2 else _PAUSED
            if len(data) >= _TTY_BUFFER_BYTES - 1:
                self._arriving = _BEHIND
            return data

    def _window_s(self, gather_s: float) -> float:
        if not self._paced:
            return min(gather_s, _USB_GATHER_S)
        return min(gather_s, _TTY_BUFFER_BYTES / 2 / self._bytes_per_s)

    def read_now(self) -> bytes:
        """The bytes that the kernel has; b"" for none. Raises :class:`PortLost`."""
        if self._lost:
            raise self._gone()
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._fail(error.strerror) from error
        if not data:  # with VMIN 1 a tty says so only when it has hung up
            raise self._fail("hung up")
        self.read_bytes += len(data)
        return data

    @property
    def line_bytes_per_s(self) -> float | None:
        """The most that the line carries in one direction; None where only USB limits it."""
        return self.baudrate / _BITS_PER_BYTE if self._paced else None

    @property
    def lost(self) -> bool:
        """Whether the port is closed, or of no more use."""
        return bool(self._lost)

    def write(self, data: bytes, on_done: Callable[[bool], None] | None = None) -> None:
        """Queue ``data``, one whole frame. Raises :class:`PortLost`.

        Frames leave in order and whole. Above the bounds the oldest frames not yet begun are
        dropped and counted; the newest one is always kept. A port lost while writing tells so
        at the next call. ``on_done`` is called once: with True when the kernel has the last byte,
        with False where the frame was dropped or the port was lost first.
        """
        if self._lost:
            raise self._gone()
        if not data:
            return
        self._queue.append((self._loop.time(), data, on_done or _ignore))
        self.queued_bytes += len(data)
        while self.queued_bytes > self._queue_bytes and len(self._queue) > 1:
            self._drop_oldest()
        if self._resume is None:
            self._pump()

    async def drained(self) -> None:
        """Wait until all that was queued has been handed to the kernel (or dropped for age).
        Raises :class:`PortLost`."""
        if self._lost:
            raise self._gone()
        if self.queued_bytes:
            self._emptied.append(self._loop.create_future())
            await self._emptied[-1]

    async def set_baudrate(self, baudrate: int) -> None:
        """Change the speed after the bytes written before. Raises :class:`PortLost`.

        What the device does not take, although it had the time, is discarded.
        """
        await self.drained()
        if self._loop.time() - self._sent_s < DRAIN_GRACE_S:
            await self._drain()
        else:
            self._discard_output()
        try:
            self._port.baudrate = baudrate
            termios.tcflush(self._fd, termios.TCIFLUSH)  # earlier bytes do not count for it
        except (OSError, termios.error, ValueError) as error:
            raise self._fail(f"{baudrate} baud cannot be set") from error
        self.baudrate = baudrate
        self._set_pace()

    async def _drain(self) -> None:
        """Wait until the kernel has sent all its bytes. Raises :class:`PortLost`."""
        try:
            await offload(termios.tcdrain, self._fd, timeout_s=_DRAIN_S)
        except TimeoutError:
            self._discard_output()
        except termios.error as error:
            raise self._fail(str(error.args[-1])) from error
        if self._lost:
            raise self._gone()

    async def finish(self) -> None:
        """Let the frame begun leave, then close. The next program to speak would else be taken
        for the rest of that frame. Bounded; a device that takes nothing is not waited for."""
        while self._queue:
            self._drop_oldest()
        taking = self._loop.time() - self._sent_s < DRAIN_GRACE_S
        has_left = False
        try:
            if taking and not self._lost:
                async with asyncio.timeout(_FINISH_S):
                    await self.drained()
                    await self._drain()
                    has_left = True
        except (TimeoutError, PortLost):
            pass
        finally:
            self._close(discard=not has_left)

    def close(self) -> None:
        """Give the port back. Bytes not sent are discarded: a close that waits for a device that
        takes nothing would stop the whole daemon for half a minute."""
        self._close(discard=True)

    def _close(self, *, discard: bool) -> None:
        self._fail("closed")
        if self._port.is_open:
            if discard:
                self._discard_output()
            release(self._port)

    def _gone(self) -> PortLost:
        return PortLost(f"{self.path}, {self._lost}")

    def _fail(self, why: str | None) -> PortLost:
        """The port is unusable; end all waits with the error."""
        if not self._lost:
            self._lost = why or "for an unknown reason"
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            if self._resume is not None:
                self._resume.cancel()
            for waiter in (*self._emptied, self._reading):
                if waiter is not None and not waiter.done():
                    waiter.set_exception(self._gone())
            if self._rest:
                self._on_done(False)
            for _, _, on_done in self._queue:
                on_done(False)
            self._queue.clear()
        return self._gone()

    async def _readable(self) -> None:
        if self._reading is not None:
            raise RuntimeError(f"two readers on {self.path}")
        self._reading = self._loop.create_future()
        self._loop.add_reader(self._fd, _settle, self._reading)
        try:
            await self._reading
        finally:
            self._reading = None
            if not self._lost:
                self._loop.remove_reader(self._fd)

    def _pump(self) -> None:
        """Hand over what the pace allows and the kernel takes; come back when there is more."""
        self._resume = None
        while self._begin():
            allowed = self._allowance()
            if allowed < 1:
                self._loop.remove_writer(self._fd)
                self._resume = self._loop.call_later(KERNEL_QUEUE_S / 2, self._pump)
                return
            try:
                count = os.write(self._fd, self._rest[:allowed])
            except BlockingIOError:
                self._loop.add_writer(self._fd, self._pump)
                return
            except OSError as error:
                self._fail(error.strerror)
                return
            self._rest = self._rest[count:]
            self._allowed -= count
            self._sent_s = self._loop.time()
            self.written_bytes += count
            self.queued_bytes -= count
            if not self._rest:
                self._on_done(True)
        self._loop.remove_writer(self._fd)
        for waiter in self._emptied:
            _settle(waiter)
        self._emptied.clear()

    def _begin(self) -> bool:
        """Whether there is something to send: the rest of a frame, else a next one."""
        if self._rest:
            return True
        while self._queue and self._loop.time() - self._queue[0][0] > self._max_age_s:
            self._drop_oldest()
        if not self._queue:
            return False
        _, data, self._on_done = self._queue.popleft()
        self._rest = memoryview(data)
        return True

    def _drop_oldest(self) -> None:
        _, data, on_done = self._queue.popleft()
        self.queued_bytes -= len(data)
        self.dropped_frames += 1
        on_done(False)

    def _set_pace(self) -> None:
        self._bytes_per_s = self.baudrate / _BITS_PER_BYTE
        self._allowed = self._bytes_per_s * KERNEL_QUEUE_S
        self._allowed_at = self._loop.time()

    def _allowance(self) -> int:
        """How many bytes may go to the kernel now: what the line has sent since, and no more
        than it sends in ``KERNEL_QUEUE_S``."""
        if not self._paced:
            return len(self._rest)
        now, most = self._loop.time(), self._bytes_per_s * KERNEL_QUEUE_S
        self._allowed = min(most, self._allowed + (now - self._allowed_at) * self._bytes_per_s)
        self._allowed_at = now
        return int(self._allowed)

    def _discard_output(self) -> None:
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self._fd, termios.TCOFLUSH)


def _ignore(_: bool) -> None:
    """Does nothing at the end of a frame."""


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
