"""The relay's two files: waits for a restart, refusals for a reboot."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ztpd.provisioning.schedule import boot_instant
from ztpd.relay.channels import Channel
from ztpd.system.disk import DiskWriter
from ztpd.system.files import read_json, write_atomic

_OLD_S = 2 * 3600.0


class RefusalRecord:
    """Since when the present credentials are refused without any corrections in between.

    Kept in the state directory, because a vehicle's trips may all be shorter than the hour that
    counts. Written at the first refusal and removed at the first corrections.
    """

    def __init__(
        self,
        path: Path | None,
        channels: Sequence[Channel],
        now: Callable[[], float],
        disk: DiskWriter | None = None,
    ) -> None:
        """``now`` is the wall clock: monotonic time does not span a reboot. Without ``disk`` the
        file is written in the event loop."""
        self._path, self._now, self._disk = path, now, disk
        self._marks = [channel.mark for channel in channels]
        self._since_unix_s: float | None = None

    async def load(self) -> None:
        if self._path is None:
            return
        kept = await self._disk.read_json(self._path) if self._disk else read_json(self._path)
        since = kept.get("since_unix_s") if kept.get("marks") == self._marks else None
        self._since_unix_s = float(since) if isinstance(since, (int, float)) else None

    def note(self) -> float:
        """Note a refusal; seconds since the first one."""
        if self._since_unix_s is None or self._since_unix_s > self._now():
            self._since_unix_s = self._now()
            data = {"since_unix_s": int(self._since_unix_s), "marks": self._marks}
            self._write(_bytes(data))
        return self._now() - self._since_unix_s

    def clear(self) -> None:
        """Note that corrections came."""
        if self._since_unix_s is not None:
            self._since_unix_s = None
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
                "worked": channel.has_worked,
            }
            for channel in channels
        }
        data = _bytes({"boot": boot, "saved_boot_s": boot_s, "channels": kept})
        try:
            write_atomic(self._path, data, mode=0o600, durable=False)
        except OSError:
            self._path = None  # the waits are then lost at a restart, and nothing else

    def load(self, channels: Sequence[Channel]) -> None:
        """Restore the waits of every channel whose endpoint is unchanged.

        A file that no failure has renewed for ``_OLD_S`` is older than the longest wait: then only
        the fact that a channel has worked is restored.
        """
        kept = read_json(self._path) if self._path else {}
        boot, boot_s = boot_instant()
        known = kept.get("channels")
        if kept.get("boot") != boot or not isinstance(known, Mapping):
            return
        now = asyncio.get_running_loop().time()
        saved_boot_s = kept.get("saved_boot_s")
        old = not isinstance(saved_boot_s, (int, float)) or boot_s - saved_boot_s > _OLD_S
        for channel in channels:
            mine = known.get(channel.name)
            if not isinstance(mine, Mapping) or mine.get("mark") != channel.mark:
                continue  # a changed endpoint may work at once
            channel.has_worked = mine.get("worked") is True
            if old:
                continue
            channel.backoff.restore(mine.get("steps"))
            short, due = mine.get("short_lives"), mine.get("due_boot_s")
            channel.short_sessions = short if isinstance(short, int) else 0
            channel.last_short_s = now
            if isinstance(due, (int, float)):
                left_s = min(due - boot_s, channel.backoff.longest_s())
                channel.due_s = now + left_s if left_s > 0 else 0.0


def _bytes(data: object) -> bytes:
    return json.dumps(data).encode()
