"""On which file system a path lies, from ``/proc/self/mountinfo`` (proc(5))."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MOUNTINFO = Path("/proc/self/mountinfo")

_IN_MEMORY = frozenset({"tmpfs", "ramfs", "rootfs"})
_OVERLAYS = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_DISK_IN_MEMORY = re.compile(r"/dev/(zram|ram)\d+")  # log2ram, Armbian
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    point: Path
    filesystem: str  # "ext4", "overlay", "tmpfs"
    source: str  # "/dev/mmcblk0p2"
    options: str  # of the file system: "rw,lowerdir=/lower,upperdir=/upper"


def mount_of(path: Path, mountinfo: str) -> Mount | None:
    """The mount that ``path`` lies on; None where ``mountinfo`` names none."""
    place, found = Path(path).resolve(), None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 2:
            continue
        point = Path(_ESCAPE.sub(lambda code: chr(int(code[1], 8)), fields[4]))
        above = place == point or point in place.parents
        # the last of several mounts on one point hides those before
        if above and (found is None or len(point.parts) >= len(found.point.parts)):
            found = Mount(point, kind[0], kind[1], kind[2] if len(kind) > 2 else "")
    return found


def lost_at_power_off(path: Path, mountinfo_file: Path = MOUNTINFO) -> str:
    """The file system of ``path`` if a reboot deletes its content, else "".

    A file system in memory, or on a disk in memory, is; and an overlay unless its upper directory
    is known to lie on a disk: an image made read-only by an overlay keeps it in memory, out of
    sight.
    """
    try:
        mountinfo = mountinfo_file.read_text(errors="replace")
    except OSError:
        return ""
    mount = mount_of(path, mountinfo)
    if mount is None:
        return ""
    if mount.filesystem in _OVERLAYS:
        upper = re.search(r"(?:^|,)upperdir=([^,]+)", mount.options)
        below = mount_of(Path(upper[1]), mountinfo) if upper and _is_seen(Path(upper[1])) else None
        if below is None or below.filesystem in _OVERLAYS or _in_memory(below):
            return mount.filesystem
        return ""
    return _in_memory(mount)


def _is_seen(path: Path) -> bool:
    """False too for a path in a folder that this user may not enter."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _in_memory(mount: Mount) -> str:
    if _DISK_IN_MEMORY.fullmatch(mount.source):
        return f"{mount.filesystem} on {mount.source}"
    return mount.filesystem if mount.filesystem in _IN_MEMORY else ""
