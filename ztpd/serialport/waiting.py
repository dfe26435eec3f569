"""The wait of a serial port's one reader, in the event loop."""

from __future__ import annotations

import asyncio


class Waiting:
    """Ends by a byte, after a window that the byte begins, or by time; and early where a frame is
    sent during a window."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[bool] | None = None  # of the wait that goes on: whether early
        self._watches = False  # for the byte that begins a window
        self._alarm: asyncio.TimerHandle | None = None

    async def wait(
        self, within_s: float | None, window_s: float = 0.0, *, for_byte: bool = False
    ) -> bool:
        """Wait for ``within_s``, or ``for_byte`` until ``window_s`` have passed since the next one.
        Whether it ended early. Raises the error of :meth:`fail`."""
        if self._ended is not None:
            raise RuntimeError("two readers of one port")
        self._ended = self._loop.create_future()
        if within_s is not None:
            self._alarm = self._loop.call_later(within_s, self._end, False)
        if for_byte:
            self._watches = True
            self._loop.add_reader(self._fd, self._on_byte, window_s)
        try:
            return await self._ended
        finally:
            self._ended = None
            self._stop()

    def sent(self) -> None:
        """End a window that has begun: the daemon is awake, and what has come is about frames that
        left before."""
        if not self._watches:
            self._end(True)

    def fail(self, error: Exception) -> None:
        """The descriptor is about to be closed."""
        self._stop()
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _on_byte(self, window_s: float) -> None:
        self._stop()
        if window_s:
            self._alarm = self._loop.call_later(window_s, self._end, False)
        else:
            self._end(False)

    def _end(self, early: bool) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(early)

    def _stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._watches:
            self._watches = False
            self._loop.remove_reader(self._fd)
