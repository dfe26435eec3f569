"""Small files that are always whole or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import stat
from pathlib import Path
from typing import IO, Any

LIMIT = 1 << 20  # bytes of a file that another user may have written


def write_atomic(path: Path, data: bytes, *, mode: int, durable: bool) -> None:
    """Replace the content of ``path`` atomically; ``durable`` waits until it survives a power cut.

    The file has ``mode`` from the moment it exists. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(temporary, flags, mode)
        try:
            os.fchmod(file, mode)
            with os.fdopen(os.dup(file), "wb") as stream:
                stream.write(data)
            if durable:
                os.fsync(file)
        finally:
            os.close(file)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def write_or_remove(path: Path, data: bytes) -> bool:
    """Replace the content of ``path``, with mode 0600, until the next reboot; whether it could be.
    If not, the file is removed: the next start must not find the content of before."""
    try:
        write_atomic(path, data, mode=0o600, durable=False)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    return True


def create(path: Path) -> IO[bytes]:
    """A new file, of its owner alone. Raises OSError, also where ``path`` exists."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def read_regular(path: Path, limit: int = LIMIT, *, follow: bool = False) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; follows a link only if ``follow``,
    never waits.

    Raises OSError, also for a FIFO, a device, a longer file, and a link that is not followed.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    file = os.open(path, flags)
    try:  # for a directory, fdopen() would fail and leave it open
        require_regular(path, os.fstat(file))
        with os.fdopen(file, "rb", closefd=False) as stream:
            data = stream.read(limit + 1)
    finally:
        os.close(file)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def require_regular(path: Path, found: os.stat_result | None = None) -> None:
    """Raises OSError where ``path``, whose state is ``found``, is no regular file: to open a FIFO
    waits for its writer, and a device may have no end."""
    mode = (found or path.stat()).st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; an empty one if it cannot be read."""
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def give_to_owner(directory: Path, file: Path) -> None:
    """As root, give ``file`` to the owner of ``directory``. Raises OSError."""
    if os.geteuid() == 0 and directory.exists():
        owner = directory.stat()
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)


def become_owner(directory: Path) -> None:
    """As root, become the owner of ``directory``, so that no file of ztpd belongs to root."""
    if os.geteuid() != 0 or not directory.exists():
        return
    owner = directory.stat()
    if owner.st_uid != 0:
        os.setgroups(_groups(owner))
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _groups(owner: os.stat_result) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:  # a user of another system, or one that was removed
        return [owner.st_gid]


def user_name(uid: int) -> str:
    """The name of a user, or the number of one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
