"""When the provisioning service may be called again, kept across crashes, restarts and reboots.

No wall-clock date decides: after power-up the clock may show 1970. A wait is kept as the seconds
that were left when it was written; within one boot the time that has passed since is known from
the boot-time clock, and after a reboot the whole rest is waited again. A loop of restarts can so
make fewer calls than running on, never more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ztpd.link.files import read_json, write_atomic

REFRESH_EVERY_S = 86_400.0


def boot_instant() -> tuple[str, float]:
    """Which boot this is, and the seconds since it."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot_id = ""
    return boot_id, time.clock_gettime(time.CLOCK_BOOTTIME)


class Schedule:
    """The file behind the waits of provisioning. Writing may raise OSError."""

    def __init__(
        self,
        path: Path,
        *,
        instant: Callable[[], tuple[str, float]] = boot_instant,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._instant = instant
        self._now = now
        self._data = read_json(path)

    @property
    def called_before(self) -> bool:
        """Whether a call was ever made: the first one is preceded by the splay."""
        return "called_unix_s" in self._data

    @property
    def steps(self) -> object:
        """What :meth:`ztpd.retry.Backoff.dump` gave."""
        return self._data.get("steps")

    def left_s(self, cap_s: float) -> float:
        """Seconds until the next call is due, between 0 and ``cap_s``."""
        left_s = self._number("wait_s") - (self._passed_s() or 0.0)
        return min(max(left_s, 0.0), cap_s)

    def since_call_s(self) -> float:
        """Seconds since the last call began, as far as is known; infinite if there was none."""
        if not self.called_before:
            return float("inf")
        boot, boot_s = self._instant()
        if boot and self._data.get("called_boot") == boot:
            return boot_s - self._number("called_boot_s")
        return max(0.0, self._now() - self._number("called_unix_s"))

    def may_refresh(self) -> bool:
        return self.since_call_s() >= REFRESH_EVERY_S

    def wait(self, wait_s: float, steps: dict[str, int]) -> None:
        """The next call is due in ``wait_s``."""
        boot, boot_s = self._instant()
        self._data |= {"wait_s": round(wait_s, 1), "steps": steps, "boot": boot, "boot_s": boot_s}
        self._save()

    def calling(self, wait_s: float, steps: dict[str, int]) -> None:
        """A call begins; should ztpd die in it, the next one is due in ``wait_s``."""
        boot, boot_s = self._instant()
        self._data |= {
            "called_unix_s": int(self._now()),
            "called_boot": boot,
            "called_boot_s": boot_s,
        }
        self.wait(wait_s, steps)

    def stopping(self) -> None:
        """Keep what is left of the wait, for a reboot."""
        passed_s = self._passed_s()
        if self._number("wait_s") and passed_s:
            self.wait(self.left_s(RESTORED_CAP_S), self._data.get("steps", {}))

    def succeeded(self) -> None:
        self._data |= {"wait_s": 0, "steps": {}}
        self._save()

    def no_wait(self) -> None:
        """A person asked for a try now; the steps stay."""
        if self._number("wait_s"):
            self._data["wait_s"] = 0
            self._save()

    def _passed_s(self) -> float | None:
        boot, boot_s = self._instant()
        if not boot or self._data.get("boot") != boot:
            return None
        return max(0.0, boot_s - self._number("boot_s"))

    def _number(self, key: str) -> float:
        value = self._data.get(key, 0)
        return float(value) if isinstance(value, (int, float)) else 0.0

    def _save(self) -> None:
        data = json.dumps(self._data, indent=1).encode()
        write_atomic(self._path, data, mode=0o600, durable=True)


RESTORED_CAP_S = 172_800.0
