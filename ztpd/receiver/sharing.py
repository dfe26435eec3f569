"""The receiver's messages for other programs, by a terminal that is made again if it is missing."""

from __future__ import annotations

from collections.abc import Callable

from ztpd import log
from ztpd.errors import OutputError
from ztpd.model import Frame
from ztpd.serialport.pty import SharedPort
from ztpd.wire import ubx
from ztpd.wire.ubx import Message

RETRY_S = 10.0
_KEYS = ubx.label(Message.RXM_SPARTNKEY)


class Sharing:
    """The terminal at ``path``; "" shares nothing."""

    def __init__(self, path: str, now: Callable[[], float]) -> None:
        self.error: OutputError | None = None  # why there is no terminal
        self._port = SharedPort(path) if path else None
        self._now = now
        self._retry_s = float("-inf")
        self._failures = log.FailureLog(now)

    def open(self) -> None:
        """Make the terminal, unless it exists or failed a moment ago; corrections do not wait."""
        if self._port is None or self._port.is_open or self._now() < self._retry_s:
            return
        try:
            self._port.open()
        except OutputError as error:
            self._retry_s = self._now() + RETRY_S
            self._failures.record(error, retry_in_s=RETRY_S)
            self.error = error
        else:
            self._failures.clear()
            self.error = None

    def write_frame(self, frame: Frame) -> None:
        """Pass on a message of the receiver, except one with decryption keys."""
        if self._port is None:
            return
        self.open()
        if frame.name != _KEYS:
            self._port.write_frame(frame.data)

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
