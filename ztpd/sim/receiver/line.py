"""The line between the simulated receiver and its host: its speed, and noise where the two ends
disagree on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from ztpd.sim.pty import Pty
from ztpd.sim.receiver.faults import Faults

_LATE_S = 0.1
_BITS_PER_BYTE = 10


class SerialLine:
    """``wired`` is the port of the receiver that the line ends at: a UART understands its own baud
    rate only, and takes no more than that. Time passes ``speed`` times as fast as the host's."""

    def __init__(
        self,
        pty: Pty,
        faults: Faults,
        baudrate: Callable[[], int],
        *,
        wired: str,
        speed: float,
        rng: random.Random,
    ) -> None:
        """``baudrate`` gives the receiver's own."""
        self._pty = pty
        self._faults = faults
        self._baudrate = baudrate
        self._is_uart = wired != "USB"
        self._speed = speed
        self._rng = rng
        self._carried_s = 0.0  # when the line has transmitted the bytes read

    async def read(self) -> bytes:
        """The bytes that arrive, at the time at which the line has transmitted them."""
        data = await self._pty.read(256)
        if self._is_uart:
            # A sleep takes a little longer than it was to: the next one makes up for it, or
            # the line would be slower than its baud rate says.
            now = asyncio.get_running_loop().time
            took_s = len(data) * _BITS_PER_BYTE / self._baudrate() / self._speed
            self._carried_s = max(self._carried_s, now() - _LATE_S) + took_s
            await asyncio.sleep(max(0.0, self._carried_s - now()))
        return data

    def send(self, data: bytes) -> None:
        """Send ``data`` to the host."""
        self._pty.send(self.transmitted(data))

    def transmitted(self, data: bytes) -> bytes:
        """The bytes at the other end."""
        if not self._is_uart:
            return data
        rate = self._baudrate()
        if self._pty.baudrate == rate and rate not in self._faults.deaf_at:
            return data
        return self._rng.randbytes(len(data))
