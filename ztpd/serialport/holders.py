"""Describes the holders and permissions of a device, and similar devices, for a person."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path

from ztpd.sanitize import quoted
from ztpd.serialport import sysfs

_CONSOLE_GROUP = 5  # of "tty" on Debian (base-passwd), where the name is not known


def pids_of(device: str) -> list[int]:
    """The processes that have ``device`` open, as far as /proc shows them to this user.

    Without the process at the other end of a pseudo-terminal, which is the device itself. It may
    keep one descriptor of this end, so that its reads do not fail while no host has the port open.
    """
    found = []
    with contextlib.suppress(OSError):
        wanted = Path(device).stat()
        for process in Path("/proc").glob("[0-9]*"):
            entries = _descriptors(process)
            count = sum(_is(entry, wanted) for entry in entries)
            if count > 1 or (count and not _serves(entries, wanted)):
                found.append(int(process.name))
    return found


def _serves(descriptors: list[Path], wanted: os.stat_result) -> bool:
    """Whether one of ``descriptors`` is the other end of the pseudo-terminal ``wanted``
    (proc_pid_fdinfo(5): tty-index)."""
    if not is_pseudo_terminal(wanted.st_rdev):
        return False
    index = f"tty-index:\t{os.minor(wanted.st_rdev)}"  # one devpts has less than 2^20
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if descriptor.readlink().name == "ptmx":
                facts = descriptor.parent.with_name("fdinfo") / descriptor.name
                if index in facts.read_text().splitlines():
                    return True
    return False


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
    same_system = facts.st_dev == wanted.st_dev or not is_pseudo_terminal(wanted.st_rdev)
    return facts.st_rdev == wanted.st_rdev and same_system


def is_pseudo_terminal(number: int) -> bool:
    """By a device number (Linux, devices.txt: Unix98 PTY slaves)."""
    return os.major(number) in range(136, 144)


def describe(pids: Sequence[int]) -> str:
    """Their names, as "ModemManager (process 812)"."""

    def name(pid: int) -> str:
        try:
            comm = (Path("/proc") / str(pid) / "comm").read_bytes()  # its user chose any bytes
            return f"{quoted(comm.decode('utf-8', 'replace'), 64)} (process {pid})"
        except OSError:
            return f"process {pid}"

    return ", ".join(name(pid) for pid in pids)


def console(name: str, device: str, root: Path = Path("/")) -> str:
    """The console on the port ``name`` of the kernel, as text; "" for none.

    A getty gives its terminal to the group tty, with mode 0620, and login(1) to the user who
    logs in (util-linux, agetty.c and login.c). Pseudo-terminals always belong to that group.
    """
    if name in sysfs.text(root / "sys/class/tty/console/active").split():
        return "the console of the kernel"
    try:
        facts = Path(device).stat()
    except OSError:
        return ""
    if not stat.S_ISCHR(facts.st_mode) or is_pseudo_terminal(facts.st_rdev):
        return ""
    try:
        group = grp.getgrnam("tty").gr_gid
    except KeyError:
        group = _CONSOLE_GROUP
    return "a login console" if facts.st_gid == group else ""


def may_hold(pid: int, device: str) -> bool:
    """False where the process has ended, or has not ``device`` open: then its number may be that
    of a later process. True also where this user cannot see that."""
    if not _alive(pid):
        return False
    try:
        wanted, entries = Path(device).stat(), list((Path("/proc") / str(pid) / "fd").iterdir())
    except OSError:
        return True
    return any(_is(entry, wanted) for entry in entries)


def locked_by(lock: Path, device: str) -> int | None:
    """The process in a UUCP lock file: a decimal number (FHS 3.0 section 5.9).

    None without a file or number, for this process, and for a file that proves nothing: each user
    may write to the folder of lock files, so the file must be a regular one, without a second
    name, of root or of a user who may open ``device``.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(lock, flags)
    except OSError:
        return None
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            return None
        if not _may_open(facts.st_uid, Path(device).stat()):
            return None
        pid = int(os.read(fd, 64).decode("ascii"))
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
    return pid if pid > 0 and pid != os.getpid() else None


def _may_open(uid: int, device: os.stat_result) -> bool:
    """Whether the permissions of ``device`` let that user read and write it."""
    if uid in (0, device.st_uid) or device.st_mode & 0o006 == 0o006:
        return True
    if device.st_mode & 0o060 != 0o060:
        return False
    try:
        user = pwd.getpwuid(uid)
        return device.st_gid in os.getgrouplist(user.pw_name, user.pw_gid)
    except (KeyError, OSError):
        return False


def _alive(pid: int) -> bool:
    """Asks the kernel, since /proc may hide the processes of other users."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
