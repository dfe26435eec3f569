"""When a mountpoint is used that is billed for each fetch of assistance."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from ztpd.records import number
from ztpd.system.clock import Clock
from ztpd.system.files import read_json, write_atomic

EVERY_S = 7200.0  # the service's orbits are good for so long


class FetchRecord:
    """The last fetch, in the runtime directory: a restart of ztpd must not pay again."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._last: tuple[str, float] | None = None  # boot, and seconds since it
        if path and "boot" in (kept := read_json(path)):
            self._last = str(kept["boot"]), number(kept.get("boot_s"))

    @property
    def is_due(self) -> bool:
        boot, boot_s = self._clock.instant()
        if self._last is None or self._last[0] != boot:
            return True
        return not 0 <= boot_s - self._last[1] < EVERY_S

    def note(self) -> None:
        """A fetch begins."""
        self._last = boot, boot_s = self._clock.instant()
        content = {"boot": boot, "boot_s": boot_s}
        if self._path:
            with suppress(OSError):  # then a restart may pay once more
                write_atomic(self._path, json.dumps(content).encode(), mode=0o600, durable=False)
