"""Streams of bytes that begin as many long frames as possible and complete none."""

from __future__ import annotations

from ztpd.model import FrameKind
from ztpd.wire.frames import Scanner, spartn_frame

BY_CHANCE = ("spartn, CRC 8", "all kinds")
"""Eight bits of check hold for one frame in 256 of these."""


def _dense_spartn(crc_type: int) -> bytes:
    """Two bytes that, repeated, begin a frame with that CRC at every second byte."""
    for byte in range(256):
        scanner = Scanner(FrameKind.SPARTN)
        scanner.feed(bytes((0x73, byte, 0x73, byte, 0x73)))
        if scanner.pending and byte >> 4 & 3 == crc_type:
            return bytes((0x73, byte))
    raise LookupError(crc_type)


def _header(crc_type: int) -> bytes:
    return spartn_frame(0, 0, bytes(1000), time_tag=1, crc_type=crc_type)[:4]


_LENGTHS = b"".join(bytes((0xD3, high, low)) for high in range(4) for low in (0, 9))

PATTERNS = {
    "rtcm": b"\xd3\x03",
    "rtcm of any length": _LENGTHS,
    "rtcm, empty": b"\xd3\x00\x00",
    "ubx": bytes.fromhex("b562 0107 ff1f"),
    "ubx, empty": bytes.fromhex("b562 0107 0000"),
    "ubx heads": b"\xb5\x62",
    **{f"spartn, CRC {8 * (each + 1)}": _header(each) for each in range(4)},
    "spartn, dense": _dense_spartn(2),
    "spartn bytes": b"\x73",
    "nmea": b"$GNGGA,",
    "all kinds": b"\xd3\x03" * 300
    + bytes.fromhex("b562 0107 ff1f") * 100
    + b"".join(_header(each) * 100 for each in range(4)),
}
"""To be repeated."""
