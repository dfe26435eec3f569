"""Which channel is next, and which ones are better than the one in use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ztpd.errors import CorrectionsUnused, ReceiverError
from ztpd.lifecycle import Dispatch
from ztpd.model import Fix, FrameKind
from ztpd.relay.channels import FAST_S, PROVEN_S, Channel
from ztpd.system.looptime import loop_time
from ztpd.wire.ubx import MonVer

LOOK_S = 1.0


class _Taker(Protocol):
    @property
    def fix(self) -> Fix | None: ...
    @property
    def version(self) -> MonVer: ...
    @property
    def accepts(self) -> frozenset[FrameKind]: ...


class ChannelChoice:
    """By the order of preference; a channel that was left, since the receiver did not use its
    corrections, comes after all others until it has proved itself."""

    def __init__(self, channels: Sequence[Channel], receiver: _Taker, dispatch: Dispatch) -> None:
        self._channels = channels
        self._receiver = receiver
        self._dispatch = dispatch

    @property
    def has_fix(self) -> bool:
        return self._receiver.fix is not None and self._receiver.fix.ok

    async def due(self) -> Channel:
        """Wait for a channel to be due: the first in the order of preference."""
        reported: tuple[Channel, float] | None = None
        before = self._receiver.version, self._receiver.accepts
        while True:
            refused = [each for each in self._channels if isinstance(each.error, ReceiverError)]
            present = self._receiver.version, self._receiver.accepts
            if present != before:  # it may take what the one before refused
                before = present
                for each in refused:
                    each.retry_now()
            now, has_fix = loop_time(), self.has_fix
            for channel in sorted(self._channels, key=lambda each: each.left):
                wait_s = channel.ready_s(has_fix=has_fix) - now
                if wait_s <= 0:
                    return channel
                if channel.fast_retries_left and wait_s <= FAST_S:
                    break
            else:
                channel = min(self._channels, key=lambda each: each.ready_s(has_fix=has_fix))
                wait_s = channel.ready_s(has_fix=has_fix) - now
            due_s = channel.ready_s(has_fix=has_fix)
            if (channel, due_s) != reported:
                reported = channel, due_s
                self._dispatch(channel.waiting_event, error=channel.error, wait_s=wait_s)
            waiting_for_fix = any(each.hold_without_fix_until_s > now for each in self._channels)
            await asyncio.sleep(min(wait_s, LOOK_S) if waiting_for_fix or refused else wait_s)

    def better(self, present: Channel) -> list[Channel]:
        """The channels that take over from ``present`` once they have proved themselves."""
        before = self._channels[: self._channels.index(present)]
        return [
            each
            for each in self._channels
            if each is not present and (each in before or (present.left and not each.left))
        ]

    def next_beside(self, present: Channel) -> tuple[float, Channel] | None:
        """The better channel that is tried next beside ``present``, and the loop's time of it."""
        due = [(each.beside_s(has_fix=self.has_fix), each) for each in self.better(present)]
        return min(due, key=lambda each: each[0]) if due else None

    def delivers(self, present: Channel, now: float) -> None:
        """Note that corrections come from ``present`` now. A better channel that has just come back
        has failed again: each change may move the position. Where both failed, it was the uplink.
        """
        for each in self.better(present):
            came_back = not each.left and now - each.came_back_s < PROVEN_S
            if came_back and present.last_failing_s < each.last_corrections_s:
                each.stay_away(now)

    def has_spare(self, present: Channel, now: float) -> bool:
        """Whether there is another channel that can be tried now."""
        return any(
            each is not present
            and not (each.left and isinstance(each.error, CorrectionsUnused))
            and each.ready_s(has_fix=self.has_fix) <= now
            for each in self._channels
        )
