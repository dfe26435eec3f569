"""Opens a serial port in a thread: raw, exclusive, and with the errno of a failure explained."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import termios
import threading
from pathlib import Path

import serial

from ztpd import events, log
from ztpd.errors import (
    NotASerialPort,
    PortBusy,
    PortLost,
    SerialError,
)
from ztpd.serialport import access, holders
from ztpd.system.offload import offload

OpenPort = serial.Serial

_TIOCGEXCL = 0x80045440  # linux/ioctls.h; not in the termios module

_abandoned: dict[str, Opening] = {}  # by path, while their thread goes on


async def others_end(path: str, within_s: float | None) -> bool:
    """Whether no abandoned attempt to open ``path`` goes on after ``within_s``: a driver that hangs
    without end would get one more thread with each attempt."""
    earlier = _abandoned.get(path)
    return earlier is None or await offload(earlier.ended.wait, within_s)


class Opening:
    """One attempt to open, in a thread: some drivers take half a minute."""

    def __init__(self, path: str, baudrate: int, lock_directory: Path) -> None:
        self._path = path
        self._baudrate = baudrate
        self._lock_directory = lock_directory
        self._device = os.path.realpath(path)
        self._turn = threading.Lock()
        self._wanted = True
        self._opened: serial.Serial | None = None
        self.ended = threading.Event()

    def abandon(self) -> None:
        """The caller was cancelled: the port does not stay open, whenever it is opened."""
        with self._turn:
            self._wanted = False
            if self._opened is not None:
                release(self._opened)
            elif not self.ended.is_set():
                _abandoned[self._path] = self

    def run(self) -> OpenPort:
        try:
            return self._run()
        finally:
            with self._turn:
                self.ended.set()
                if _abandoned.get(self._path) is self:
                    del _abandoned[self._path]

    def _run(self) -> OpenPort:
        try:
            access.check(self._path)
            stale = self._check_lock_file()
            port = self._open()
        except OSError as error:
            raise self._named(error, error.errno) from error
        except termios.error as error:
            raise self._named(error, int(error.args[0])) from error
        with self._turn:
            self._opened = port
            if not self._wanted:
                release(port)
        if stale:
            log.emit(events.STALE_LOCK, lock=stale, port=self._path)
        return port

    def _check_lock_file(self) -> Path | None:
        """The lock file that a process left which has ended; another's file is never removed."""
        for name in dict.fromkeys((Path(self._path).name, Path(self._device).name)):
            lock = self._lock_directory / f"LCK..{name}"
            pid = holders.locked_by(lock, self._device)
            if pid is None:
                continue
            if not holders.may_hold(pid, self._device):
                return lock
            raise PortBusy(f"{self._path}, by {holders.describe([pid])} according to {lock}")
        return None

    def _open(self) -> OpenPort:
        try:
            # An inter-byte timeout, here of 0, is pyserial's way to VMIN 1: with VMIN 0 "nothing
            # there" and "hung up" both read as zero bytes.
            port = serial.Serial(
                self._path, self._baudrate, timeout=0, inter_byte_timeout=0, exclusive=True
            )
        except ValueError as error:
            raise SerialError(f"{self._path} cannot be set to {self._baudrate} baud") from error
        try:
            self._exclude(port.fileno())
        except BaseException:
            port.close()
            raise
        return port

    def _exclude(self, fd: int) -> None:
        """TIOCEXCL stops other users, but not root, who must look for the flag.

        From a container the holder may not be visible. Only a pty keeps the flag when its user has
        died, so there it counts with a living holder only. The AT port of a WWAN modem knows no
        such flag, and its lock binds only programs that lock it too.
        """
        try:
            flag = fcntl.ioctl(fd, _TIOCGEXCL, struct.pack("i", 0))
        except OSError as error:
            if error.errno != errno.ENOTTY:
                raise
            return
        if struct.unpack("i", flag)[0]:
            others = [pid for pid in holders.pids_of(self._device) if pid != os.getpid()]
            if others or not holders.is_pseudo_terminal(os.fstat(fd).st_rdev):
                raise access.busy(self._path, others)
        fcntl.ioctl(fd, termios.TIOCEXCL)

    def _named(self, error: Exception, number: int | None) -> SerialError:
        """The error for an errno of opening or configuring."""
        if number is None:  # pyserial wraps termios.error into an exception without errno
            cause = error.__context__
            number = cause.args[0] if isinstance(cause, termios.error) else 0
        path, words = self._path, os.strerror(number) if number else str(error)
        match number:
            case errno.ENOENT | errno.ENODEV | errno.ENXIO | errno.ELOOP | errno.ENOTDIR:
                return access.absent(path)
            case errno.EBUSY | errno.EAGAIN:
                return access.busy(path, holders.pids_of(self._device))
            case errno.EACCES | errno.EPERM:
                return access.forbidden(path, number)
            case errno.ENOTTY | errno.EINVAL | errno.EISDIR:
                return NotASerialPort(path)
            case errno.EIO if Path(self._device).exists():
                return NotASerialPort(f"{path}: no hardware behind it")
            case errno.EIO:
                return PortLost(f"{path}, while it was opened")
        return SerialError(f"{path}: {words}")


def release(port: OpenPort) -> None:
    """Close the port and let other users have it."""
    with contextlib.suppress(OSError):  # a port that was hung up fails here, and is free
        fcntl.ioctl(port.fileno(), termios.TIOCNXCL)  # a pty would keep the flag
    with contextlib.suppress(OSError):
        port.close()
