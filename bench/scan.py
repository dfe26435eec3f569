"""The cost of a byte for the scanner: of normal streams, and of those made to cost time."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.support.hostile_streams import PATTERNS
from ztpd.model import FrameKind
from ztpd.wire import nmea, ubx
from ztpd.wire.frames import Scanner, rtcm_frame, spartn_frame

_BYTES = 16_384
_ROUNDS = 15
_FAMILIES = {"rtcm": "rtcm", "ubx": "ubx", "spartn": "spartn", "nmea": "nmea", "all": "spartn"}


def _honest() -> dict[str, bytes]:
    sentence = b"GNGGA,120000.00,5123.4567,N,00012.3456,W,4,12,0.80,45.0,M,47.0,M,1.0,0000"
    payload = bytes(at * 7 & 0x7F for at in range(180))
    return {
        "spartn": spartn_frame(0, 0, payload, time_tag=1),
        "rtcm": rtcm_frame(b"\x43\x50" + payload),
        "ubx": ubx.message(ubx.Message.NAV_PVT, payload[:92]),
        "nmea": b"$%b*%02X\r\n" % (sentence, nmea.checksum(sentence)),
    }


def us_per_byte(data: bytes, piece: int) -> float:
    """CPU time of a byte in pieces of that size: the best of some rounds, since a busy machine
    makes each of them longer and none shorter."""
    best = float("inf")
    for _ in range(_ROUNDS):
        scanner = Scanner(*FrameKind)
        began_s = time.process_time()
        for at in range(0, len(data), piece):
            scanner.feed(data[at : at + piece])
        best = min(best, time.process_time() - began_s)
    return 1e6 * best / len(data)


def results() -> Iterator[tuple[str, int, float, float]]:
    """Stream, bytes in a piece, microseconds for a byte, and how many times an honest stream of
    that framing. Honest streams come first."""
    for piece in (1460, 16):
        honest = {}
        for name, frame in _honest().items():
            honest[name] = us_per_byte(frame * (_BYTES // len(frame)), piece)
            yield f"honest {name}", piece, honest[name], 1.0
        for name, pattern in PATTERNS.items():
            cost = us_per_byte(pattern * (_BYTES // len(pattern)), piece)
            family = next(known for word, known in _FAMILIES.items() if name.startswith(word))
            yield f"hostile {name}", piece, cost, cost / honest[family]
