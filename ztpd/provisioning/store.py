"""The credentials directory: whole generations, private from their first byte.

Files, all 0600 in a directory of mode 0700 that belongs to the user that runs ztpd:

``credentials.json``           the current generation
``credentials.previous.json``  the one before
``credentials.json.new``       a generation being written; never read, removed at the next load
``credentials.json.bad``       the last damaged one, kept for a person, except beside sealed ones

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

**Sealed** files are encrypted by systemd for this machine; the steps are the same. :meth:`convert`
replaces clear text by sealed files or back, each by the steps 1, 3 and 4, so at any instant both
generations are whole, in one form or the other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ztpd.errors import (
    SealingFailed,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnsafe,
    StoreUnsealable,
)
from ztpd.model import StoredCredentials
from ztpd.provisioning import generation
from ztpd.system.files import user_name
from ztpd.system.sealing import CredentialsService, Sealer

CURRENT = "credentials.json"
PREVIOUS = "credentials.previous.json"
_NEW = f"{CURRENT}.new"
_BAD = f"{CURRENT}.bad"

_BAD_BLOCK = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)  # or a wrong checksum of the file system


class Loaded(NamedTuple):
    """A generation read from the disk; ``note`` is the fault of a newer one, or ""."""

    stored: StoredCredentials
    previous: bool
    note: str = ""
    sealed: bool = False

    def sealing(self, *, wanted: bool) -> str:
        """Words about it; "" where there is nothing to say. ``wanted`` is the setting."""
        if self.sealed == wanted:
            return "sealed to this machine" if wanted else ""
        return "still sealed" if self.sealed else "not sealed, though [ztp] seal_credentials is set"


class CredentialStore:
    """Synchronous: it waits for the disk, and for other users of the directory, such as another
    process or a call that timed out; and for ``sealer``, to unseal a file, or to seal it where
    ``seal`` is set. An event loop offloads it."""

    def __init__(
        self, directory: Path, *, seal: bool = False, sealer: Sealer | None = None
    ) -> None:
        self.seal = seal
        self.not_sealed: SealingFailed | None = None
        """Why the last file was written in clear text, though ``seal`` is set."""
        self.directory = directory
        self._sealer = sealer or CredentialsService()
        self._unconfirmed = False  # a save failed after its first step

    def load(self) -> Loaded | None:
        """The newest sound generation; None if there is none and never was.

        Raises :class:`StoreUnsafe` if directory or file could be read or changed by others,
        :class:`StoreVersion` for a newer format, :class:`StoreCorrupt` if no generation is sound,
        :class:`StoreUnsealable` if one is sealed to another machine, :class:`SealingFailed` if
        systemd cannot unseal it now, and :class:`StoreError`: from a :class:`StoreCorrupt` if the
        disk cannot read one, which stays there.
        """
        with _translated(self.directory), _Folder(self.directory) as folder:
            if not folder.exists:
                return None
            with contextlib.suppress(OSError):  # a read-only disk is no reason not to read
                folder.remove(_NEW)
            notes: list[str] = []
            kind: type[StoreError] = StoreCorrupt
            unreadable: StoreCorrupt | None = None
            for name in (CURRENT, PREVIOUS):
                try:
                    content = folder.read(name)
                    if content is None:
                        continue
                    stored = generation.decode(content, self._sealer)
                except StoreUnsealable as error:  # left there: the key may come back
                    kind = StoreUnsealable
                    notes.append(f"{name}: {error.detail}")
                    continue
                except StoreCorrupt as error:
                    notes.append(f"{name}: {error.detail}")
                    if isinstance(error.__cause__, OSError):
                        kind, unreadable = StoreError, error
                        continue
                else:
                    sealed = generation.is_sealed(content)
                    return Loaded(stored, name == PREVIOUS, "; ".join(notes), sealed)
                if name == CURRENT:
                    with contextlib.suppress(OSError):
                        folder.rename(CURRENT, _BAD)
            if notes:
                raise kind("; ".join(notes)) from unreadable
            return None

    def load_previous(self) -> StoredCredentials | None:
        """The generation before the current one, where there is a sound one. Raises as load()."""
        with contextlib.suppress(StoreCorrupt, StoreUnsealable):
            with _translated(self.directory), _Folder(self.directory) as folder:
                content = folder.read(PREVIOUS) if folder.exists else None
            return generation.decode(content or b"", self._sealer)
        return None

    def save(self, stored: StoredCredentials) -> None:
        """Make ``stored`` the current generation. When this returns, it survives a power cut.

        An equal generation, except for the date, is not written again. Creates the directory.
        Where sealing fails the file is in clear text, and :attr:`not_sealed` has the reason.
        Raises :class:`StoreFull`, :class:`StoreReadOnly`, :class:`StoreUnsafe`,
        :class:`StoreVersion`, :class:`StoreError`; the current generation stays.
        """
        with _translated(self.directory), _Folder(self.directory, create=True) as folder:
            content = b""
            with contextlib.suppress(StoreCorrupt):
                content = folder.read(CURRENT) or b""
            held, sound = None, generation.is_sealed(content)
            with contextlib.suppress(StoreCorrupt, StoreUnsealable, SealingFailed):
                held, sound = generation.decode(content, self._sealer), True
            same = held is not None and _undated(held) == _undated(stored)
            if not same or self._unconfirmed or generation.is_sealed(content) != self.seal:
                self._unconfirmed = True
                folder.write(_NEW, self._encoded(stored))
                if sound and not same:
                    folder.rename(CURRENT, PREVIOUS)
                folder.rename(_NEW, CURRENT)
                self._remove_clear_text(folder)
            folder.sync()
            self._unconfirmed = False
            self._convert(folder, PREVIOUS)

    def convert(self) -> None:
        """Seal both generations where ``seal`` is set, else replace sealed ones by clear text.

        Where sealing fails they stay, and :attr:`not_sealed` has the reason. A file that is damaged
        or cannot be unsealed stays as it is. Raises as :meth:`save`.
        """
        with _translated(self.directory), _Folder(self.directory) as folder:
            if folder.exists:
                self._convert(folder, CURRENT)
                self._convert(folder, PREVIOUS)

    def _convert(self, folder: _Folder, name: str) -> None:
        with contextlib.suppress(StoreCorrupt, StoreUnsealable, SealingFailed):
            content = folder.read(name)
            if content is None or generation.is_sealed(content) == self.seal:
                return
            changed = self._encoded(generation.decode(content, self._sealer))
            if generation.is_sealed(changed) == self.seal:
                folder.write(_NEW, changed)
                folder.rename(_NEW, name)
                self._remove_clear_text(folder)
                folder.sync()

    def _remove_clear_text(self, folder: _Folder) -> None:
        if self.seal and self.not_sealed is None:
            folder.remove(_BAD)

    def _encoded(self, stored: StoredCredentials) -> bytes:
        self.not_sealed = None
        if self.seal:
            try:
                return generation.seal(stored, self._sealer)
            except SealingFailed as error:
                self.not_sealed = error
        return generation.encode(stored)

    def forget(self) -> None:
        """Delete every generation. Raises :class:`StoreError` and its kind."""
        with _translated(self.directory), _Folder(self.directory) as folder:
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
        """The content of a file that is private to this user; None where there is no such file.

        Raises :class:`StoreCorrupt` from an OSError where it lies on a bad block."""
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
                return stream.read(generation.SIZE_LIMIT + 1)
        except OSError as error:
            if error.errno not in _BAD_BLOCK:
                raise
            raise StoreCorrupt(error.strerror or "") from error
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
        remedy = f"chown -R {user_name(os.geteuid())} {_quoted(path)}"
        raise StoreUnsafe(f"{path} belongs to {user_name(found.st_uid)}; run `{remedy}`")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        remedy = f"chmod {mode:04o} {_quoted(path)}"
        raise StoreUnsafe(f"{path} has mode {stat.S_IMODE(found.st_mode):04o}; run `{remedy}`")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _undated(stored: StoredCredentials) -> bytes:
    return generation.encode(stored, dated=False)
