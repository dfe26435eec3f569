"""The credentials directory: whole generations, private from their first byte.

Files, all 0600 in a directory of mode 0700 that belongs to the user that runs ztpd:

``credentials.json``           the current generation
``credentials.previous.json``  the one before
``credentials.json.new``       a generation being written; never read, removed at the next load
``credentials.json.bad``       the last damaged one, kept for a person

**Why a power cut is harmless.** Saving is these steps, and the disk may keep any of those that no
fsync has confirmed:

1. write ``.new``, fsync it: from here on the new generation is whole, in a file never read;
2. rename the current one, if it is sound and different, to the previous one;
3. rename ``.new`` to the current one;
4. fsync the directory; only now :meth:`CredentialStore.save` returns.

Before 2 the old generation is current. With 2 alone it is the previous one, and there is no
current one: :meth:`CredentialStore.load` takes it from there. With 3, alone or after 2, the new one
is current. A rename replaces its target at once, so no step leaves a generation in part. A damaged
current file is never made the previous one, so damage does not push out the last sound generation.

An fsync that fails is not repeated on the same file: the kernel may have dropped the pages, and a
second one would report success. The next save writes a new file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pwd
import shlex
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ztpd.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnsafe,
    StoreVersion,
    ZtpError,
)
from ztpd.model import StoredCredentials
from ztpd.wire import ztp

CURRENT = "credentials.json"
PREVIOUS = "credentials.previous.json"
_NEW = f"{CURRENT}.new"
_BAD = f"{CURRENT}.bad"

FORMAT = 1
_SIZE_LIMIT = 8 * ztp.BODY_LIMIT  # JSON may take six bytes for one, and is indented


@dataclass(frozen=True, slots=True)
class Loaded:
    """A generation read from the disk; ``note`` is the fault of a newer one, or ""."""

    stored: StoredCredentials
    previous: bool
    note: str = ""


class CredentialStore:
    """Synchronous: it waits for the disk, and for other users of the directory, such as another
    process or a call that timed out. An event loop offloads it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unconfirmed = False  # a save failed after its first step

    def load(self) -> Loaded | None:
        """The newest sound generation; None if there is none and never was.

        Raises :class:`StoreUnsafe` if directory or file could be read or changed by others,
        :class:`StoreVersion` for a newer format, :class:`StoreCorrupt` if no generation is sound,
        and :class:`StoreError`.
        """
        with _translated(self._directory), _Folder(self._directory) as folder:
            if not folder.exists:
                return None
            with contextlib.suppress(OSError):  # a read-only disk is no reason not to read
                folder.remove(_NEW)
            notes: list[str] = []
            for name in (CURRENT, PREVIOUS):
                content = folder.read(name)
                if content is None:
                    continue
                try:
                    return Loaded(_decoded(content), name == PREVIOUS, "; ".join(notes))
                except StoreCorrupt as error:
                    notes.append(f"{name}: {error.detail}")
                if name == CURRENT:
                    with contextlib.suppress(OSError):
                        folder.rename(CURRENT, _BAD)
            if notes:
                raise StoreCorrupt("; ".join(notes))
            return None

    def load_previous(self) -> StoredCredentials | None:
        """The generation before the current one, where there is a sound one. Raises as load()."""
        with _translated(self._directory), _Folder(self._directory) as folder:
            content = folder.read(PREVIOUS) if folder.exists else None
        with contextlib.suppress(StoreCorrupt):
            return _decoded(content or b"")
        return None

    def save(self, stored: StoredCredentials) -> None:
        """Make ``stored`` the current generation. When this returns, it survives a power cut.

        An equal generation, except for the date, is not written again. Creates the directory.
        Raises :class:`StoreFull`, :class:`StoreReadOnly`, :class:`StoreUnsafe`,
        :class:`StoreVersion`, :class:`StoreError`; the current generation stays.
        """
        with _translated(self._directory), _Folder(self._directory, create=True) as folder:
            held = None
            with contextlib.suppress(StoreCorrupt):
                held = _decoded(folder.read(CURRENT) or b"")
            same = held is not None and _encoded(held, dated=False) == _encoded(stored, dated=False)
            if not same or self._unconfirmed:
                self._unconfirmed = True
                folder.write(_NEW, _encoded(stored))
                if held and not same:
                    folder.rename(CURRENT, PREVIOUS)
                folder.rename(_NEW, CURRENT)
            folder.sync()
            self._unconfirmed = False

    def forget(self) -> None:
        """Delete every generation. Raises :class:`StoreError` and its kind."""
        with _translated(self._directory), _Folder(self._directory) as folder:
            if folder.exists:
                folder.remove(CURRENT, PREVIOUS, _NEW, _BAD)
                folder.sync()


