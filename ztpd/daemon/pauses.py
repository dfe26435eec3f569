"""The pause of a gateway: no session, no frames, until its cause ends.

A pause survives a restart of the daemon, and not a reboot: a gateway whose pause was forgotten
works again once it is switched on.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from ztpd import events, log, records
from ztpd.lifecycle import Dispatch, Event
from ztpd.model import utc
from ztpd.status import PauseStatus
from ztpd.system.clock import Clock
from ztpd.system.files import read_json, write_or_remove

FILE = "pause.json"


class Asker(StrEnum):
    """Who asked for a pause; the value stands in the status."""

    PERSON = "person"
    BUDGET = "budget"
    STILL = "still"


_ENDS = {
    Asker.PERSON: "`ztpd resume` or a reboot",
    Asker.STILL: "it moves, or `ztpd resume`",
}


class _PauseFile(NamedTuple):
    boot: str = ""
    paused: PauseStatus | None = None
    ignored_month: str = ""


class Pauses:
    """The present pause, kept in the runtime directory."""

    def __init__(self, runtime_dir: Path, clock: Clock, dispatch: Dispatch) -> None:
        self._path, self._clock, self._dispatch = runtime_dir / FILE, clock, dispatch
        self._boot, _ = clock.instant()
        stored = records.from_json(_PauseFile, read_json(self._path))
        if stored.boot != self._boot or (stored.paused and stored.paused.by not in list(Asker)):
            stored = _PauseFile()
        self.present: PauseStatus | None = stored.paused
        self.ignored_month = stored.ignored_month
        """First day of the month whose budget a person chose to exceed; "" for none."""

    @property
    def by(self) -> Asker | None:
        return Asker(self.present.by) if self.present else None

    def begin(self, by: Asker, why: str, *, until: str = "") -> None:
        """Pause because of ``why``; ``until`` says how it ends, where that depends."""
        ends = until or _ENDS[by]
        since = utc(self._clock.now()).isoformat(timespec="seconds")
        self.present = PauseStatus(by, why, ends, since)
        self._save()
        log.emit(events.PAUSED, why=self.text)
        self._dispatch(Event.PAUSE, self.text)

    def end(self, why: str) -> None:
        """Go on because of ``why``."""
        self.present = None
        self._save()
        log.emit(events.RESUMED, why=why)
        self._dispatch(Event.RESTART, why)

    def ignore_budget(self, month: str) -> None:
        self.ignored_month = month
        self._save()

    @property
    def text(self) -> str:
        """As "by a person, until `ztpd resume` or a reboot"."""
        return str(self.present) if self.present else ""

    def _save(self) -> None:
        document = records.to_json(_PauseFile(self._boot, self.present, self.ignored_month))
        write_or_remove(self._path, json.dumps(document).encode())  # without it, a restart resumes
