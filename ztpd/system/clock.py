"""Decides whether the system clock is good enough for TLS."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ztpd import RELEASED_UNIX_S
from ztpd.errors import ClockError
from ztpd.model import utc
from ztpd.system.offload import offload

SYNC_WAIT_S = 120.0
_POLL_S = 2.0
_TIMESYNC_FLAG = Path("/run/systemd/timesync/synchronized")
_ASK_TIMEDATED = [
    "busctl",
    "--timeout=3",
    "get-property",
    "org.freedesktop.timedate1",
    "/org/freedesktop/timedate1",
    "org.freedesktop.timedate1",
    "NTPSynchronized",
]


def synchronised() -> bool | None:
    """Whether the clock was set from the network; None if that is unknown.

    Asks timesyncd's flag file, then systemd-timedated, which knows of chrony and ntpd too
    (adjtimex itself is refused in the sandbox). Blocks for up to 4 s.
    """
    if _TIMESYNC_FLAG.exists():
        return True
    try:
        answer = subprocess.run(_ASK_TIMEDATED, capture_output=True, timeout=4, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() == b"b true"


class Clock:
    """Admits TLS connections. ``floor_unix_s`` is the newest date that is certainly in the past."""

    def __init__(
        self,
        floor_unix_s: int = 0,
        *,
        now: Callable[[], float] = time.time,
        synchronised: Callable[[], bool | None] = synchronised,
    ) -> None:
        self.floor_unix_s = max(RELEASED_UNIX_S, floor_unix_s)
        self.now = now
        self._synchronised = synchronised

    @property
    def is_past(self) -> bool:
        """The clock shows a date that is certainly in the past."""
        return self.now() < self.floor_unix_s

    def check(self) -> None:
        """Raises :class:`ClockError` while the clock is behind."""
        if self.is_past:
            raise ClockError(f"it shows {_date(self.now())}, before {_date(self.floor_unix_s)}")

    async def wait_usable(self) -> None:
        """Return when the clock may be used for TLS.

        Raises :class:`ClockError` while it is behind. A clock that is not synchronised may still be
        right: after ``SYNC_WAIT_S`` TLS decides. A synchronised clock overrides a stored lower
        bound, which may come from a time when the clock was ahead.
        """
        if self.is_past and await offload(self._synchronised) is True:
            self.floor_unix_s = RELEASED_UNIX_S
        self.check()
        deadline = asyncio.get_running_loop().time() + SYNC_WAIT_S
        while asyncio.get_running_loop().time() < deadline:
            if await offload(self._synchronised) is not False:
                return
            await asyncio.sleep(_POLL_S)
            self.check()

    def describe(self) -> str:
        """For the status: "synchronised", "not synchronised", "behind", "unknown"."""
        if self.is_past:
            return "behind"
        known = self._synchronised()
        return "unknown" if known is None else "synchronised" if known else "not synchronised"


def _date(unix_s: float) -> str:
    return f"{utc(unix_s):%Y-%m-%d}"
