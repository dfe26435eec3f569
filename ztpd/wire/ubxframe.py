"""UBX frames: class and id, length, payload, checksum.

Source: u-blox ZED-F9P interface description (HPG 1.50), "UBX protocol".
"""

from __future__ import annotations

import struct
from enum import IntEnum
from itertools import accumulate

SYNC = b"\xb5\x62"
OVERHEAD = 8  # bytes of a frame without its payload


class Message(IntEnum):
    """Class and id as one number: class in the high byte."""

    NAV_PVT = 0x0107
    NAV_HPPOSLLH = 0x0114
    NAV_SAT = 0x0135
    RXM_RTCM = 0x0232
    RXM_SPARTN = 0x0233
    RXM_COR = 0x0234
    RXM_SPARTNKEY = 0x0236
    RXM_PMP = 0x0272
    INF_ERROR = 0x0400
    INF_WARNING = 0x0401
    INF_NOTICE = 0x0402
    ACK_NAK = 0x0500
    ACK_ACK = 0x0501
    CFG_RST = 0x0604
    CFG_VALSET = 0x068A
    CFG_VALGET = 0x068B
    MON_VER = 0x0A04
    MON_COMMS = 0x0A36
    MON_RF = 0x0A38
    MGA_GPS = 0x1300
    MGA_GAL = 0x1302
    MGA_BDS = 0x1303
    MGA_QZSS = 0x1305
    MGA_GLO = 0x1306
    MGA_ANO = 0x1320
    MGA_INI = 0x1340
    MGA_ACK = 0x1360
    MGA_DBD = 0x1380
    SEC_SIG = 0x2709

    @property
    def label(self) -> str:
        """u-blox's own spelling: "NAV-PVT"."""
        return self.name.replace("_", "-")


_LABELS = {int(each): each.label for each in Message}


def label(number: int) -> str:
    """The name of class and id, "NAV-PVT", or four hexadecimal digits where it has none here."""
    return _LABELS.get(number) or f"{number:04x}"


def checksum(body: bytes) -> bytes:
    """Two bytes over class, id, length and payload: 8-bit Fletcher (RFC 1145)."""
    return bytes((sum(body) & 0xFF, sum(accumulate(body)) & 0xFF))


def message(number: int, payload: bytes = b"") -> bytes:
    """A whole frame; ``number`` holds class and id, as :class:`Message` does.

    Raises ValueError above 65535 bytes of payload.
    """
    if len(payload) > 0xFFFF:
        raise ValueError(f"{len(payload)} bytes, a UBX frame takes 65535")
    body = struct.pack(">H", number) + struct.pack("<H", len(payload)) + payload
    return SYNC + body + checksum(body)


def poll(number: int) -> bytes:
    """The frame that asks for a message: that message without payload."""
    return message(number)


def unwrap(frame: bytes) -> tuple[int, bytes]:
    """Number and payload of one whole frame. Raises ValueError where it is not one."""
    if len(frame) < OVERHEAD or frame[:2] != SYNC:
        raise ValueError("not a UBX frame")
    (length,) = struct.unpack_from("<H", frame, 4)
    if len(frame) != length + OVERHEAD:
        raise ValueError(f"{len(frame)} bytes, the UBX header says {length + OVERHEAD}")
    expected = checksum(frame[2:-2])
    if frame[-2:] != expected:
        raise ValueError(f"UBX checksum {frame[-2:].hex()}, expected {expected.hex()}")
    return split(frame)


def split(frame: bytes) -> tuple[int, bytes]:
    """Number and payload of a frame that is known to be whole."""
    return int.from_bytes(frame[2:4], "big"), frame[6:-2]


def check_length(payload: bytes, length: int, number: Message) -> None:
    """Raises ValueError where ``payload`` has not ``length`` bytes."""
    if len(payload) != length:
        raise ValueError(f"{number.label} has {len(payload)} bytes of payload, not {length}")
