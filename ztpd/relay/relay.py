"""Sessions, one after another, and what of them reaches the receiver.

A session never reconnects by itself; it ends with a typed error and this room decides what
follows. "Connected" proves nothing: only a session that carried corrections for a minute resets
the waits, and only such a one beside the present one brings a better way back into use.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ztpd import events, log, retry
from ztpd.errors import ReceiverFormat, SessionClosed, SessionRefused, SessionStale, ZtpdError
from ztpd.lifecycle import Event, Report
from ztpd.model import Delivery, Fix, Frame, FrameKind
from ztpd.relay.channels import PROVEN_S, QUICK_S, Doubt, Memory, Way
from ztpd.relay.losses import Losses
from ztpd.sources import Session

REFRESH_AFTER_S = 3600.0
_SILENT_S = (6 * 3600.0, 24 * 3600.0)  # the whole fleet hears that silence: it must not ask at once
_POSITION_WITHIN_S = 60.0
_LOOK_S = 1.0
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
class Progress:
    """What a session has done so far; the present one's is for the status."""

    where: str = ""
    opened_s: float = 0.0
    format: FrameKind | None = None
    first_frame_s: float | None = None  # delivered to the receiver
    last_frame_s: float | None = None
    frames: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    other_format: int = 0


@dataclass
class _Live:
    """An open session. ``carries_since_s``: its first corrections, delivered or not."""

    way: Way
    session: Session
    closing: AsyncExitStack
    progress: Progress
    carries_since_s: float | None = None

    def carries(self, now: float) -> None:
        self.way.worked_s = now
        if self.carries_since_s is None:
            self.carries_since_s = now

    def carried_s(self, now: float) -> float:
        return 0.0 if self.carries_since_s is None else now - self.carries_since_s


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
        doubt: Path | None = None,
        wall_clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        """``deliveries`` come in the order of preference; ``memory`` is a file that may go at a
        reboot, ``doubt`` one that may not."""
        self._receiver = receiver
        self._open_session = open_session
        self._report = report
        self._format = _CORRECTIONS.get(format)
        self._stale_after_s = stale_after_s
        self._may_refresh = may_refresh
        self._memory = Memory(memory)
        self._failures = log.Failures()
        rng = rng or random.SystemRandom()
        self.ways = [Way(each, retry.Backoff(retry.SESSION, rng), rng) for each in deliveries]
        self._doubt = Doubt(doubt, self.ways, wall_clock)
        self._silence_s = rng.uniform(*_SILENT_S)
        self._barren_since_s = 0.0  # nothing was carried since
        self._beside: _Live | None = None  # a better way that has to prove itself
        self.progress = Progress()

    async def run(self) -> None:
        self._memory.recall(self.ways)
        self._barren_since_s = _now()
        live: _Live | None = None
        try:
            while True:
                live = live or await self._next()
                if live:
                    live = await self._carry(live)
        finally:
            if self._beside:
                await self._beside.closing.aclose()

    async def _next(self) -> _Live | None:
        """A session over the first way that is due, None where it could not be opened."""
        way = await self._due()
        await self._receiver_ready()
        if way.delivery.kind == "mqtt" and way.delivery.topics_offered:
            await self._position()
        self._report(Event.CONNECT, way.name)
        return await self._open(way)

    async def _due(self) -> Way:
        """Wait for a way to be due: the first in the order of preference."""
        told: tuple[Way, float] | None = None
        while True:
            now, has_fix = _now(), self._has_fix
            for way in self.ways:
                wait_s = way.ready_s(has_fix=has_fix) - now
                if wait_s <= 0:
                    return way
                if way.quick and wait_s <= QUICK_S:
                    break
            else:
                way = min(self.ways, key=lambda each: each.ready_s(has_fix=has_fix))
                wait_s = way.ready_s(has_fix=has_fix) - now
            due_s = way.ready_s(has_fix=has_fix)
            if (way, due_s) != told:
                told = way, due_s
                person = way.error is not None and way.error.needs_person
                event = Event.HALTED if person else Event.POSTPONED
                self._report(event, error=way.error, wait_s=wait_s)
            blind = any(each.fix_until_s > now for each in self.ways)
            await asyncio.sleep(min(wait_s, _LOOK_S) if blind else wait_s)

    @property
    def _has_fix(self) -> bool:
        return self._receiver.fix is not None and self._receiver.fix.ok

    async def _receiver_ready(self) -> None:
        if not self._receiver.ready:
            error = self._receiver.error
            event = Event.HALTED if error and error.needs_person else Event.POSTPONED
            self._report(event, "waiting for the receiver", error=error)
            await self._receiver.wait_ready()

    async def _position(self) -> None:
        """Which region's topics are wanted depends on it; right after power-up it takes a while.

        Without one the session is tried all the same: the region may be configured.
        """
        deadline_s = _now() + _POSITION_WITHIN_S
        while not self._has_fix and _now() < deadline_s:
            self._report(Event.POSTPONED, "waiting for the receiver's first position")
            await asyncio.sleep(_LOOK_S)

    async def _open(self, way: Way) -> _Live | None:
        way.due_s = 0.0
        closing = AsyncExitStack()
        try:
            session = await closing.enter_async_context(self._open_session(way.delivery))
        except ZtpdError as error:
            self._failed(way, error)
            return None
        log.emit(events.CONNECTED, where=session.where)
        return _Live(way, session, closing, Progress(where=session.where, opened_s=_now()))

    async def _carry(self, live: _Live) -> _Live | None:
        """Corrections from ``live`` to the receiver until it ends, or a better way is proved.

        What takes over, if anything does.
        """
        self.progress = live.progress
        streaming = asyncio.create_task(self._pump(live))
        proving = asyncio.create_task(self._prove(self.ways[: self.ways.index(live.way)]))
        try:
            await asyncio.wait((streaming, proving), return_when=asyncio.FIRST_COMPLETED)
            better = proving.done() and not streaming.done()
        finally:
            try:
                await _end(streaming, proving)
            finally:  # also when a second cancellation ends the waiting
                await live.closing.aclose()
        if better:
            proving.result()
            error: ZtpdError = SessionClosed(f"{live.progress.where}, by this side")
        else:
            error = _error(streaming)
        following, self._beside = self._beside, None
        self._ended(live, error, better=better)
        return following

    async def _prove(self, better: Sequence[Way]) -> None:
        """Open the ways of ``better`` beside the present one until one has proved stable.

        It is then in ``_beside``, as it is while it proves itself.
        """
        if not better:
            await asyncio.get_running_loop().create_future()
        while True:
            due_s, way = min(
                ((way.ready_s(has_fix=self._has_fix), way) for way in better),
                key=lambda each: each[0],
            )
            if due_s > _now():
                await asyncio.sleep(min(due_s - _now(), PROVEN_S))
                continue
            self._beside = live = await self._open(way)
            if live is None:
                continue
            try:
                await self._pump(live, proving=True)
                return
            except ZtpdError as error:
                self._beside = None
                await live.closing.aclose()
                self._failed(way, error, live=live)

    async def _pump(self, live: _Live, *, proving: bool = False) -> None:
        """Frames of ``live`` to the receiver, as long as corrections keep coming.

        While it is proving itself its corrections go nowhere, and a minute of them ends this.
        Keys are no corrections, and come once: they are delivered in any case.
        """
        losses = Losses(self._receiver, live.session, _now())
        try:
            async with asyncio.timeout(self._stale_after_s) as idle:
                async for frame in live.session:
                    now = _now()
                    if frame.kind in (FrameKind.SPARTN, FrameKind.RTCM3):
                        if not self._of_this_format(frame, live.progress):
                            continue
                        idle.reschedule(now + self._stale_after_s)
                        live.carries(now)
                        self._barren_since_s = now
                        self._doubt.is_over()
                        if proving and live.carried_s(now) >= PROVEN_S:
                            return
                        if proving:
                            continue
                        self._count(frame, live.progress, now)
                    self._receiver.deliver(frame)
                    losses.look(now)
        except TimeoutError as error:
            raise SessionStale(f"{live.progress.where}, {self._stale_after_s:g} s") from error
        raise SessionClosed(live.progress.where)

    def _of_this_format(self, frame: Frame, progress: Progress) -> bool:
        """Two formats are never mixed into one receiver: the first that fits decides."""
        if progress.format is None and self._format in (None, frame.kind):
            if frame.kind not in self._receiver.takes:
                raise ReceiverFormat(frame.kind.value)
            progress.format = frame.kind
        if frame.kind is progress.format:
            return True
        progress.other_format += 1
        return False

    def _count(self, frame: Frame, progress: Progress, now: float) -> None:
        progress.frames[frame.name] = progress.frames.get(frame.name, 0) + 1
        progress.bytes += len(frame.data)
        progress.last_frame_s = now
        if progress.first_frame_s is None:
            progress.first_frame_s = now
            after_s = now - progress.opened_s
            log.emit(events.STREAMING, format=frame.kind.value, after_s=after_s)
            self._report(Event.FLOWING, f"{frame.kind.value} from {progress.where}")

    def _ended(self, live: _Live, error: ZtpdError, *, better: bool) -> None:
        """The present session is over: because of ``error``, or because there is a better one."""
        progress = live.progress
        if progress.first_frame_s is not None:
            log.emit(
                events.ENDED,
                where=progress.where,
                lived_s=_now() - progress.opened_s,
                frames=sum(progress.frames.values()),
                reason="a better way works again" if better else error,
            )
            self._report(Event.ENDED, "back to the preferred way" if better else str(error))
        if better:
            live.way.error = None
            self._failures.over()
        else:
            self._failed(live.way, error, live=live)

    def _failed(self, way: Way, error: ZtpdError, *, live: _Live | None = None) -> None:
        """Decide when ``way`` is tried again. Raises what provisioning anew may cure."""
        now = _now()
        carried_s = live.carried_s(now) if live else 0.0
        if carried_s >= PROVEN_S:
            self._failures.over()
        others_worked_s = [each.worked_s for each in self.ways if each is not way]
        error, wait_s = way.ended(
            error, now, carried_s=carried_s, opened=live is not None, others=others_worked_s
        )
        self._failures.tell(error, retry_in_s=wait_s)
        self._memory.keep(self.ways)
        if self._doubtful(now) and self._may_refresh():
            raise error if isinstance(error, SessionRefused) else SessionRefused(str(error))

    def _doubtful(self, now: float) -> bool:
        """Whether other credentials may help: nothing was carried for long, and somebody said no,
        or everybody is silent who may have ended."""
        barren_s = now - self._barren_since_s
        if barren_s < PROVEN_S:
            return False  # another way carries: no doubt, and nothing to be written down
        if any(way.refuses for way in self.ways):
            return max(barren_s, self._doubt.rises()) >= REFRESH_AFTER_S
        return barren_s >= self._silence_s and all(way.may_have_ended for way in self.ways)

    def hurry(self) -> None:
        """A person wants a try now."""
        for way in self.ways:
            way.hurry()
        self._memory.keep(self.ways)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at here, so that asyncio does not ask for it


def _error(task: asyncio.Task[None]) -> ZtpdError:
    """What ``task`` ended with; raises what is no :class:`ZtpdError`."""
    error = task.exception()
    if isinstance(error, ZtpdError):
        return error
    raise error or AssertionError("a session ends with an error")


def _now() -> float:
    return asyncio.get_running_loop().time()
