"""Leaves a service whose corrections the receiver does not use."""

from __future__ import annotations

from typing import Protocol

from ztpd.errors import CorrectionsUnused
from ztpd.model import ServiceUse
from ztpd.relay.channels import FORGIVEN_S, STABLE_S, Channel
from ztpd.relay.choice import ChannelChoice

UNUSED_S = 120.0
CHANGE_EVERY_S = 600.0  # at most one service is left in this time

_LOOK_S = 0.5  # frames come several at once


class _Judge(Protocol):
    @property
    def service_use(self) -> ServiceUse: ...


class UsageWatch:
    """Called with each correction that is delivered; has no timer of its own.

    Time without time, position or a verdict counts neither way: it says nothing about the service.
    """

    def __init__(self, receiver: _Judge, choice: ChannelChoice) -> None:
        self._receiver = receiver
        self._choice = choice
        self._left_s = float("-inf")
        self._last_s: float | None = None  # of the last call for this session
        self._unused_s = self._used_s = 0.0

    def begin(self) -> None:
        """Corrections come from another session now."""
        self._last_s, self._unused_s, self._used_s = None, 0.0, 0.0

    def check(self, channel: Channel, now: float) -> None:
        """Note the use of the corrections of ``channel``. Raises :class:`CorrectionsUnused` where
        another channel is to be tried instead."""
        passed_s = 0.0 if self._last_s is None else now - self._last_s
        if self._last_s is not None and passed_s < _LOOK_S:
            return
        self._last_s = now
        use = self._receiver.service_use
        if use.used:
            self._unused_s, self._used_s = 0.0, self._used_s + passed_s
            if self._used_s >= STABLE_S:
                channel.left = False
            if self._used_s >= FORGIVEN_S:
                channel.unused_times = 0
        elif use.used is False:
            self._used_s, self._unused_s = 0.0, self._unused_s + passed_s
        if self._unused_s < UNUSED_S or now - self._left_s < CHANGE_EVERY_S:
            return
        if use.used is False and self._choice.has_spare(channel, now):
            self._left_s = now
            raise CorrectionsUnused(use.reason)
