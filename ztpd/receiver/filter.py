"""The frames from outside that may reach the receiver."""

from __future__ import annotations

from ztpd.model import Frame, FrameKind
from ztpd.wire import ubx
from ztpd.wire.frames import Scanner

_PREAMBLE = {FrameKind.SPARTN: b"\x73", FrameKind.RTCM3: b"\xd3"}
_MGA_CLASS = 0x13
_NONE = 0, b""


def is_correction(frame: Frame) -> bool:
    """Whether ``frame`` is SPARTN or RTCM 3, and nothing else besides.

    A receiver that has just restarted does not know SPARTN yet and looks for UBX inside of it,
    so a correction that carries a whole UBX message is none.
    """
    preamble = _PREAMBLE.get(frame.kind)
    if preamble is None or not frame.data.startswith(preamble):
        return False
    return ubx.SYNC not in frame.data or not Scanner(FrameKind.UBX).feed(frame.data)


def ubx_message(frame: Frame) -> tuple[int, bytes]:
    """Number and payload if ``frame`` is one whole UBX message, else 0 and b""."""
    if frame.kind is not FrameKind.UBX:
        return _NONE
    try:
        return ubx.unwrap(frame.data)
    except ValueError:
        return _NONE


def is_assistance(number: int) -> bool:
    """Whether it is the number of a UBX-MGA message: orbits, time, rough position."""
    return number >> 8 == _MGA_CLASS
