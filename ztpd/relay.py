"""From a correction service to the receiver: which source, when again, and is it fresh.

One session at a time. A session never reconnects by itself; it ends with a typed error and this
room decides what follows. "Connected" proves nothing: only a session that carried corrections
for a minute resets the waits.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ztpd import events, log, retry
from ztpd.errors import (
    ConnectionLost,
    ReceiverFormat,
    SessionClosed,
    SessionKicked,
    SessionRefused,
    SessionStale,
    ZtpdError,
)
from ztpd.lifecycle import Event, Report
from ztpd.link.files import read_json, write_atomic
from ztpd.link.schedule import boot_instant
from ztpd.model import Delivery, Fix, Frame, FrameKind
from ztpd.sources import Session

PROVEN_S = 60.0
SHORT_LIVES = 3
REFRESH_AFTER_S = 3600.0
_POSITION_WITHIN_S = 60.0
_SUMMARY_S = 3600.0
_MINUTE_S = 60.0
_CORRECTIONS = {"spartn": FrameKind.SPARTN, "rtcm": FrameKind.RTCM3}


class Sink(Protocol):
    """The receiver, as far as corrections are concerned."""

    @property
    def ready(self) -> bool: ...
    @property
    def error(self) -> ZtpdError | None: ...
    @property
    def takes(self) -> frozenset[FrameKind]: ...
    @property
    def fix(self) -> Fix | None: ...
    @property
    def dropped(self) -> int: ...
    async def wait_ready(self) -> None: ...
    def deliver(self, frame: Frame) -> None: ...


OpenSession = Callable[[Delivery], AbstractAsyncContextManager[Session]]


@dataclass
class _Channel:
    """One way to the service, with its own memory of failures."""

    delivery: Delivery
    backoff: retry.Backoff
    due_s: float = 0.0
    error: ZtpdError | None = None
    short_lives: int = 0
    refused_since_s: float | None = None

    @property
    def name(self) -> str:
        return f"{self.delivery.kind} {self.delivery.host}:{self.delivery.port}"


@dataclass
class Progress:
    """What the present session has done so far, for the status."""

    where: str = ""
    opened_s: float = 0.0
    format: FrameKind | None = None
    first_frame_s: float | None = None
    last_frame_s: float | None = None
    frames: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    skipped: int = 0
    other_format: int = 0


class Relay:
    """Runs sessions for ever; raises only :class:`SessionRefused` when new credentials are due."""

    def __init__(
        self,
        deliveries: Sequence[Delivery],
        receiver: Sink,
        *,
        open_session: OpenSession,
        report: Report,
        format: str = "auto",
        stale_after_s: float = 15.0,
        may_refresh: Callable[[], bool] = lambda: False,
        memory: Path | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._receiver = receiver
        self._open_session = open_session
        self._report = report
        self._format = _CORRECTIONS.get(format)
        self._stale_after_s = stale_after_s
        self._may_refresh = may_refresh
        self._memory = memory
        self._failures = log.Failures()
        self._channels = [
            _Channel(delivery, retry.Backoff(retry.SESSION, rng)) for delivery in deliveries
        ]
        self.progress = Progress()

    async def run(self) -> None:
        self._restore()
        while True:
            channel = self._choose()
            await self._wait_until_due(channel)
            channel.due_s = 0.0
            try:
                await self._session(channel)
            except ZtpdError as error:
                self._ended(channel, error)

    def _choose(self) -> _Channel:
        """The first that is due, in the order of preference; else the one due soonest."""
        now = _now()
        due = [channel for channel in self._channels if channel.due_s <= now]
        return due[0] if due else min(self._channels, key=lambda channel: channel.due_s)

    async def _wait_until_due(self, channel: _Channel) -> None:
        wait_s = channel.due_s - _now()
        if wait_s > 0:
            person = channel.error is not None and channel.error.needs_person
            event = Event.HALTED if person else Event.POSTPONED
            self._report(event, error=channel.error, wait_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _session(self, channel: _Channel) -> None:
        """One session, until it ends; it always ends with an error."""
        if not self._receiver.ready:
            error = self._receiver.error
            event = Event.HALTED if error and error.needs_person else Event.POSTPONED
            self._report(event, "waiting for the receiver", error=error)
            await self._receiver.wait_ready()
        if channel.delivery.kind == "mqtt" and channel.delivery.topics_offered:
            await self._position()
        self._report(Event.CONNECT, channel.name)
        self.progress = Progress(where=channel.name, opened_s=_now())
        try:
            async with self._open_session(channel.delivery) as session:
                self.progress.where, self.progress.opened_s = session.where, _now()
                log.emit(events.CONNECTED, where=session.where)
                await self._pump(session)
        except TimeoutError as error:
            raise SessionStale(f"{self.progress.where}, {self._stale_after_s:g} s") from error

    async def _position(self) -> None:
        """Which region's topics are wanted depends on it; right after power-up it takes a while.

        Without one the session is tried all the same: the region may be configured.
        """
        deadline_s = _now() + _POSITION_WITHIN_S
        while not (self._receiver.fix and self._receiver.fix.ok) and _now() < deadline_s:
            self._report(Event.POSTPONED, "waiting for the receiver's first position")
            await asyncio.sleep(1)

    async def _pump(self, session: Session) -> None:
        """Frames from ``session`` to the receiver, as long as corrections keep coming.

        Raises TimeoutError when none came for the configured time.
        """
        minute = _Minute(self._receiver, session)
        async with asyncio.timeout(self._stale_after_s) as idle:
            async for frame in session:
                now = _now()
                if frame.kind in (FrameKind.SPARTN, FrameKind.RTCM3):
                    if not self._of_this_format(frame):
                        continue
                    idle.reschedule(now + self._stale_after_s)
                    self._count(frame, now)
                self._receiver.deliver(frame)
                minute.look(now)
        raise SessionClosed(session.where)

    def _of_this_format(self, frame: Frame) -> bool:
        """Two formats are never mixed into one receiver: the first that fits decides."""
        progress = self.progress
        if progress.format is None and self._format in (None, frame.kind):
            if frame.kind not in self._receiver.takes:
                raise ReceiverFormat(frame.kind.value)
            progress.format = frame.kind
        if frame.kind is progress.format:
            return True
        progress.other_format += 1
        return False

    def _count(self, frame: Frame, now: float) -> None:
        progress = self.progress
        progress.frames[frame.name] = progress.frames.get(frame.name, 0) + 1
        progress.bytes += len(frame.data)
        progress.last_frame_s = now
        if progress.first_frame_s is None:
            progress.first_frame_s = now
            after_s = now - progress.opened_s
            log.emit(events.STREAMING, format=frame.kind.value, after_s=after_s)
            self._report(Event.FLOWING, f"{frame.kind.value} from {progress.where}")

    def _ended(self, channel: _Channel, error: ZtpdError) -> None:
        progress, now = self.progress, _now()
        carried_s = now - progress.first_frame_s if progress.first_frame_s is not None else 0.0
        if progress.first_frame_s is not None:
            log.emit(
                events.ENDED,
                where=progress.where,
                lived_s=now - progress.opened_s,
                frames=sum(progress.frames.values()),
                reason=error,
            )
            self._report(Event.ENDED, str(error))
        if carried_s >= PROVEN_S:
            self._failures.over()
            channel.backoff.expect_quick()
            channel.short_lives = 0
            channel.refused_since_s = None
        elif isinstance(error, (SessionClosed, ConnectionLost)):
            channel.short_lives += 1
            if channel.short_lives >= SHORT_LIVES:
                error = SessionKicked(f"{progress.where}, {channel.short_lives} times in a row")
        wait_s = channel.backoff.wait_s(error)
        channel.error, channel.due_s = error, now + wait_s
        self._failures.tell(error, retry_in_s=wait_s)
        self._remember()
        self._refresh_if_refused(channel, error)

    def _refresh_if_refused(self, channel: _Channel, error: ZtpdError) -> None:
        """Raise ``error`` when every way has refused the credentials for long enough."""
        if not isinstance(error, SessionRefused):
            channel.refused_since_s = None
            return
        channel.refused_since_s = channel.refused_since_s or _now()
        since = [each.refused_since_s for each in self._channels]
        lasted_s = _now() - max((one for one in since if one is not None), default=_now())
        if None not in since and lasted_s >= REFRESH_AFTER_S and self._may_refresh():
            raise error

    def hurry(self) -> None:
        """A person wants a try now."""
        for channel in self._channels:
            channel.due_s = 0.0
        self._remember()

    def _remember(self) -> None:
        """Keep steps and waits in the runtime directory: a crash must not hammer the service."""
        if self._memory is None:
            return
        boot, boot_s = boot_instant()
        kept = {
            channel.name: {
                "steps": channel.backoff.dump(),
                "due_boot_s": boot_s + max(0.0, channel.due_s - _now()),
                "short_lives": channel.short_lives,
            }
            for channel in self._channels
        }
        data = json.dumps({"boot": boot, "channels": kept}).encode()
        try:
            write_atomic(self._memory, data, mode=0o600, durable=False)
        except OSError:
            self._memory = None  # a runtime directory that fails costs the memory, nothing else

    def _restore(self) -> None:
        kept = read_json(self._memory) if self._memory else {}
        boot, boot_s = boot_instant()
        known = kept.get("channels")
        if kept.get("boot") != boot or not isinstance(known, Mapping):
            return
        for channel in self._channels:
            mine = known.get(channel.name)
            if not isinstance(mine, Mapping):
                continue
            channel.backoff.restore(mine.get("steps"))
            lives, due = mine.get("short_lives"), mine.get("due_boot_s")
            channel.short_lives = lives if isinstance(lives, int) else 0
            if isinstance(due, (int, float)):
                left_s = min(due - boot_s, channel.backoff.longest_s())
                channel.due_s = _now() + left_s if left_s > 0 else 0.0


class _Minute:
    """Looks at what was lost once a minute, and sums up once an hour; no timer of its own."""

    def __init__(self, receiver: Sink, session: Session) -> None:
        self._receiver, self._session = receiver, session
        self._minute_s = self._hour_s = _now()
        self._dropped, self._skipped = receiver.dropped, session.counts.skipped_bytes
        self._hour = (sum(session.counts.frames.values()), session.counts.bytes, receiver.dropped)

    def look(self, now: float) -> None:
        if now - self._minute_s >= _MINUTE_S:
            self._minute_s = now
            self._losses()
        if now - self._hour_s >= _SUMMARY_S:
            self._sum_up(now)

    def _losses(self) -> None:
        dropped, skipped = self._receiver.dropped, self._session.counts.skipped_bytes
        if dropped > self._dropped:
            log.emit(events.DROPPED, frames=dropped - self._dropped)
        if skipped > self._skipped:
            log.emit(events.DAMAGED, bytes=skipped - self._skipped)
        self._dropped, self._skipped = dropped, skipped

    def _sum_up(self, now: float) -> None:
        counts, receiver = self._session.counts, self._receiver
        totals = (sum(counts.frames.values()), counts.bytes, receiver.dropped)
        frames, octets, dropped = (new - old for new, old in zip(totals, self._hour, strict=True))
        log.emit(
            events.SUMMARY,
            period=log.duration(now - self._hour_s),
            frames=frames,
            octets=octets,
            dropped=dropped,
            fix=receiver.fix.label if receiver.fix else "none",
        )
        self._hour_s, self._hour = now, totals


def _now() -> float:
    return asyncio.get_running_loop().time()
