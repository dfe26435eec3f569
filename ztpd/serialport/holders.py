"""Describes the holders and permissions of a device, and similar devices, for a person."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from pathlib import Path


def pids_of(device: str) -> list[int]:
    """The processes that have ``device`` open, as far as /proc shows them to this user."""
    found = []
    with contextlib.suppress(OSError):
        wanted = Path(device).stat()
        for process in Path("/proc").glob("[0-9]*"):
            if any(_is(entry, wanted) for entry in _descriptors(process)):
                found.append(int(process.name))
    return found


def _descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:  # another user's process, or it has ended
        return []


def _is(descriptor: Path, wanted: os.stat_result) -> bool:
    """Compares device numbers: in a container the same port may have another name. Pseudo-terminals
    of all containers share their numbers, so their file systems are compared too."""
    try:
        if not str(descriptor.readlink()).startswith("/dev/"):
            return False
        facts = descriptor.stat()
    except OSError:
        return False
    is_terminal = os.major(wanted.st_rdev) in range(136, 144)  # devices.txt: Unix98 PTY slaves
    return facts.st_rdev == wanted.st_rdev and (facts.st_dev == wanted.st_dev or not is_terminal)


def describe(pids: list[int]) -> str:
    """ "ModemManager (process 812)"; also for a list of none."""

    def name(pid: int) -> str:
        try:
            return f"{(Path('/proc') / str(pid) / 'comm').read_text().strip()} (process {pid})"
        except OSError:
            return f"process {pid}"

    return ", ".join(name(pid) for pid in pids) or "a process of another user"


def locked_by(lock: Path) -> int | None:
    """The process in a UUCP lock file: a decimal number (FHS 3.0 section 5.9). None without a
    file or number, and for this process."""
    try:
        pid = int(lock.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return pid if pid > 0 and pid != os.getpid() else None


def alive(pid: int) -> bool:
    """Asks the kernel, since /proc may hide the processes of other users."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def describe_permissions(device: str) -> str:
    """Owner, group and mode, as " (root:dialout, mode 0660)"; "" if this user cannot see them."""
    try:
        facts = Path(device).stat()
        owner, group = pwd.getpwuid(facts.st_uid).pw_name, grp.getgrgid(facts.st_gid).gr_name
    except (OSError, KeyError):
        return ""
    return f" ({owner}:{group}, mode {stat.S_IMODE(facts.st_mode):04o})"


def similar_ports(path: str) -> str:
    """The ports of the same kind as ``path``, or in its folder, as text."""
    directory, name = Path(path).parent, Path(path).name
    pattern = name.rstrip("0123456789") + "*" if directory == Path("/dev") else "*"
    names = sorted(found.name for found in directory.glob(pattern))
    if not names:
        return f"nothing like it in {directory}"
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{directory} has {', '.join(names[:4])}{more}"
