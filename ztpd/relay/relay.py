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
from ztpd.errors import FormatUnsupported, SessionClosed, SessionRefused, SessionStale, ZtpdError
from ztpd.lifecycle import Dispatch, Event, waiting_event
from ztpd.model import Fix, Frame, FrameKind, SourceEndpoint
from ztpd.relay.channels import FAST_S, STABLE_S, Channel, ChannelState, RefusalRecord
from ztpd.relay.losses import Losses
from ztpd.sources import Session
from ztpd.system.tasks import end

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
    def accepts(self) -> frozenset[FrameKind]: ...
    @property
    def fix(self) -> Fix | None: ...
    @property
    def dropped(self) -> int: ...
    async def wait_ready(self) -> None: ...
    def deliver(self, frame: Frame) -> None: ...


OpenSession = Callable[[SourceEndpoint], AbstractAsyncContextManager[Session]]


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
class _OpenSession:
    """An open session. ``carries_since_s``: its first corrections, delivered or not."""

    channel: Channel
    session: Session
    closing: AsyncExitStack
    progress: Progress
    carries_since_s: float | None = None

    def mark_frame(self, now: float) -> None:
        self.channel.last_corrections_s = now
        if self.carries_since_s is None:
            self.carries_since_s = now

    def carried_s(self, now: float) -> float:
        return 0.0 if self.carries_since_s is None else now - self.carries_since_s


