"""The receiver's messages for other programs: by datagrams and by a pseudo-terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ztpd import log
from ztpd.errors import OutputError
from ztpd.model import Frame, FrameKind
from ztpd.net.datagrams import DatagramTarget
from ztpd.receiver.settings import ReceiverSettings
from ztpd.serialport.pty import SharedPort
from ztpd.wire import ubx
from ztpd.wire.ubx import Message

RETRY_S = 10.0
_KEYS = ubx.label(Message.RXM_SPARTNKEY)
_KINDS = {"nmea": FrameKind.NMEA, "ubx": FrameKind.UBX, "rtcm": FrameKind.RTCM3}


class Output(Protocol):
    """A way to other programs; no method blocks."""

    @property
    def is_open(self) -> bool: ...
    def open(self) -> None: ...
    def write_frame(self, frame: bytes) -> None: ...
    def close(self) -> None: ...


class Sharing:
    """All outputs that the settings name; none costs nothing."""

    def __init__(self, settings: ReceiverSettings, now: Callable[[], float]) -> None:
        terminal = [SharedPort(settings.share)] if settings.share else []
        kinds = frozenset(_KINDS[kind] for kind in settings.udp_kinds)
        self._outlets = [_Outlet(each, frozenset(FrameKind), now) for each in terminal]
        self._outlets += [
            _Outlet(DatagramTarget(each), kinds, now) for each in dict.fromkeys(settings.udp)
        ]

    @property
    def error(self) -> OutputError | None:
        """Why an output does not work, the first one."""
        return next((each.error for each in self._outlets if each.error), None)

    def open(self) -> None:
        """Open what is not open; corrections do not wait."""
        for outlet in self._outlets:
            outlet.open()

    def write_frame(self, frame: Frame) -> None:
        """Pass on a message of the receiver, except one with decryption keys."""
        if self._outlets and frame.name != _KEYS:
            for outlet in self._outlets:
                outlet.write_frame(frame)

    def close(self) -> None:
        for outlet in self._outlets:
            outlet.close()


class _Outlet:
    """One output, opened again if it is missing, and the kinds of messages that it gets."""

    def __init__(
        self, output: Output, kinds: frozenset[FrameKind], now: Callable[[], float]
    ) -> None:
        self.error: OutputError | None = None
        self.close = output.close
        self._output = output
        self._kinds = kinds
        self._now = now
        self._retry_s = float("-inf")
        self._failures = log.FailureLog(now, ends_one=True)

    def open(self) -> None:
        """Open the output, unless that failed a moment ago."""
        if self._output.is_open or self._now() < self._retry_s:
            return
        try:
            self._output.open()
        except OutputError as error:
            self._failed(error)
        else:
            self._worked()

    def write_frame(self, frame: Frame) -> None:
        self.open()
        if frame.kind not in self._kinds:
            return
        try:
            self._output.write_frame(frame.data)
        except OutputError as error:
            self._failed(error)
        else:
            self._worked()

    def _failed(self, error: OutputError) -> None:
        self._retry_s = self._now() + RETRY_S
        self._failures.record(error, retry_in_s=RETRY_S)
        self.error = error

    def _worked(self) -> None:
        if self.error and self._output.is_open:
            self._failures.clear()
            self.error = None
