"""The paths that systemd passes to the daemon, and their defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ztpd.errors import StoreError

CONFIG_FILE = Path("/etc/ztpd/ztpd.toml")


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of the credentials and of the schedule of calls."""
    return _first(environ, "STATE_DIRECTORY", "/var/lib/ztpd")


def runtime_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of lock, status file and control socket; a reboot empties it."""
    return _first(environ, "RUNTIME_DIRECTORY", "/run/ztpd")


def make(directory: Path, mode: int) -> None:
    """Make ``directory`` if it is missing: systemd makes it only for the unit. Raises
    :class:`StoreError`."""
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}") from error


def _first(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """systemd separates several directories by colons."""
    return Path(environ.get(variable, "").split(":")[0] or default)
