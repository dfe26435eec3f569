"""The machine's name at this moment."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

_ASK_HOSTNAMED = [
    *("busctl", "--system", "--json=short", "--timeout=3", "get-property"),
    *("org.freedesktop.hostname1", "/org/freedesktop/hostname1", "org.freedesktop.hostname1"),
    "Hostname",
]


def current(static: Path = Path("/etc/hostname")) -> str:
    """The host name, from systemd-hostnamed, else ``/etc/hostname``, else the kernel.

    The kernel's name is the last resort: in the unit's sandbox it is the one of the unit's start
    (systemd.exec(5), ProtectHostname=), and cloud-init or DHCP may have set another since. Blocks
    for up to 4 s.
    """
    return _asked() or _written(static) or socket.gethostname()


def _asked() -> str:
    try:
        answer = subprocess.run(_ASK_HOSTNAMED, capture_output=True, timeout=4, check=True)
        name = json.loads(answer.stdout)["data"]
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return ""
    return name if isinstance(name, str) else ""


def _written(file: Path) -> str:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    names = (line.strip() for line in lines)  # hostname(5): lines that begin with # do not count
    return next((name for name in names if name and not name.startswith("#")), "")
