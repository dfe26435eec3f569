"""Names for streams that hold neither SPARTN nor RTCM 3.

Sources: NMEA 0183, section 5; RTCM 10402.3, section 4 (each byte of RTCM 2 carries six bits, its
two upper bits are 01); Trimble CMR: STX, status, type, length, data, checksum, ETX.
"""

from __future__ import annotations

import re

SAMPLE_BYTES = 1024

_NMEA = re.compile(rb"\$[A-Z]{4,6},[ -~]{0,200}\*[0-9A-F]{2}")
_CMR_OVERHEAD = 6


def format_name(sample: bytes) -> str:
    """The format of ``sample``, the beginning of a stream; "" where it is not recognised."""
    if _NMEA.search(sample):
        return "NMEA"
    if _has_cmr(sample):
        return "CMR"
    if len(sample) >= 30 and all(byte & 0xC0 == 0x40 for byte in sample.translate(None, b"\r\n")):
        return "RTCM 2"
    return "text" if is_text(sample) else ""


def is_text(sample: bytes) -> bool:
    """Whether ``sample`` is a sentence of the peer, and no data."""
    if not sample.strip() or b"\0" in sample:
        return False
    text = sample.decode("utf-8", "replace")
    readable = sum(char.isprintable() or char in "\t\r\n" for char in text if char != "\ufffd")
    return readable >= 0.95 * len(text) and any(char.isalpha() for char in text)


def _has_cmr(sample: bytes) -> bool:
    at = sample.find(b"\x02")
    while at >= 0:
        length = sample[at + 3] + _CMR_OVERHEAD if at + 3 < len(sample) else 0
        packet = sample[at : at + length]
        whole = length > 0 and len(packet) == length
        if whole and packet[-1] == 3 and sum(packet[1:-2]) & 0xFF == packet[-2]:
            return True
        at = sample.find(b"\x02", at + 1)
    return False
