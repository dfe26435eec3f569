"""When to read a serial port: bytes that come in pieces are read together.

No I/O; the loop's time is an argument.
"""

from __future__ import annotations

from enum import Enum

TTY_BUFFER_BYTES = 4096
"""The kernel keeps so many for a reader. More wait in the driver's own buffers, 64 KiB on a UART
(Linux, drivers/tty/tty_buffer.c); on USB the driver stops the receiver instead."""

_BUSY_SHARE = 0.8  # of a window in which bytes kept coming; with fewer, they have ended within it


class Arrival(Enum):
    """The state of the line after a reading."""

    PAUSED = "paused"  # the next byte begins a window
    FLOWING = "flowing"  # more bytes are due: a window begins at once
    BEHIND = "behind"  # they wait already


class Gathering:
    """Says how long to wait for more bytes, by what the last readings gave."""

    def __init__(self, line_bytes_per_s: float | None) -> None:
        """``line_bytes_per_s``: the most that the line carries; None where only USB limits it."""
        self.arrival = Arrival.PAUSED
        self._line_bytes_per_s = line_bytes_per_s
        self._bytes_per_s = 0.0  # as of the last reading
        self._window_s = 0.0
        self._read_s = float("-inf")

    def window_s(self, gather_s: float) -> float:
        """Of ``gather_s``, the part in which half a kernel buffer fills, as bytes come now."""
        fills_in_s = TTY_BUFFER_BYTES / 2 / self._bytes_per_s if self._bytes_per_s else gather_s
        self._window_s = min(gather_s, fills_in_s)
        return self._window_s

    def on_read(self, size_bytes: int, now_s: float, *, early: bool = False) -> None:
        """So many bytes were read; ``early``: before the end of the window."""
        line = self._line_bytes_per_s
        if size_bytes >= TTY_BUFFER_BYTES - 1:
            self.arrival = Arrival.BEHIND
        elif size_bytes and (early or (line and size_bytes > _BUSY_SHARE * line * self._window_s)):
            self.arrival = Arrival.FLOWING
        else:
            self.arrival = Arrival.PAUSED
        if size_bytes:
            self._bytes_per_s = size_bytes / max(now_s - self._read_s, 0.001)
            self._read_s = now_s
