"""A serial port under asyncio: exclusive, non-blocking, whole frames only, never stale.

pyserial opens and configures (``opening``); reading and writing go to the descriptor, since
pyserial's own write spins when a non-blocking port takes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from pathlib import Path
from typing import Protocol

from ztpd.errors import PortHung, PortLost
from ztpd.serialport.gathering import Arrival, Gathering
from ztpd.serialport.opening import Opening, OpenPort, others_end, release
from ztpd.serialport.output import (
    BITS_PER_BYTE,
    KERNEL_QUEUE_S,
    FrameQueue,
    OnDone,
    Pace,
)
from ztpd.serialport.waiting import Waiting
from ztpd.system.offload import offload

_READ_BYTES = 4096
_BURST_BYTES = 4096  # of frames that are gathered until the event loop's next turn
_MOST_PARTS = 64  # of one write; the kernel takes 1024
_DRAIN_S = 2.0  # for the kernel to send its bytes before a change of speed
DRAIN_GRACE_S = KERNEL_QUEUE_S + 0.2
"""After the last write; bytes that are held longer, the device does not take."""
_FINISH_S = 2.5  # for the frame begun to leave: 1.1 kB at 9600 baud behind a full kernel queue


class Tap(Protocol):
    """Takes note of the bytes of a port; no method waits."""

    def received(self, data: bytes) -> None: ...
    def sent(self, data: bytes) -> None: ...


class SerialPort:
    """One open port. Made by :meth:`open`; for one reader and any number of writers."""

    def __init__(
        self,
        port: OpenPort,
        path: str,
        queue_bytes: int,
        max_age_s: float,
        has_speed: bool = False,
    ) -> None:
        """Takes over ``port``, which is open and locked."""
        self.path = path
        self.baudrate: int = port.baudrate
        self.read_bytes = 0
        self.read_s = float("-inf")  # the loop's time of the last bytes
        self.tap: Tap | None = None
        self._port = port
        self._fd: int = port.fileno()
        self._loop = asyncio.get_running_loop()
        self._lost = ""  # why, once it is
        self._waiting = Waiting(self._fd)
        self._is_early = False  # the last wait ended by a frame that was sent
        self._queue = FrameQueue(queue_bytes, max_age_s)
        self._resume: asyncio.Handle | None = None
        self._is_full = False  # the kernel takes no more at present
        self._sent_s = float("-inf")  # when the kernel was last given something
        self._emptied: list[asyncio.Future[None]] = []
        # USB CDC-ACM has no line speed: only the bus and its own flow control pace it.
        names = (Path(path).name, Path(os.path.realpath(path)).name)
        self._paced = has_speed or not any(name.startswith("ttyACM") for name in names)
        self._pace = Pace(self.baudrate, self._loop.time())
        self._gathering = Gathering(self.line_bytes_per_s)

    @property
    def speed(self) -> str:
        """The line speed as words to follow the path; "" where the device itself is on USB."""
        return f" at {self.baudrate} baud" if self._paced else ""

    @classmethod
    async def open(
        cls,
        path: str,
        baudrate: int,
        *,
        timeout_s: float | None = 7.0,
        queue_bytes: int = 16384,
        max_age_s: float = 10.0,
        has_speed: bool = False,
        lock_directory: str = "/var/lock",
    ) -> SerialPort:
        """Open ``path`` raw, 8N1, at ``baudrate``, and keep other programs out.

        ``has_speed``: there is a line of that speed even if it is a ttyACM, as some adapters are.
        ``queue_bytes`` and ``max_age_s`` bound the frames that wait. The lock is flock for
        programs that use flock too, and TIOCEXCL for the others; UUCP lock files in
        ``lock_directory`` are respected. Raises :class:`PortAbsent`, :class:`PortBusy`,
        :class:`PortPermission`, :class:`NotASerialPort`, :class:`PortLost`, and
        :class:`PortHung` after ``timeout_s``.
        """
        if not await others_end(path, timeout_s):
            raise PortHung(f"{path} after {timeout_s:g} s")
        opening = Opening(path, baudrate, Path(lock_directory))
        try:
            port = await offload(opening.run, timeout_s=timeout_s)
            return cls(port, path, queue_bytes, max_age_s, has_speed)
        except TimeoutError as error:
            opening.abandon()
            raise PortHung(f"{path} after {timeout_s:g} s") from error
        except asyncio.CancelledError:
            opening.abandon()
            raise

    async def read(self, within_s: float | None = None, *, gather_s: float = 0.0) -> bytes:
        """The next bytes; none where ``within_s`` passes without any. Raises :class:`PortLost`. One
        reader at a time.

        A UART gives its bytes in pieces of 16 and fewer. With ``gather_s`` the bytes of that time
        are read together, so the first of them is that much older: less while much comes, and
        where a frame is sent, since the daemon is awake then.
        """
        if self._lost:
            raise self._gone()
        window_s = self._gathering.window_s(gather_s)
        if gather_s and self._gathering.arrival is Arrival.FLOWING:
            self._is_early = await self._waiting.wait(window_s)
            if data := self.read_now():
                return data
        if not gather_s or self._gathering.arrival is Arrival.BEHIND:
            await asyncio.sleep(0)  # a device that never pauses must not stop the daemon
            if data := self.read_now():
                return data
        self._is_early = await self._waiting.wait(within_s, window_s, for_byte=True)
        return self.read_now()

    def read_now(self) -> bytes:
        """The bytes that the kernel has; b"" for none. Raises :class:`PortLost`."""
        if self._lost:
            raise self._gone()
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            self._gathering.on_read(0, self._loop.time())
            return b""
        except OSError as error:
            raise self._fail(error.strerror) from error
        if not data:  # with VMIN 1 a tty says so only when it has hung up
            raise self._fail("hung up")
        if len(data) < _READ_BYTES:  # n_tty fetches what the driver holds only once it has no more
            with contextlib.suppress(OSError):  # the next reading reports it
                data += os.read(self._fd, _READ_BYTES - len(data))
        self.read_bytes += len(data)
        self.read_s = self._loop.time()
        self._gathering.on_read(len(data), self.read_s, early=self._is_early)
        if self.tap:
            self.tap.received(data)
        return data

    @property
    def line_bytes_per_s(self) -> float | None:
        """The most that the line carries in one direction; None where only USB limits it."""
        return self.baudrate / BITS_PER_BYTE if self._paced else None

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait, and those of the frame begun that the kernel does not have yet."""
        return self._queue.queued_bytes

    @property
    def lost(self) -> bool:
        """Whether the port is closed, or of no more use."""
        return bool(self._lost)

    def write(self, data: bytes, on_done: OnDone | None = None) -> None:
        """Queue ``data``, one whole frame. Raises :class:`PortLost`, also for an earlier frame.

        Frames leave in order and whole: those of one turn of the event loop together at its end,
        or at once where they come one by one. Above the bounds the oldest frames not yet begun are
        dropped; the newest one is always kept. ``on_done`` is called once: with True when the
        kernel has the last byte, with False where the frame was dropped or the port was lost first.
        """
        if self._queue.queued_bytes >= _BURST_BYTES and not self._lost:
            self._send_queued()  # the kernel may take what the bounds would drop
        if self._lost:
            raise self._gone()
        if not data:
            return
        self._queue.put(data, self._loop.time(), on_done)
        if self._resume is None and self._queue.one_by_one:
            self._send_queued()
        if self._resume is None and not self._lost:
            self._resume = self._loop.call_soon(self._end_turn)

    def drop_waiting(self) -> None:
        """Drop the frames that have not begun."""
        self._queue.drop_waiting()

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

        Bytes that the device does not take, although it had the time, are discarded.
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
        self._pace = Pace(baudrate, self._loop.time())
        self._gathering = Gathering(self.line_bytes_per_s)

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
        self._send_queued()
        self.drop_waiting()
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
            self._waiting.fail(self._gone())
            self._loop.remove_writer(self._fd)
            if self._resume is not None:
                self._resume.cancel()
            for waiter in self._emptied:
                if not waiter.done():
                    waiter.set_exception(self._gone())
            self._queue.lost()
        return self._gone()

    def _end_turn(self) -> None:
        self._queue.end_turn()
        self._send_queued()

    def _send_queued(self) -> None:
        """Hand the kernel as many bytes as the pace allows and it takes; resume later."""
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._is_full:
            self._loop.remove_writer(self._fd)
            self._is_full = False
        while self._queue.queued_bytes and not self._lost:
            now_s = self._loop.time()
            allowed = self._pace.allowance(now_s) if self._paced else None
            if allowed is not None and allowed < 1:
                self._resume = self._loop.call_later(KERNEL_QUEUE_S / 2, self._send_queued)
                return
            if not (parts := self._queue.next(now_s, allowed)):
                break
            try:
                count = os.writev(self._fd, parts[:_MOST_PARTS])
            except BlockingIOError:
                self._loop.add_writer(self._fd, self._send_queued)
                self._is_full = True
                return
            except OSError as error:
                self._fail(error.strerror)
                return
            self._pace.sent(count)
            self._sent_s = self._loop.time()
            if self.tap:
                self.tap.sent(b"".join(parts)[:count])
            self._queue.sent(count)
            self._waiting.sent()
        for waiter in self._emptied:
            _settle(waiter)
        self._emptied.clear()

    def _discard_output(self) -> None:
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self._fd, termios.TCOFLUSH)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