@contextlib.contextmanager
def _translated(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        detail = f"{directory}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreFull(detail) from error
        if error.errno == errno.EROFS:
            raise StoreReadOnly(detail) from error
        raise StoreError(detail) from error


class _Folder:
    """The state directory, locked, and used by its descriptor, since its path may lead elsewhere
    later. Methods raise OSError and :class:`StoreUnsafe`."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._create = create
        self._fd = -1

    @property
    def exists(self) -> bool:
        return self._fd >= 0

    def __enter__(self) -> _Folder:
        try:
            self._fd = self._open()
        except FileNotFoundError:
            if not self._create:
                return self
            self._make()
            self._fd = self._open()
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            _check_private(os.fstat(self._fd), self._path, 0o700)
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.exists:
            os.close(self._fd)

    def _make(self) -> None:
        try:
            self._path.mkdir(mode=0o700)
        except FileExistsError:  # another one made it just now
            return
        self._path.chmod(0o700)  # a umask may have taken away from it
        parent = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError as error:  # also for a symbolic link
            raise StoreUnsafe(f"{self._path} is not a directory") from error

    def read(self, name: str) -> bytes | None:
        """The content of a file that is private to this user; None where there is no such file."""
        path = self._path / name
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            file = os.open(name, flags, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a symbolic link, a socket
                raise _not_a_file(path) from error
            raise
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise _not_a_file(path)
            _check_private(found, path, 0o600)
            with os.fdopen(file, "rb", closefd=False) as stream:
                return stream.read(_SIZE_LIMIT + 1)
        finally:
            os.close(file)

    def write(self, name: str, content: bytes) -> None:
        """A new file, down to the disk; nothing of it stays if that fails."""
        self.remove(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=self._fd)
        try:
            os.fchmod(file, 0o600)  # a umask may have taken away from it
            left = memoryview(content)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        except OSError:
            with contextlib.suppress(OSError):
                self.remove(name)
            raise
        finally:
            os.close(file)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._fd)

    def sync(self) -> None:
        os.fsync(self._fd)


def _not_a_file(path: Path) -> StoreUnsafe:
    return StoreUnsafe(f"{path} is not a plain file with one name; run `rm {_quoted(path)}`")


def _check_private(found: os.stat_result, path: Path, mode: int) -> None:
    if found.st_uid != os.geteuid():
        remedy = f"chown -R {_user(os.geteuid())} {_quoted(path)}"
        raise StoreUnsafe(f"{path} belongs to {_user(found.st_uid)}; run `{remedy}`")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        remedy = f"chmod {mode:04o} {_quoted(path)}"
        raise StoreUnsafe(f"{path} has mode {stat.S_IMODE(found.st_mode):04o}; run `{remedy}`")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _encoded(stored: StoredCredentials, *, dated: bool = True) -> bytes:
    payload = {
        "service": stored.credentials.service,
        "hardware_id": stored.hardware_id,
        "board": stored.board,
        "stored_unix_s": stored.stored_unix_s if dated else 0,
        "expires_unix_s": stored.expires_unix_s,
        "answer": stored.credentials.answer,
    }
    if stored.left_out:
        payload["left_out"] = stored.left_out
    whole = {"format": FORMAT, "sha256": _digest(payload), "stored": payload}
    return json.dumps(whole, indent=1, allow_nan=False).encode() + b"\n"


def _digest(payload: Mapping[str, Any]) -> str:
    canonical = json.dumps([FORMAT, payload], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _decoded(content: bytes) -> StoredCredentials:
    """The generation in ``content``. Raises :class:`StoreCorrupt` and :class:`StoreVersion`.

    The answer is parsed at each load, so that a better parser finds more in it.
    """
    whole: Any = None
    if len(content) <= _SIZE_LIMIT:
        with contextlib.suppress(ValueError, RecursionError):  # not chained: they hold the content
            whole = json.loads(content)
    version = whole.get("format") if isinstance(whole, dict) else None
    if not isinstance(version, int):
        raise StoreCorrupt("empty" if not content else f"{len(content)} bytes without sense")
    payload = whole.get("stored")
    sound = isinstance(payload, dict) and whole.get("sha256") == _digest(payload)
    if version > FORMAT and not sound:  # sound in our format: it is the version that is damaged
        raise StoreVersion(f"format {version}, this ztpd knows up to {FORMAT}")
    if version != FORMAT or not sound:
        raise StoreCorrupt("the checksum is wrong")
    try:
        credentials = ztp.parse_answer(payload["service"], payload["answer"])
        left_out: Literal["", "mqtt"] = "mqtt" if payload.get("left_out") == "mqtt" else ""
        return StoredCredentials(
            credentials=replace(credentials, mqtt=None) if left_out else credentials,
            hardware_id=payload["hardware_id"],
            board=payload["board"],
            stored_unix_s=payload["stored_unix_s"],
            expires_unix_s=payload["expires_unix_s"],
            left_out=left_out,
        )
    except KeyError as error:
        raise StoreCorrupt(f"{error} is missing") from error
    except ZtpError as error:
        raise StoreCorrupt(f"the answer in it cannot be used: {error.detail}") from error