class Relay:
    """Runs sessions for ever; raises only :class:`SessionRefused` when new credentials are due."""

    def __init__(
        self,
        endpoints: Sequence[SourceEndpoint],
        receiver: Sink,
        *,
        open_session: OpenSession,
        dispatch: Dispatch,
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
        self._dispatch = dispatch
        self._format = _CORRECTIONS.get(format)
        self._stale_after_s = stale_after_s
        self._may_refresh = may_refresh
        self._channel_state = ChannelState(memory)
        self._failures = log.FailureLog()
        rng = rng or random.SystemRandom()
        self.channels = [
            Channel(each, retry.Backoff(retry.SESSION, rng), rng) for each in endpoints
        ]
        self._refusal_record = RefusalRecord(doubt, self.channels, wall_clock)
        self._silence_s = rng.uniform(*_SILENT_S)
        self._no_corrections_since_s = 0.0  # nothing was carried since
        self._candidate: _OpenSession | None = None  # a better way that has to prove itself
        self.progress = Progress()

    async def run(self) -> None:
        self._channel_state.load(self.channels)
        self._no_corrections_since_s = _now()
        live: _OpenSession | None = None
        try:
            while True:
                live = live or await self._next()
                if live:
                    live = await self._stream(live)
        finally:
            if self._candidate:
                await self._candidate.closing.aclose()

    async def _next(self) -> _OpenSession | None:
        """A session over the first way that is due, None where it could not be opened."""
        channel = await self._due()
        await self._receiver_ready()
        if channel.endpoint.kind == "mqtt" and channel.endpoint.topics_offered:
            await self._position()
        self._dispatch(Event.CONNECT, channel.name)
        return await self._open(channel)

    async def _due(self) -> Channel:
        """Wait for a way to be due: the first in the order of preference."""
        told: tuple[Channel, float] | None = None
        while True:
            now, has_fix = _now(), self._has_fix
            for channel in self.channels:
                wait_s = channel.ready_s(has_fix=has_fix) - now
                if wait_s <= 0:
                    return channel
                if channel.fast_retries_left and wait_s <= FAST_S:
                    break
            else:
                channel = min(self.channels, key=lambda each: each.ready_s(has_fix=has_fix))
                wait_s = channel.ready_s(has_fix=has_fix) - now
            due_s = channel.ready_s(has_fix=has_fix)
            if (channel, due_s) != told:
                told = channel, due_s
                event = waiting_event(channel.error)
                self._dispatch(event, error=channel.error, wait_s=wait_s)
            waiting_for_fix = any(each.hold_without_fix_until_s > now for each in self.channels)
            await asyncio.sleep(min(wait_s, _LOOK_S) if waiting_for_fix else wait_s)

    @property
    def _has_fix(self) -> bool:
        return self._receiver.fix is not None and self._receiver.fix.ok

    async def _receiver_ready(self) -> None:
        if not self._receiver.ready:
            error = self._receiver.error
            self._dispatch(waiting_event(error), "waiting for the receiver", error=error)
            await self._receiver.wait_ready()

    async def _position(self) -> None:
        """Which region's topics are wanted depends on it; right after power-up it takes a while.

        Without one the session is tried all the same: the region may be configured.
        """
        deadline_s = _now() + _POSITION_WITHIN_S
        while not self._has_fix and _now() < deadline_s:
            self._dispatch(Event.BACKOFF, "waiting for the receiver's first position")
            await asyncio.sleep(_LOOK_S)

    async def _open(self, channel: Channel) -> _OpenSession | None:
        channel.due_s = 0.0
        closing = AsyncExitStack()
        try:
            session = await closing.enter_async_context(self._open_session(channel.endpoint))
        except ZtpdError as error:
            self._failed(channel, error)
            return None
        log.emit(events.CONNECTED, where=session.where)
        return _OpenSession(
            channel, session, closing, Progress(where=session.where, opened_s=_now())
        )

    async def _stream(self, live: _OpenSession) -> _OpenSession | None:
        """Corrections from ``live`` to the receiver until it ends, or a better way is proved.

        What takes over, if anything does.
        """
        self.progress = live.progress
        streaming = asyncio.create_task(self._forward(live))
        probing = asyncio.create_task(
            self._probe_preferred(self.channels[: self.channels.index(live.channel)])
        )
        try:
            await asyncio.wait((streaming, probing), return_when=asyncio.FIRST_COMPLETED)
            better = probing.done() and not streaming.done()
        finally:
            try:
                await end(streaming, probing)
            finally:  # also when a second cancellation ends the waiting
                await live.closing.aclose()
        if better:
            probing.result()
            error: ZtpdError = SessionClosed(f"{live.progress.where}, by this side")
        else:
            error = _error(streaming)
        following, self._candidate = self._candidate, None
        self._ended(live, error, better=better)
        return following

    async def _probe_preferred(self, better: Sequence[Channel]) -> None:
        """Open the ways of ``better`` beside the present one until one has proved stable.

        It is then in ``_candidate``, as it is while it proves itself.
        """
        if not better:
            await asyncio.get_running_loop().create_future()
        while True:
            due_s, channel = min(
                ((channel.ready_s(has_fix=self._has_fix), channel) for channel in better),
                key=lambda each: each[0],
            )
            if due_s > _now():
                await asyncio.sleep(min(due_s - _now(), STABLE_S))
                continue
            self._candidate = live = await self._open(channel)
            if live is None:
                continue
            try:
                await self._forward(live, probing=True)
                return
            except ZtpdError as error:
                self._candidate = None
                await live.closing.aclose()
                self._failed(channel, error, live=live)

    async def _forward(self, live: _OpenSession, *, probing: bool = False) -> None:
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
                        live.mark_frame(now)
                        self._no_corrections_since_s = now
                        self._refusal_record.clear()
                        if probing and live.carried_s(now) >= STABLE_S:
                            return
                        if probing:
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
            if frame.kind not in self._receiver.accepts:
                raise FormatUnsupported(frame.kind.value)
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
            self._dispatch(Event.FIRST_FRAME, f"{frame.kind.value} from {progress.where}")

    def _ended(self, live: _OpenSession, error: ZtpdError, *, better: bool) -> None:
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
            self._dispatch(Event.ENDED, "back to the preferred way" if better else str(error))
        if better:
            live.channel.error = None
            self._failures.clear()
        else:
            self._failed(live.channel, error, live=live)

    def _failed(
        self, channel: Channel, error: ZtpdError, *, live: _OpenSession | None = None
    ) -> None:
        """Decide when ``way`` is tried again. Raises what provisioning anew may cure."""
        now = _now()
        carried_s = live.carried_s(now) if live else 0.0
        if carried_s >= STABLE_S:
            self._failures.clear()
        others_worked_s = [each.last_corrections_s for each in self.channels if each is not channel]
        error, wait_s = channel.ended(
            error, now, carried_s=carried_s, opened=live is not None, others=others_worked_s
        )
        self._failures.record(error, retry_in_s=wait_s)
        self._channel_state.save(self.channels)
        if self._should_reprovision(now) and self._may_refresh():
            raise error if isinstance(error, SessionRefused) else SessionRefused(str(error))

    def _should_reprovision(self, now: float) -> bool:
        """Whether other credentials may help: nothing was carried for long, and somebody said no,
        or everybody is silent who may have ended."""
        barren_s = now - self._no_corrections_since_s
        if barren_s < STABLE_S:
            return False  # another way carries: no doubt, and nothing to be written down
        if any(channel.refuses for channel in self.channels):
            return max(barren_s, self._refusal_record.note()) >= REFRESH_AFTER_S
        return barren_s >= self._silence_s and all(
            channel.may_have_ended for channel in self.channels
        )

    def retry_now(self) -> None:
        """A person wants a try now."""
        for channel in self.channels:
            channel.retry_now()
        self._channel_state.save(self.channels)


def _error(task: asyncio.Task[None]) -> ZtpdError:
    """What ``task`` ended with; raises what is no :class:`ZtpdError`."""
    error = task.exception()
    if isinstance(error, ZtpdError):
        return error
    raise error or AssertionError("a session ends with an error")


def _now() -> float:
    return asyncio.get_running_loop().time()
