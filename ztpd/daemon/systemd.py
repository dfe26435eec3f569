"""What systemd is told: ready, alive, stopping, and one line of status."""

from __future__ import annotations

import os
from contextlib import suppress


def notify(message: str) -> None:
    """Tell systemd, where it asked to be told, can hear it, and systemd-python is there."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    with suppress(ImportError, OSError):
        from systemd.daemon import notify as tell

        tell(message)
