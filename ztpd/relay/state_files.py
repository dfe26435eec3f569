"""The relay's two files: waits for a restart, refusals for a reboot."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ztpd.records import number
from ztpd.relay.channels import (
    LONGEST_LEFT_S,
    MAX_SHORT_SESSIONS,
    MOST_UNUSED_TIMES,
    Channel,
)
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter
from ztpd.system.files import read_json, write_atomic, write_or_remove
from ztpd.system.looptime import loop_time

_OLD_S = 2 * 3600.0
_READ_WITHIN_S = 1.0
_CLOCK_SET_S = 60.0  # a wall clock that moves further against the time since boot has been set


class RefusalRecord:
    """Since when the present credentials are refused without any corrections in between.

    Kept in the state directory, because a vehicle's trips may all be shorter than the hour that
    counts. Written at the first refusal and removed at the first corrections. Within one boot the
    seconds since it count, so that a clock that is set in between changes nothing; the wall clock
    spans a reboot.
    """

    def __init__(
        self,
        path: Path | None,
        channels: Sequence[Channel],
        clock: Clock,
        disk: DiskWriter | None = None,
    ) -> None:
        """Without ``disk`` the file is written in the event loop."""
        self._path, self._clock, self._disk = path, clock, disk
        self._marks = [channel.mark for channel in channels]
        self._since_boot_s: float | None = None  # seconds since boot; below 0 for an earlier boot
        self._written_unix_s: float | None = None
        self._is_unread = False

    async def load(self) -> None:
        if self._path is None:
            return
        try:
            async with asyncio.timeout(_READ_WITHIN_S):  # a hanging card is no reason to wait
                kept = (
                    await self._disk.read_json(self._path) if self._disk else read_json(self._path)
                )
        except TimeoutError:
            self._is_unread = True
            return
        if kept.get("marks") != self._marks or "since_unix_s" not in kept:
            return
        boot, boot_s = self._clock.instant()
        since_unix_s = self._written_unix_s = number(kept["since_unix_s"])
        if boot and kept.get("boot") == boot:
            self._since_boot_s = min(number(kept.get("since_boot_s")), boot_s)
        else:
            self._since_boot_s = boot_s - max(0.0, self._clock.now() - since_unix_s)

    def note(self) -> float:
        """Note a refusal; seconds since the first one."""
        boot, boot_s = self._clock.instant()
        if self._since_boot_s is None:
            self._since_boot_s = boot_s
        refused_s = boot_s - self._since_boot_s
        since_unix_s = self._clock.now() - refused_s
        written = self._written_unix_s
        if written is None or abs(since_unix_s - written) > _CLOCK_SET_S:
            self._written_unix_s = since_unix_s
            data = {"since_unix_s": int(since_unix_s), "marks": self._marks}
            self._write(_bytes(data | {"boot": boot, "since_boot_s": self._since_boot_s}))
        return refused_s

    def clear(self) -> None:
        """Note that corrections came."""
        if self._since_boot_s is not None or self._is_unread:
            self._since_boot_s = self._written_unix_s = None
            self._is_unread = False
            self._write(None)

    def _write(self, content: bytes | None) -> None:
        if self._path is None:
            return
        if self._disk:
            self._disk.write(self._path, content)
            return
        with contextlib.suppress(OSError):  # the count then starts again at the next boot
            if content is None:
                self._path.unlink(missing_ok=True)
            else:
                write_atomic(self._path, content, mode=0o600, durable=True)


class ChannelState:
    """Steps and waits in the runtime directory: a crash loop must not hammer the service."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path, self._clock = path, clock

    def save(self, channels: Sequence[Channel]) -> None:
        if self._path is None:
            return
        boot, boot_s = self._clock.instant()
        now = loop_time()
        kept = {
            channel.name: {
                "mark": channel.mark,
                "steps": channel.backoff.dump(),
                "due_boot_s": boot_s + max(0.0, channel.due_s - now),
                "short_lives": channel.short_sessions,
                "worked": channel.has_worked,
                "unused_times": channel.unused_times,
                "left_until_boot_s": boot_s + channel.left_until_s - now if channel.left else None,
            }
            for channel in channels
        }
        data = _bytes({"boot": boot, "saved_boot_s": boot_s, "channels": kept})
        if not write_or_remove(self._path, data):
            self._path = None  # the waits are then lost at a restart, and nothing else

    def load(self, channels: Sequence[Channel]) -> None:
        """Restore the waits of every channel whose endpoint is unchanged.

        A file that no failure has renewed for ``_OLD_S`` is older than the longest wait: then only
        the fact that a channel has worked is restored.
        """
        kept = read_json(self._path) if self._path else {}
        boot, boot_s = self._clock.instant()
        known = kept.get("channels")
        if kept.get("boot") != boot or not isinstance(known, Mapping):
            return
        now = loop_time()
        saved_boot_s = number(kept.get("saved_boot_s"), float("-inf"))
        old = not 0 <= boot_s - saved_boot_s <= _OLD_S
        for channel in channels:
            mine = known.get(channel.name)
            if not isinstance(mine, Mapping) or mine.get("mark") != channel.mark:
                continue  # a changed endpoint may work at once
            channel.has_worked = mine.get("worked") is True
            if old:
                continue
            channel.backoff.restore(mine.get("steps"))
            times = int(number(mine.get("unused_times")))
            channel.unused_times = min(max(times, 0), MOST_UNUSED_TIMES)
            if (until_s := mine.get("left_until_boot_s")) is not None:
                left_s = min(number(until_s) - boot_s, LONGEST_LEFT_S)
                channel.left, channel.left_until_s = True, now + left_s
            short = int(number(mine.get("short_lives")))
            channel.short_sessions = min(max(short, 0), MAX_SHORT_SESSIONS)
            channel.last_short_s = now
            left_s = min(number(mine.get("due_boot_s")) - boot_s, channel.backoff.longest_s())
            channel.due_s = now + left_s if left_s > 0 else 0.0


def _bytes(data: object) -> bytes:
    return json.dumps(data).encode()
