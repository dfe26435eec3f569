"""Notifications to systemd: ready, alive, stopping, and one line of status (sd_notify(3))."""

from __future__ import annotations

import os
from contextlib import suppress

from ztpd.sanitize import quoted

_LONGEST = 500


def notify(*assignments: str) -> None:
    """Send ``NAME=value`` assignments, if systemd asked for them and systemd-python is there.

    A line break inside one would begin another assignment; it is replaced.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        return
    with suppress(ImportError, OSError):
        from systemd.daemon import notify as send

        send("\n".join(quoted(each, _LONGEST) for each in assignments))
