"""The ways to a correction service, and what each remembers of its failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ztpd import retry
from ztpd.errors import (
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    GgaRequired,
    MqttWithdrawn,
    ResolveFailed,
    Retry,
    SessionClosed,
    SessionError,
    SessionEvicted,
    ZtpdError,
)
from ztpd.model import SourceEndpoint, fingerprint
from ztpd.provisioning.schedule import boot_instant
from ztpd.system.files import read_json, write_atomic

STABLE_S = 60.0
MAX_SHORT_SESSIONS = 3
FAST_S = 1.5

_WITHDRAWING = re.compile(r"pp[a-z0-9-]*\.services\.u-blox\.com\.?", re.IGNORECASE)
_WORKED_WITHIN_S = 6 * 3600.0  # what worked so recently is troubled, not withdrawn
_DEAD_AFTER_S = 900.0  # where there is no other way to compare with
_WITHOUT_FIX = retry.Delay(300, 300, equal=True)

_DENIED = (ConnectRefused, ConnectionLost, SessionClosed)
_SILENT = (ConnectTimeout, ResolveFailed)


@dataclass
class Channel:
    """One transport of one service."""

    endpoint: SourceEndpoint
    backoff: retry.Backoff
    rng: random.Random
    due_s: float = 0.0
    error: ZtpdError | None = None
    short_sessions: int = 0
    last_corrections_s: float = float("-inf")  # when it last carried corrections
    failing_since_s: float | None = None  # since then no session could be opened
    hold_without_fix_until_s: float = 0.0  # so long it waits for the receiver to have a fix

    @property
    def name(self) -> str:
        return f"{self.endpoint.kind} {self.endpoint.host}:{self.endpoint.port}"

    @property
    def mark(self) -> str:
        """Tells whether it is still the same after a restart: another password is another way."""
        endpoint = self.endpoint
        return fingerprint(*(getattr(endpoint, each.name) for each in fields(endpoint)))

    def ready_s(self, *, has_fix: bool) -> float:
        """When it is to be tried. A caster that wants a position is left alone without one."""
        return self.due_s if has_fix else max(self.due_s, self.hold_without_fix_until_s)

    @property
    def fast_retries_left(self) -> bool:
        """It had worked well until a moment ago: the next try is not worth another way."""
        return self.backoff.fast_retries_left and self.error is not None

    def ended(
        self,
        error: ZtpdError,
        now: float,
        *,
        carried_s: float,
        opened: bool,
        others: Sequence[float],
    ) -> tuple[ZtpdError, float]:
        """Note that a session, or the try to open one, ended; what it means, and how long to wait.

        ``carried_s``: for how long it carried corrections; ``others``: when the other ways last
        did.
        """
        if carried_s >= STABLE_S:
            self.backoff.reset_fast()
            self.short_sessions = 0
        elif isinstance(error, (SessionClosed, ConnectionLost)) and opened:
            self.short_sessions += 1
            if self.short_sessions >= MAX_SHORT_SESSIONS:
                error = SessionEvicted(f"{error.detail}, {self.short_sessions} times in a row")
        if opened:
            self.failing_since_s = None
        elif self.failing_since_s is None:
            self.failing_since_s = now
        if not opened and self._withdrawn(error, now, others):
            error = MqttWithdrawn(str(error))
        wait_s = self.backoff.wait_s(error)
        self.error, self.due_s = error, now + wait_s
        waiting_for_fix = isinstance(error, GgaRequired)
        self.hold_without_fix_until_s = (
            now + _WITHOUT_FIX.sample(0, self.rng) if waiting_for_fix else 0.0
        )
        return error, wait_s

    @property
    def refuses(self) -> bool:
        """It said no the last time: these credentials may not be the right ones any more."""
        return isinstance(self.error, SessionError) and self.error.retry is Retry.REFUSED

    @property
    def may_have_ended(self) -> bool:
        """It is silent, and of the kind that u-blox withdraws."""
        endpoint = self.endpoint
        withdrawn = endpoint.kind == "mqtt" and _WITHDRAWING.fullmatch(endpoint.host)
        return bool(withdrawn) and isinstance(self.error, _DENIED + _SILENT)

    def _withdrawn(self, error: ZtpdError, now: float, others: Sequence[float]) -> bool:
        """Whether ``error`` looks like the end of the service, not like an outage.

        Silence proves nothing where everything else is silent too.
        """
        endpoint, since_s = self.endpoint, self.failing_since_s
        if endpoint.kind != "mqtt" or not _WITHDRAWING.fullmatch(endpoint.host):
            return False
        if since_s is None or now - self.last_corrections_s < _WORKED_WITHIN_S:
            return False
        if any(last_corrections_s >= since_s for last_corrections_s in others):
            return isinstance(error, _DENIED + _SILENT)
        return isinstance(error, _DENIED) and now - since_s >= _DEAD_AFTER_S

    def retry_now(self) -> None:
        self.due_s = self.hold_without_fix_until_s = 0.0


class RefusalRecord:
    """Since when the present credentials are refused, and nothing was carried: in the state
    directory, because a vehicle's trips may all be shorter than the hour that counts.

    Written at the first refusal and removed at the first corrections.
    """

    def __init__(
        self, path: Path | None, channels: Sequence[Channel], now: Callable[[], float]
    ) -> None:
        """``now`` is the wall clock: a boot's own clocks tell nothing of the boot before."""
        self._path, self._now = path, now
        self._marks = [channel.mark for channel in channels]
        kept = read_json(path) if path else {}
        since = kept.get("since_unix_s") if kept.get("marks") == self._marks else None
        self._since_unix_s = float(since) if isinstance(since, (int, float)) else None

    def note(self) -> float:
        """They are refused now; seconds since they were first."""
        if self._since_unix_s is None or self._since_unix_s > self._now():
            self._since_unix_s = self._now()
            data = {"since_unix_s": int(self._since_unix_s), "marks": self._marks}
            self._write(lambda path: write_atomic(path, _bytes(data), mode=0o600, durable=True))
        return self._now() - self._since_unix_s

    def clear(self) -> None:
        if self._since_unix_s is not None:
            self._since_unix_s = None
            self._write(lambda path: path.unlink(missing_ok=True))

    def _write(self, write: Callable[[Path], None]) -> None:
        with contextlib.suppress(OSError):  # it then begins anew at the next boot
            if self._path:
                write(self._path)


