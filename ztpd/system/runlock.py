"""The lock of the one daemon of a runtime directory; other programs see by it whether it runs."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path

from ztpd.errors import LockHeld
from ztpd.system import control

LOCK = "lock"
_TRIES = 5  # :func:`is_running` holds the lock for an instant
_BETWEEN_S = 0.02


class RunLock:
    """A lock that the kernel releases when the process ends.

    Its mode is 0600, because flock(2) needs no permission to write: every user who can open the
    file can hold the lock.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._file: int | None = None

    def take(self) -> None:
        """Raises :class:`LockHeld`, or OSError if the directory cannot be used."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(self._path, flags, 0o600)
        for _ in range(_TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                reason = error
                time.sleep(_BETWEEN_S)
            else:
                os.fchmod(file, 0o600)  # an older version made it readable for all users
                self._file = file
                return
        os.close(file)
        raise LockHeld(str(self._path)) from reason

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def is_running(directory: Path) -> bool | None:
    """Whether a daemon runs in ``directory``; None if this user lacks the permission.

    For a user who cannot open the lock, the control socket shows it: it accepts every user.
    Never blocks and follows no link: the directory belongs to the daemon's user.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(directory / LOCK, flags)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return control.is_listening(directory)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return control.is_listening(directory)
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
