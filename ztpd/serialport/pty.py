"""What the receiver sends, for other programs to read: a pseudo-terminal behind a stable name.

A reader sees a serial port in raw mode. What it writes goes nowhere, and however slowly it reads,
nobody waits for it. When the last reader has closed the terminal, a fresh one takes its place: a
pseudo-terminal keeps what was not read, its modes, and TIOCEXCL, for whoever opens it next.
"""

from __future__ import annotations

import contextlib
import grp
import os
import select
import tty
from pathlib import Path

from ztpd.errors import OutputError

_GROUP, _MODE = "dialout", 0o660  # as serial ports have it on Debian; gpsd's user is in it
_READ_BYTES = 4096


class SharedPort:
    """One such terminal, from :meth:`open` to :meth:`close`. Nothing here blocks."""

    def __init__(self, path: str, *, group: str = _GROUP) -> None:
        """``path`` becomes a symbolic link to the terminal, which ``group`` may use."""
        self.path = Path(path)
        self.dropped = 0  # frames that a reader was too slow for
        self._group = group
        self._ours: int | None = None  # master side
        self._terminal = ""
        self._state = select.poll()
        self._was_read = False
        self._rest = b""  # of a frame that the terminal took in part

    def open(self) -> None:
        """Make the terminal and its name, unless they are there. Raises :class:`OutputError`."""
        if self._ours is not None:
            return
        if self.path.exists() and not self.path.is_symlink():
            raise OutputError(f"{self.path} is there already, and is no link")
        try:
            self._make()
        except KeyError as error:
            raise OutputError(f"there is no group {self._group}") from error
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror}") from error

    def write_frame(self, frame: bytes) -> None:
        """Hand a whole frame to the reader, if there is one; what it has no room for is dropped
        whole."""
        if self._ours is None:
            return
        if self._state.poll(0):  # POLLHUP: nobody has the terminal open
            if self._was_read:
                self._renew()
            return
        self._was_read = True
        with contextlib.suppress(OSError):
            while len(os.read(self._ours, _READ_BYTES)) == _READ_BYTES:
                pass
        if self._rest:
            self._rest = self._rest[self._write(self._rest) :]
        count = 0 if self._rest else self._write(frame)
        if count:
            self._rest = frame[count:]
        else:
            self.dropped += 1

    def close(self) -> None:
        """Take the terminal away; a reader sees a hang-up."""
        if self._ours is None:
            return
        with contextlib.suppress(OSError):
            if str(self.path.readlink()) == self._terminal:
                self.path.unlink()
        self._state.unregister(self._ours)
        os.close(self._ours)
        self._ours = None

    def _write(self, data: bytes) -> int:
        """How much of ``data`` the terminal took."""
        try:
            return os.write(self._ours, data) if self._ours is not None else 0
        except OSError:
            return 0

    def _renew(self) -> None:
        """Another terminal under the same name. Without one nothing is shared until the next
        :meth:`open`, which tells why."""
        self.close()
        with contextlib.suppress(OutputError):
            self.open()

    def _make(self) -> None:
        group = grp.getgrnam(self._group).gr_gid
        ours, theirs = os.openpty()
        try:
            tty.setraw(theirs)  # a fresh one echoes, and waits for whole lines
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
            os.close(theirs)  # from now on POLLHUP tells whether somebody else has it
        self._ours, self._was_read, self._rest = ours, False, b""
        self._state.register(ours, 0)
