"""Sessions, one after another, and their frames to the receiver.

A session never reconnects; it ends with a typed error, and the relay decides the next step. Only a
session that delivered corrections for a minute resets the waits, and only such a session, opened in
parallel to the present one, brings a preferred channel back into use.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from ztpd import retry
from ztpd.errors import CorrectionsUnused, SessionClosed, SessionRefused, SessionStale, ZtpdError
from ztpd.lifecycle import Dispatch, Event, waiting_event
from ztpd.model import CORRECTION_FORMATS, Fix, Frame, FrameKind, ServiceUse, SourceEndpoint
from ztpd.relay.channels import STABLE_S, Channel
from ztpd.relay.choice import LOOK_S, ChannelChoice
from ztpd.relay.failover import UsageWatch
from ztpd.relay.losses import DamageLog, Losses
from ztpd.relay.open_session import OpenSession, Progress, explained
from ztpd.relay.overview import overview
from ztpd.relay.presence import ReceiverAway, ReceiverPresence
from ztpd.relay.reprovisioning import CredentialsDoubt
from ztpd.relay.session_log import SessionLog
from ztpd.relay.state_files import ChannelState
from ztpd.sources import SessionOpener, topics
from ztpd.status import ChannelStatus
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter
from ztpd.system.looptime import loop_time
from ztpd.system.tasks import end
from ztpd.wire.ubx import MonVer

_POSITION_WITHIN_S = 60.0
_TOGETHER_S = 0.05  # frames that come so close together are one sign of life


class Sink(Protocol):
    """The receiver, as far as corrections are concerned."""

    @property
    def ready(self) -> bool: ...
    @property
    def error(self) -> ZtpdError | None: ...
    @property
    def version(self) -> MonVer: ...
    @property
    def accepts(self) -> frozenset[FrameKind]: ...
    @property
    def fix(self) -> Fix | None: ...
    @property
    def dropped(self) -> int: ...
    @property
    def service_use(self) -> ServiceUse: ...
    def service_changed(self) -> None: ...
    async def wait_ready(self) -> None: ...
    def refusal(self, kind: FrameKind) -> ZtpdError: ...
    def deliver(self, frame: Frame) -> None: ...


class Relay:
    """Opens one session after another until new credentials are due."""

    def __init__(
        self,
        endpoints: Sequence[SourceEndpoint],
        receiver: Sink,
        *,
        open_session: SessionOpener,
        dispatch: Dispatch,
        format: str = "auto",
        stale_after_s: float = 15.0,
        may_refresh: Callable[[], bool] = lambda: False,
        channel_state: Path | None = None,
        refusal_record: Path | None = None,
        disk: DiskWriter | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """``endpoints`` are in the order of preference. ``channel_state`` is a file that need not
        survive a reboot, ``refusal_record`` is one that must."""
        self._receiver = receiver
        self._open_session = open_session
        self._dispatch = dispatch
        self._format = CORRECTION_FORMATS.get(format)
        self._stale_after_s = stale_after_s
        self._may_refresh = may_refresh
        clock = clock or Clock()
        self._channel_state = ChannelState(channel_state, clock)
        self._log = SessionLog()
        rng = rng or random.SystemRandom()
        self.channels = [
            Channel(each, retry.Backoff(retry.SESSION, rng), rng) for each in endpoints
        ]
        self._doubt = CredentialsDoubt(
            self.channels, refusal_record, clock=clock, disk=disk, rng=rng
        )
        self._current: OpenSession | None = None
        self._candidate: OpenSession | None = None  # a preferred channel's session, being probed
        self._choice = ChannelChoice(self.channels, receiver, dispatch)
        self._watch = UsageWatch(receiver, self._choice)
        self._damage = DamageLog()
        self._awaits_receiver = False
        self.progress = Progress()

    async def run(self) -> None:
        """Runs until cancelled. Raises :class:`SessionRefused` when new credentials are due."""
        await self._doubt.load(loop_time())
        self._channel_state.load(self.channels)
        current: OpenSession | None = None
        try:
            while True:
                current = current or await self._next()
                if current:
                    current = await self._stream(current)
                    self._candidate = None  # or the present one now
        finally:
            if self._candidate:
                await self._candidate.closing.aclose()

    async def _next(self) -> OpenSession | None:
        """A session of the first channel that is due; None where another look is due instead."""
        channel = await self._choice.due()
        if not self._receiver.ready:
            await self._receiver_ready()
            return None  # another one may be due by now
        if topics.waits_for_position(channel.endpoint):
            await self._position()
        self._dispatch(Event.CONNECT, channel.name)
        return await self._open(channel)

    async def _receiver_ready(self) -> None:
        self._awaits_receiver = True
        try:
            self.receiver_changed()
            await self._receiver.wait_ready()
        finally:
            self._awaits_receiver = False

    def receiver_changed(self) -> None:
        """Report why the receiver is not ready, if the next session waits for it."""
        if self._awaits_receiver and not self._receiver.ready:
            error = self._receiver.error
            self._dispatch(waiting_event(error), "the receiver is not ready yet", error=error)

    async def _position(self) -> None:
        """Wait for the receiver's first position, which decides the region's topics."""
        deadline_s = loop_time() + _POSITION_WITHIN_S
        while not self._choice.has_fix and loop_time() < deadline_s:
            self._dispatch(Event.BACKOFF, "the receiver has no position yet")
            await asyncio.sleep(LOOK_S)

    async def _open(self, channel: Channel) -> OpenSession | None:
        channel.due_s = 0.0
        closing = AsyncExitStack()
        try:
            session = await closing.enter_async_context(self._open_session(channel.endpoint))
        except ZtpdError as error:
            self._failed(channel, error)
            return None
        self._log.connected(session.where)
        progress = Progress(
            where=session.where,
            kind=channel.endpoint.kind,
            backup=channel.endpoint.backup,
            opened_s=loop_time(),
        )
        return OpenSession(channel, session, closing, progress)

    async def _stream(self, current: OpenSession) -> OpenSession | None:
        """Frames of ``current`` to the receiver until it ends, or a preferred channel is stable.

        Returns the session that takes over, if any.
        """
        self._current, self.progress = current, current.progress
        self._watch.begin()
        streaming = asyncio.create_task(self._forward(current))
        probing = asyncio.create_task(self._probe_better(current.channel))
        try:
            await asyncio.wait((streaming, probing), return_when=asyncio.FIRST_COMPLETED)
            better = probing.done() and not streaming.done()
        finally:
            try:
                self._current = None
                await end(streaming, probing)
            finally:  # also when a second cancellation ends the waiting
                await current.closing.aclose()
        error = _exception(streaming)
        if probing_error := _exception(probing):
            self._closed(current, str(error or probing_error))
            raise probing_error from error
        following = self._candidate  # closed by run() where an exception is raised below
        unproven = following is not None and following.channel.left and not better
        if following and (isinstance(error, ReceiverAway) or unproven):
            self._candidate = None
            following.channel.proved_s += following.carried_s(loop_time()) or 0.0
            await following.closing.aclose()
            following = None
        if isinstance(error, (ReceiverAway, CorrectionsUnused)):
            self._closed(current, str(error))
            if isinstance(error, CorrectionsUnused):
                current.channel.leave(error, loop_time())
                self._channel_state.save(self.channels)
            return following
        if error is not None and not isinstance(error, ZtpdError):
            raise error
        if better or error is None:
            self._closed(current, "a preferred service works again")
            current.channel.error = None
            if following:
                following.channel.came_back(loop_time())
                self._channel_state.save(self.channels)
            self._log.works()
            return following
        self._closed(current, str(error), failed=True)
        self._failed(current.channel, error, session=current)
        return following

    async def _probe_better(self, present: Channel) -> None:
        """Open sessions of better channels beside ``present`` until one of them has proved itself.

        That session is in ``_candidate``, from its opening on.
        """
        while following := self._choice.next_beside(present):
            due_s, channel = following
            if due_s > loop_time():
                await asyncio.sleep(min(due_s - loop_time(), STABLE_S))
                continue
            self._candidate = candidate = await self._open(channel)
            if candidate is None:
                continue
            try:
                await self._forward(candidate, probing=True)
                if channel in self._choice.better(present):
                    return
                self._candidate = None
                await candidate.closing.aclose()
            except ZtpdError as error:
                self._candidate = None
                try:
                    await candidate.closing.aclose()
                finally:  # also when the present session ends meanwhile
                    self._failed(channel, error, session=candidate)
        await asyncio.get_running_loop().create_future()

    async def _forward(self, current: OpenSession, *, probing: bool = False) -> None:
        """Frames of ``current`` to the receiver, as long as corrections keep coming.

        While it is probed its corrections are not delivered, and this ends when it has proved
        itself. Keys are sent once only, so they are delivered in any case.
        """
        losses = Losses(self._receiver, current, loop_time(), self._damage)
        presence = ReceiverPresence(self._receiver, self._dispatch)
        looked_s = float("-inf")
        try:
            async with asyncio.timeout(self._stale_after_s) as idle:
                async for frame in current.session:
                    now, corrects = loop_time(), frame.kind in CORRECTION_FORMATS.values()
                    if corrects and not self._of_this_format(frame, current):
                        continue
                    if not (corrects and probing):
                        if corrects and current.progress.count(frame, now):
                            self._streaming(frame.kind, current, now)
                        self._receiver.deliver(frame)
                        losses.update(now)
                    if corrects and now - looked_s >= _TOGETHER_S:  # behind the delivery, which
                        looked_s = now  # would be later by as much
                        idle.reschedule(now + self._stale_after_s)
                        self._works(current, now, probing=probing)
                        if not probing:
                            presence.check(now, current.progress.where)
                            self._watch.check(current.channel, now)
                        elif (current.carried_s(now) or 0.0) >= current.channel.proof_s:
                            return
        except TimeoutError as error:
            raise SessionStale(f"{current.progress.where}, {self._stale_after_s:g} s") from error
        raise SessionClosed(current.progress.where)

    def _works(self, current: OpenSession, now: float, *, probing: bool) -> None:
        """Note that corrections come."""
        if current.mark_frame(now):
            self._channel_state.save(self.channels)
            if not probing:
                self._log.works(current.first_corrections_s)
        self._doubt.corrections(current.channel, now)

    def _of_this_format(self, frame: Frame, current: OpenSession) -> bool:
        """Two formats are never mixed into one receiver: the first that fits decides.

        Raises why the receiver does not take it: from the start, or since another program has
        changed a setting, or since another receiver is there.
        """
        progress = current.progress
        wanted = progress.format or self._wanted(current) or frame.kind
        if frame.kind is not wanted:
            progress.other_format += 1
            return False
        if frame.kind not in self._receiver.accepts:
            raise self._receiver.refusal(frame.kind)
        progress.format = frame.kind
        return True

    def _wanted(self, session: OpenSession) -> FrameKind | None:
        """The only format that the configuration lets through, None for any."""
        return CORRECTION_FORMATS.get(session.channel.endpoint.format, self._format)

    def _streaming(self, kind: FrameKind, current: OpenSession, now: float) -> None:
        """Report the first frame of a session."""
        progress = current.progress
        self._log.streaming(kind.value, after_s=now - progress.opened_s)
        self._choice.delivers(current.channel, now)
        if self._log.service(current.channel):
            self._receiver.service_changed()
        self._dispatch(Event.FIRST_FRAME, f"{kind.value} from {progress.where}")

    def _closed(self, session: OpenSession, reason: str, *, failed: bool = False) -> None:
        """Report the end of a session that had delivered corrections; ``failed``: a failure is
        reported next."""
        progress = session.progress
        if progress.first_frame_s is not None:
            self._log.ended(progress, reason, at_s=loop_time(), failed=failed)
            self._dispatch(Event.ENDED, reason)

    def _failed(
        self, channel: Channel, error: ZtpdError, *, session: OpenSession | None = None
    ) -> None:
        """Decide when ``channel`` is tried again.

        Raises :class:`SessionRefused` where new credentials may help.
        """
        now = loop_time()
        if session:
            error = explained(session, error, self._wanted(session))
        if session and session.is_stable:
            self._log.stable_session_failed()
        others_last_s = [each.last_corrections_s for each in self.channels if each is not channel]
        error, wait_s = channel.ended(
            error,
            now,
            opened=session is not None,
            carried_s=session.carried_s(now) if session else None,
            others_last_s=others_last_s,
            beside=session is not None and session.progress.first_frame_s is None,
        )
        self._log.failed(error, retry_in_s=wait_s)
        self._channel_state.save(self.channels)
        if self._doubt.should_reprovision(now) and self._may_refresh():
            raise error if isinstance(error, SessionRefused) else SessionRefused(str(error))

    def overview(self) -> tuple[ChannelStatus, ...]:
        """All channels, for the status."""
        return overview(self.channels, self._current, self._candidate, loop_time())

    def retry_now(self) -> None:
        """End all waits: a person asks for a try."""
        for channel in self.channels:
            channel.retry_now()
        self._channel_state.save(self.channels)


def _exception(task: asyncio.Task[None]) -> BaseException | None:
    """The exception of ``task``, which has ended; None also where it was cancelled."""
    return None if task.cancelled() else task.exception()
