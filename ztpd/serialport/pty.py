"""The receiver's data for other programs: a pseudo-terminal with a stable name.

A reader sees a serial port in raw mode. Bytes that it writes are discarded, and a slow reader
delays nothing. When the last reader has closed the terminal, a new one replaces it, because a
pseudo-terminal keeps unread bytes, modes and TIOCEXCL for the next program that opens it.
"""

from __future__ import annotations

import contextlib
import grp
import os
import select
import tty
from pathlib import Path

from ztpd.errors import OutputError

_GROUP, _MODE = "dialout", 0o660  # as of serial ports on Debian; the user of gpsd is in the group
_READ_BYTES = 4096


class SharedPort:
    """One pseudo-terminal, from :meth:`open` to :meth:`close`. No method blocks."""

    def __init__(self, path: str, *, group: str = _GROUP) -> None:
        """``path`` becomes a symbolic link to the terminal, which ``group`` may use."""
        self.path = Path(path)
        self._group = group
        self._ours: int | None = None  # master side
        self._terminal = ""
        self._state = select.poll()
        self._was_read = False
        self._rest = b""  # of a frame that the terminal accepted in part

    @property
    def is_open(self) -> bool:
        """Whether there is a terminal."""
        return self._ours is not None

    def open(self) -> None:
        """Make the terminal and its name, unless they exist. Raises :class:`OutputError`."""
        if self._ours is not None:
            return
        try:
            if self.path.exists() and not self.path.is_symlink():
                raise OutputError(f"{self.path} exists and is no link")
            self._make()
        except KeyError as error:
            raise OutputError(f"there is no group {self._group}") from error
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror}") from error

    def write_frame(self, frame: bytes) -> None:
        """Write a whole frame to the reader, if there is one; drop the frame if it has no room."""
        if self._ours is None:
            return
        if self._state.poll(0):  # POLLHUP: no program has the terminal open
            if self._was_read:
                self._renew()
            return
        self._was_read = True
        with contextlib.suppress(OSError):
            while len(os.read(self._ours, _READ_BYTES)) == _READ_BYTES:
                pass
        if self._rest:
            self._rest = self._rest[self._write(self._rest) :]
        if not self._rest and (count := self._write(frame)):
            self._rest = frame[count:]

    def close(self) -> None:
        """Remove the terminal; a reader sees a hang-up."""
        if self._ours is None:
            return
        with contextlib.suppress(OSError):
            if str(self.path.readlink()) == self._terminal:
                self.path.unlink()
        self._state.unregister(self._ours)
        os.close(self._ours)
        self._ours = None

    def _write(self, data: bytes) -> int:
        """The number of bytes of ``data`` that the terminal accepted."""
        try:
            return os.write(self._ours, data) if self._ours is not None else 0
        except OSError:
            return 0

    def _renew(self) -> None:
        """Replace the terminal under the same name. If that fails, the next :meth:`open` raises the
        reason."""
        self.close()
        with contextlib.suppress(OutputError):
            self.open()

    def _make(self) -> None:
        group = grp.getgrnam(self._group).gr_gid
        ours, theirs = os.openpty()
        try:
            tty.setraw(theirs)  # a new one echoes, and passes on whole lines only
            os.fchown(theirs, -1, group)
            os.fchmod(theirs, _MODE)
            os.set_blocking(ours, False)
            self._terminal = os.ttyname(theirs)
            fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self._terminal)
            fresh.replace(self.path)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)  # from now on POLLHUP shows whether another program has it open
        self._ours, self._was_read, self._rest = ours, False, b""
        self._state.register(ours, 0)
