"""``ztpd demo --replay``: a recording in place of receiver and corrections."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ztpd import status
from ztpd.demo.console import Console
from ztpd.demo.play import Demo
from ztpd.demo.site import ONCE_WITHIN_S
from ztpd.errors import RecordingUnreadable, UsageError
from ztpd.log import duration
from ztpd.sim import playable
from ztpd.sim.playable import Playable
from ztpd.sim.playback import FASTEST, SLOWEST, Playback, PlayedReceiver
from ztpd.sim.receiver import SimReceiver

_LOOK_S = 0.25
_OTHERS = ("fault", "capture")


class Replay(Demo):
    """One run: from the set-up of the receiver to the end of the recording."""

    needs_gga = False  # a recording may have no position

    def __init__(self, options: argparse.Namespace, console: Console, directory: Path) -> None:
        self._playable = load(options)
        self._speed_factor = options.speed or 1.0
        options.format = self._playable.format or options.format
        super().__init__(options, console, directory)
        self._playback = Playback(self._playable, speed=self._speed_factor)

    def _make_receiver(self, **options: Any) -> SimReceiver:
        if not self._playable.has_receiver:
            return super()._make_receiver(**options)
        return PlayedReceiver(self._gnss, self._playable, **options)

    async def _blocks(self) -> AsyncIterator[bytes]:
        feed = self._playback.feed if self._playable.has_service else super()._blocks
        async for block in feed():
            yield block

    async def _watch(self) -> bool:
        """Watch until the recording has been played, and tell the verdict."""
        tell, playback = self._console.tell, self._playback
        words = f", {self._speed_factor:g} times as fast" if self._speed_factor != 1 else ""
        tell("demo", f"plays {self._options.replay}{words}: {playable.about(self._playable)}")
        self._spawn(playback.run(self.receiver, self._gnss, self.caster))
        due_s, announced = time.monotonic() + ONCE_WITHIN_S, False
        while self._daemon.ended_with is None:
            self._console.show(status.read(self._daemon.runtime_dir))
            if playback.begun.is_set() and not announced:
                announced = True
                left_s = self._playable.duration_s / self._speed_factor
                tell("demo", f"the recording begins, and ends in {duration(left_s)}")
            if playback.done.is_set():
                await self._tell_verdict()
                return True
            if not announced and time.monotonic() > due_s:
                tell("demo", f"ztpd was not ready for it within {ONCE_WITHIN_S:.0f} s")
                return False
            await asyncio.sleep(_LOOK_S)
        tell("demo", f"the daemon ended with status {self._daemon.ended_with}")
        return False

    async def _tell_verdict(self) -> None:
        """As ``ztpd status`` says it, in lines that stay behind the picture."""
        answer = await self._daemon.ask("status")
        self._console.show(status.read(self._daemon.runtime_dir))
        self._console.close()
        self._console.tell("demo", "the recording has ended; `ztpd status` says:")
        for line in filter(None, map(str.rstrip, answer.text.splitlines())):
            self._console.tell("status", line)


def load(options: argparse.Namespace) -> Playable:
    """Raises :class:`RecordingUnreadable`, and :class:`UsageError` for options that do not fit."""
    for name in _OTHERS:
        if getattr(options, name):
            raise UsageError(f"--{name} does not go with --replay")
    if options.via == "mqtt":
        raise UsageError("--via mqtt does not go with --replay: the corrections come by NTRIP")
    if options.speed is not None and not SLOWEST <= options.speed <= FASTEST:
        raise UsageError(f"--speed is a number from {SLOWEST:g} to {FASTEST:g}")
    try:
        return playable.load(options.replay)
    except OSError as error:
        raise RecordingUnreadable(f"{options.replay}: {error.strerror}") from error
    except ValueError as error:
        raise RecordingUnreadable(f"{options.replay}: {error}") from error
