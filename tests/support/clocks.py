"""The clocks of a gateway in virtual time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from ztpd.system.clock import Clock


class Clocks:
    """Wall clock and time since boot go with the event loop's; a test can set and reboot them."""

    def __init__(self, began_unix_s: float | None = None) -> None:
        """The wall clock at the loop's time 0 shows ``began_unix_s``; None: this machine's."""
        self.off_s = 0.0  # the wall clock's error
        self._began_unix_s = time.time() if began_unix_s is None else began_unix_s
        self._boot, self._booted_s = 1, -100.0
        self.clock = Clock(
            now=lambda: self._began_unix_s + _now() + self.off_s,
            monotonic=_now,
            instant=lambda: (f"boot {self._boot}", _now() - self._booted_s),
            synchronised=lambda: True,
        )

    @classmethod
    def mid_month(cls) -> Clocks:
        """They begin at noon of the next month's tenth: a test that counts by months or days
        crosses no end of one by chance. Its receiver must have their :meth:`utc`."""
        next_month = datetime.now(UTC).replace(day=1) + timedelta(days=31)
        return cls(next_month.replace(day=10, hour=12).timestamp())

    def utc(self) -> datetime:
        """The time of the satellites."""
        return datetime.fromtimestamp(self.true_unix_s(), UTC)

    def true_unix_s(self) -> float:
        """The time that services and satellites have."""
        return self._began_unix_s + _now()

    def reboot(self, off_for_s: float = 0.0) -> None:
        """Another boot, after the gateway was off for ``off_for_s``."""
        self._began_unix_s += off_for_s
        self._boot, self._booted_s = self._boot + 1, _now() - 20.0

    def suspend(self, for_s: float) -> None:
        """The machine sleeps for so long: wall clock and time since boot go on, timers do not."""
        self._began_unix_s += for_s
        self._booted_s -= for_s


def _now() -> float:
    return asyncio.get_running_loop().time()
