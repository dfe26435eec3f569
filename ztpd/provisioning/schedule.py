"""When the provisioning service may be called again, kept across crashes, restarts and reboots.

No wall-clock date decides: after power-up the clock may show 1970. The file holds the seconds that
were left when it was written; within one boot the boot-time clock gives the time since then. After
a reboot the wall clock gives it, if it has advanced: a gateway that loses its power every evening
must not begin its wait again every morning. A loop of restarts makes no more calls than running on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ztpd.records import number
from ztpd.system.clock import boot_instant
from ztpd.system.disk import DiskWriter
from ztpd.system.files import read_json, write_atomic

REFRESH_EVERY_S = 86_400.0
LONGEST_WAIT_S = 172_800.0  # a Retry-After of a day, with as much jitter
_NOTE_EVERY_S = 3600.0


class Schedule:
    """The file behind the waits of provisioning.

    With ``disk`` changes are written beside the event loop; without, at once, and every change may
    raise OSError.
    """

    def __init__(
        self,
        path: Path,
        *,
        instant: Callable[[], tuple[str, float]] = boot_instant,
        now: Callable[[], float] = time.time,
        disk: DiskWriter | None = None,
    ) -> None:
        self._path = path
        self._disk = disk
        self._instant = instant
        self._now = now
        self._data = _sound(read_json(path), instant())
        self._before_call: dict[str, Any] = {}
        self._request: dict[str, str] = {}  # the last one of this run
        self._noted = False  # the call under way is noted on the disk
        self._note_s = 0.0  # boot time at which the call under way was noted on the disk
        self._old_note_s: float | None = None  # the same, of a call that was not delivered

    def called_for(self, hardware_id: str) -> bool:
        """Whether this gateway has called before: its first call is preceded by the splay.

        A copied card brings the file of another one along.
        """
        return bool(self._data.get("hardware_id") == hardware_id)

    def splay_s(self, hardware_id: str, drawn_s: float) -> float:
        """Seconds until the first call ever: ``drawn_s`` at first, and what is left of it after a
        restart."""
        if self._data.get("splay_of") != hardware_id:
            self._data["splay_of"] = hardware_id
            self._set_wait(drawn_s, {})
        else:
            self._set_wait(self.left_s(), {})  # counted in this boot from now on
        if self._number("wait_s"):
            self._save()
        return self.left_s()

    def request_changed(self, request_hash: str) -> bool:
        """Whether ``request_hash`` is another one than the last call's: a person has changed the
        token or the settings, so the answer may be another one. "" stands for no request."""
        return request_hash not in ("", self._data.get("question", request_hash))

    @property
    def steps(self) -> dict[str, int]:
        """The result of :meth:`ztpd.retry.Backoff.dump`."""
        steps: dict[str, int] = self._data.get("steps", {})
        return steps

    def left_s(self) -> float:
        """Seconds until the next call is due, between 0 and :data:`LONGEST_WAIT_S`.

        A day after a call that gave credentials: a gateway that needs some again so soon has a
        disk that loses them, and would call at every start.
        """
        passed_s = self._passed_s()
        if passed_s is None and "wall_s" in self._data:
            passed_s = max(0.0, self._now() - self._number("wall_s"))
        left_s = self._number("wait_s") - (passed_s or 0.0)
        if self.succeeded_last:
            left_s = max(left_s, REFRESH_EVERY_S - self.since_call_s())
        return min(max(left_s, 0.0), LONGEST_WAIT_S)

    def since_call_s(self) -> float:
        """Seconds since the last call began, at least; infinite if there was none."""
        if "called_unix_s" not in self._data:
            return float("inf")
        boot, boot_s = self._instant()
        if boot and self._data.get("called_boot") == boot:
            return max(0.0, boot_s - self._number("called_boot_s"))
        at_least_s = boot_s if boot and self._data.get("called_boot") else 0.0
        return max(at_least_s, self._now() - self._number("called_unix_s"))

    def may_refresh(self) -> bool:
        """Whether refused credentials may be replaced by a call: a day after the last call that
        was answered with credentials or a refusal; after one that failed, when its wait is over."""
        answered = self._data.get("answered", self._data.get("succeeded"))
        if self.since_call_s() >= REFRESH_EVERY_S:
            return True
        return not answered and self.left_s() <= 0

    def may_renew(self) -> bool:
        """Whether credentials that still work may be renewed: one call a day, failed or not."""
        return self.since_call_s() >= REFRESH_EVERY_S

    @property
    def is_ahead(self) -> bool:
        """Whether a date was noted that is yet to come: then, or now, the clock is wrong."""
        return max(self._number("called_unix_s"), self._number("wall_s")) > self._now() + 1

    def correct_dates(self) -> None:
        """The clock is right: what was noted while it was ahead was noted before now. Without this
        a gateway that never runs for a day would not ask before those dates."""
        since_s, left_s = self.since_call_s(), self._number("wait_s") - (self._passed_s() or 0.0)
        if "called_unix_s" in self._data:
            self._data["called_unix_s"] = int(self._now() - since_s)
        self._set_wait(max(0.0, left_s), self.steps)
        self._save()

    @property
    def succeeded_last(self) -> bool:
        """Whether the last call gave credentials."""
        return bool(self._data.get("succeeded"))

    @property
    def reason(self) -> tuple[str, str]:
        """Code and detail of the error that the wait is for, "" where none was."""
        return str(self._data.get("error", "")), str(self._data.get("detail", ""))

    def wait(
        self,
        wait_s: float,
        steps: dict[str, int],
        *,
        error: str = "",
        detail: str = "",
        answered: bool = False,
    ) -> None:
        """The next call is due in ``wait_s``, because of ``error``; ``answered``: a refusal."""
        self._set_wait(wait_s, steps)
        self._data |= self._request | {"error": error, "detail": detail, "answered": answered}
        self._save()

    def calling(
        self, wait_s: float, steps: dict[str, int], hardware_id: str, request_hash: str = ""
    ) -> None:
        """A call begins; should ztpd die in it, the next one is due in ``wait_s``.

        After :meth:`not_delivered` the note on the disk is left alone for an hour: a gateway that
        waits for its network must not wear out its card.
        """
        self._before_call = dict(self._data)
        boot, boot_s = self._instant()
        self._data |= {
            "called_unix_s": int(self._now()),
            "called_boot": boot,
            "called_boot_s": boot_s,
            "succeeded": False,
            "answered": False,
            "error": "",
        }
        self._request = {"hardware_id": hardware_id, "question": request_hash}
        self._data |= self._request
        self._set_wait(wait_s, steps)
        note_s, self._old_note_s = self._old_note_s, None
        self._noted = note_s is None or boot_s - note_s >= _NOTE_EVERY_S
        if self._noted:
            self._save()
            note_s = boot_s
        self._note_s = note_s or 0.0

    def not_delivered(self) -> None:
        """The request was never delivered: restore the previous schedule."""
        self._data, self._old_note_s = self._before_call, self._note_s
        if self._noted:
            self._save()

    def keep_wait(self) -> None:
        """Store the rest of the wait, for a reboot."""
        if self._number("wait_s") and self._passed_s():
            error, detail = self.reason
            answered = bool(self._data.get("answered"))
            self.wait(self.left_s(), self.steps, error=error, detail=detail, answered=answered)

    def succeeded(self) -> None:
        self._data |= {
            "wait_s": 0,
            "steps": {},
            "succeeded": True,
            "answered": True,
            "error": "",
        }
        self._save()

    def no_wait(self, steps: dict[str, int] | None = None) -> None:
        """A person asked for a try now. ``steps`` replace those of the wait that it ends."""
        if self._number("wait_s") or self.succeeded_last:
            kept = self.steps if steps is None else steps
            self._data |= {"wait_s": 0, "succeeded": False, "error": "", "steps": kept}
            self._save()

    def forget_others(self, hardware_id: str) -> None:
        """Drop entries of other gateways than ``hardware_id``."""
        if self._data.get("splay_of") != hardware_id:
            self._data = {}

    def _set_wait(self, wait_s: float, steps: dict[str, int]) -> None:
        boot, boot_s = self._instant()
        self._data |= {
            "wait_s": round(wait_s, 1),
            "steps": steps,
            "boot": boot,
            "boot_s": boot_s,
            "wall_s": int(self._now()),
        }

    def _passed_s(self) -> float | None:
        boot, boot_s = self._instant()
        if not boot or self._data.get("boot") != boot:
            return None
        return max(0.0, boot_s - self._number("boot_s"))

    def _number(self, key: str) -> float:
        return number(self._data.get(key))

    def _save(self) -> None:
        data = json.dumps(self._data, indent=1).encode()
        if self._disk:
            self._disk.write(self._path, data)
        else:
            write_atomic(self._path, data, mode=0o600, durable=True)

    async def written(self) -> None:
        """Return when the last change is on the disk, or the disk has refused it."""
        if self._disk:
            await self._disk.written()


def _sound(data: dict[str, Any], instant: tuple[str, float]) -> dict[str, Any]:
    """The entries that this module may have written; none where they are of a later time of this
    boot, by which a wait would never end."""
    boot, boot_s = instant
    for name in ("boot", "called_boot"):
        if boot and data.get(name) == boot and number(data.get(f"{name}_s")) > boot_s:
            return {}
    kept: dict[str, Any] = {
        key: each for key, each in data.items() if isinstance(each, (str, int, float))
    }
    steps = data.get("steps")
    known = steps.items() if isinstance(steps, dict) else ()
    return kept | {"steps": {key: each for key, each in known if isinstance(each, int)}}
