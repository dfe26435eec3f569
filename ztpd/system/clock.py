"""The gateway's clocks, and whether the date is good enough for TLS."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ztpd import RELEASED_UNIX_S
from ztpd.errors import ClockError
from ztpd.model import utc
from ztpd.system.looptime import loop_time

SYNC_WAIT_S = 120.0
NOTED_DATE_HOLDS_S = 3600.0
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


def boot_instant() -> tuple[str, float]:
    """Which boot this is ("" if unknown), and the seconds since it."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot_id = ""
    return boot_id, time.clock_gettime(time.CLOCK_BOOTTIME)


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


def utc_now() -> datetime:
    return datetime.now(UTC)


def day(unix_s: float) -> str:
    """The date of ``unix_s`` in UTC, "2026-11-28"."""
    return f"{utc(unix_s):%Y-%m-%d}"


class Clock:
    """Admits TLS connections, unless the clock shows a date that is certainly in the past.

    That is one before the release of this program; and for an hour one before a date that was
    noted with the credentials. The clock may have been ahead when it was noted: after the hour TLS
    decides, so that no gateway is locked out for years.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        instant: Callable[[], tuple[str, float]] = boot_instant,
        synchronised: Callable[[], bool | None] = synchronised,
    ) -> None:
        """``instant`` gives the boot and the seconds since it, as :func:`boot_instant`."""
        self.now = now
        self.instant = instant
        self._monotonic = monotonic
        self._synchronised = synchronised
        self._noted_unix_s = 0
        self._noted_until_s = 0.0  # by the monotonic clock

    def note_past(self, unix_s: int) -> None:
        """``unix_s`` was the date when the credentials were stored."""
        if unix_s > self._noted_unix_s:
            self._noted_unix_s = unix_s
            self._noted_until_s = self._monotonic() + NOTED_DATE_HOLDS_S

    @property
    def floor_unix_s(self) -> int:
        """The newest date that is taken to be in the past."""
        holds = self._monotonic() < self._noted_until_s
        return max(RELEASED_UNIX_S, self._noted_unix_s if holds else 0)

    @property
    def is_past(self) -> bool:
        """The clock shows a date that is taken to be in the past."""
        return self.now() < self.floor_unix_s

    def check(self) -> None:
        """Raises :class:`ClockError` while the clock is behind."""
        if self.is_past:
            raise ClockError(f"it shows {day(self.now())}, before {day(self.floor_unix_s)}")

    async def wait_usable(self) -> None:
        """Return when the clock may be used for TLS.

        Raises :class:`ClockError` while it is behind. A clock that is not synchronised may still be
        right: after ``SYNC_WAIT_S`` TLS decides. A synchronised clock overrides a noted date.
        """
        import asyncio  # not for `ztpd status`, which only describes the clock

        from ztpd.system.offload import offload

        if self.is_past and await offload(self._synchronised) is True:
            self._noted_until_s = 0.0
        self.check()
        deadline = loop_time() + SYNC_WAIT_S
        while loop_time() < deadline:
            if await offload(self._synchronised) is not False:
                return
            await asyncio.sleep(_POLL_S)
            self.check()

    async def is_synchronised(self) -> bool:
        """Whether the clock was set from the network, as far as that is known."""
        from ztpd.system.offload import offload

        return not self.is_past and await offload(self._synchronised) is True

    def describe(self) -> str:
        """For the status: "synchronised", "not synchronised", "behind", "unknown"."""
        if self.is_past:
            return "behind"
        known = self._synchronised()
        return "unknown" if known is None else "synchronised" if known else "not synchronised"


IN_WORDS = {
    "synchronised": "synchronised",
    "not synchronised": "not synchronised",
    "behind": "which is past: the clock is behind",
    "unknown": "not known whether it is synchronised",
}
"""The descriptions of :meth:`Clock.describe`, for a person who reads them behind the date."""