def _bytes(data: object) -> bytes:
    return json.dumps(data).encode()


class ChannelState:
    """Steps and waits in the runtime directory: a crash must not hammer the service."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def save(self, channels: Sequence[Channel]) -> None:
        if self._path is None:
            return
        boot, boot_s = boot_instant()
        now = asyncio.get_running_loop().time()
        kept = {
            channel.name: {
                "mark": channel.mark,
                "steps": channel.backoff.dump(),
                "due_boot_s": boot_s + max(0.0, channel.due_s - now),
                "short_lives": channel.short_sessions,
            }
            for channel in channels
        }
        data = _bytes({"boot": boot, "channels": kept})
        try:
            write_atomic(self._path, data, mode=0o600, durable=False)
        except OSError:
            self._path = None  # a runtime directory that fails costs the memory, nothing else

    def load(self, channels: Sequence[Channel]) -> None:
        kept = read_json(self._path) if self._path else {}
        boot, boot_s = boot_instant()
        known = kept.get("channels")
        if kept.get("boot") != boot or not isinstance(known, Mapping):
            return
        now = asyncio.get_running_loop().time()
        for channel in channels:
            mine = known.get(channel.name)
            if not isinstance(mine, Mapping) or mine.get("mark") != channel.mark:
                continue  # a person or the service has changed it: its failures may be over
            channel.backoff.restore(mine.get("steps"))
            lives, due = mine.get("short_lives"), mine.get("due_boot_s")
            channel.short_sessions = lives if isinstance(lives, int) else 0
            if isinstance(due, (int, float)):
                left_s = min(due - boot_s, channel.backoff.longest_s())
                channel.due_s = now + left_s if left_s > 0 else 0.0
