"""The frames from outside that may reach the receiver."""

from __future__ import annotations

from ztpd.model import Frame, FrameKind
from ztpd.wire import ubx
from ztpd.wire.frames import Scanner

_PREAMBLE = {FrameKind.SPARTN: b"\x73", FrameKind.RTCM3: b"\xd3"}
_MGA_CLASS = 0x13


def is_correction(frame: Frame) -> bool:
    """Whether ``frame`` is SPARTN or RTCM 3, and nothing else besides.

    A receiver that has just restarted does not know SPARTN yet and looks for UBX inside of it,
    so a correction that carries a whole UBX message is none.
    """
    preamble = _PREAMBLE.get(frame.kind)
    if preamble is None or not frame.data.startswith(preamble):
        return False
    return ubx.SYNC not in frame.data or not Scanner(FrameKind.UBX).feed(frame.data)


def ubx_payload(frame: Frame, number: int) -> bytes | None:
    """The payload if ``frame`` is one whole UBX message of this class and id, else None."""
    if frame.kind is not FrameKind.UBX:
        return None
    try:
        found, payload = ubx.unwrap(frame.data)
    except ValueError:
        return None
    return payload if found == number else None


def is_assistance(frame: Frame) -> bool:
    """Whether ``frame`` is one whole UBX-MGA message: orbits, time, rough position."""
    if frame.kind is not FrameKind.UBX:
        return False
    try:
        number, _ = ubx.unwrap(frame.data)
    except ValueError:
        return False
    return number >> 8 == _MGA_CLASS
