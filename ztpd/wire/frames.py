"""Whole, checked messages out of one stream of bytes: SPARTN, RTCM 3, UBX and NMEA.

A :class:`Scanner` looks for the first byte of a frame, waits for what its header promises, and
tells "more bytes are needed" from "these bytes are wrong": the first waits, the second gives up
one byte and looks again behind it. So one damaged frame never costs the next.

Sources: SPARTN 2.0.2 interface control document, section 3; RTCM 10403.3, section 4; u-blox
ZED-F9P interface description, "UBX frame structure"; NMEA 0183, section 5.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from ztpd.model import Frame, FrameKind
from ztpd.wire import nmea, ubx

SPARTN_LIMIT = 1 + 3 + 6 + 2 + 1023 + 64 + 4
RTCM_LIMIT = 3 + 1023 + 3
UBX_LIMIT = ubx.OVERHEAD + 8192
"""No output of a ZED-F9P or ZED-X20P is longer; the field itself would allow 65535 bytes."""
NMEA_LIMIT = 128
"""The standard says 82; u-blox's PUBX,00 and high-precision sentences go beyond."""

_MORE = -1  # the header is not whole yet
_WRONG = 0  # this is no frame

_MOST_NAMES = 256


@dataclass(slots=True)
class Counts:
    """What has gone through a scanner."""

    frames: dict[str, int] = field(default_factory=dict)  # by Frame.name
    bytes: int = 0  # received
    skipped_bytes: int = 0  # known to be part of no frame
    bad_checks: int = 0  # frames whole by their header, but with a wrong CRC or checksum

    def add(self, name: str) -> None:
        """One more frame. Past 256 different names (no stream has so many) it is an "other"."""
        if name not in self.frames and len(self.frames) >= _MOST_NAMES:
            name = "other"
        self.frames[name] = self.frames.get(name, 0) + 1


class Scanner:
    """One stream: bytes in, in pieces of any size, whole checked frames out.

    The frames found depend on the bytes alone, not on how they were cut into pieces.
    """

    def __init__(self, *kinds: FrameKind, counts: Counts | None = None) -> None:
        """``kinds`` are the framings to look for; all four where none is named. Scanners of one
        session may share their ``counts``."""
        wanted = [framing for framing in _FRAMINGS.values() if framing.kind in (kinds or FrameKind)]
        self._start = re.compile(b"|".join(framing.start for framing in wanted))
        self._waiting = b""
        self.counts = Counts() if counts is None else counts

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their frame; always fewer than its longest form has."""
        return len(self._waiting)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Never raises."""
        self.counts.bytes += len(data)
        return self._scan(self._waiting + data, quiet=False)

    def flush(self) -> list[Frame]:
        """The line has gone quiet: what waits is no frame. The frames inside it, if any.

        Bytes that only look like the beginning of a long frame would else hold back whole frames
        behind them until the next burst.
        """
        return self._scan(self._waiting, quiet=True)

    def _scan(self, data: bytes, *, quiet: bool) -> list[Frame]:
        found = []
        at = 0
        while start := self._start.search(data, at):
            self.counts.skipped_bytes += start.start() - at
            at = start.start()
            framing = _FRAMINGS[data[at]]
            length = framing.measure(data, at)
            if length == _MORE or at + length > len(data):
                if not quiet:
                    break
                length = _WRONG
            frame = data[at : at + length]
            if frame and framing.check(frame):
                name = framing.name(frame)
                self.counts.add(name)
                found.append(Frame(framing.kind, frame, name))
                at += length
                continue
            self.counts.bad_checks += bool(frame)
            self.counts.skipped_bytes += 1
            at += 1
        else:
            self.counts.skipped_bytes += len(data) - at
            at = len(data)
        self._waiting = data[at:]
        return found


@dataclass(frozen=True, slots=True)
class _Framing:
    kind: FrameKind
    start: bytes  # regular expression: the first bytes, as far as they can be told by looking
    measure: Callable[[bytes, int], int]  # length of the frame there, _MORE or _WRONG
    check: Callable[[bytes], bool]  # of a whole frame
    name: Callable[[bytes], str]


# SPARTN: 0x73; type 7 bits, payload length 10, encrypted 1, CRC type 2, header CRC 4; subtype 4,
# time tag type 1, time tag 16 or 32, solution 7, processor 4; if encrypted: encryption id 4,
# sequence 6, authentication indicator 3, authentication length 3; payload; authentication; CRC.

_SPARTN_TYPES = {0: "OCB", 1: "HPAC", 2: "GAD", 3: "BPAC", 4: "EAS"}
_SPARTN_DEFINED = {*_SPARTN_TYPES, 120}  # 120: proprietary
_SPARTN_SYSTEMS = {0: "GPS", 1: "GLO", 2: "GAL", 3: "BDS", 4: "QZSS"}
_AUTHENTICATION_BYTES = {0: 8, 1: 12, 2: 16, 3: 32, 4: 64}


def spartn_name(message_type: int, subtype: int) -> str:
    """What the field calls it: "OCB-GPS", "HPAC-GLO", "GAD"; "120-1" where it has no name here."""
    word = _SPARTN_TYPES.get(message_type)
    if message_type in (0, 1) and subtype in _SPARTN_SYSTEMS:
        return f"{word}-{_SPARTN_SYSTEMS[subtype]}"
    return word if word and subtype == 0 else f"{message_type}-{subtype}"


def spartn_encrypted(frame: Frame) -> bool:
    """True where the payload of a SPARTN frame needs a decryption key."""
    return bool(frame.data[3] & 0x40)


def spartn_time_tag(frame: Frame) -> tuple[int, bool]:
    """Time tag of a SPARTN frame, and whether it is the wide one.

    The wide tag is seconds since 2010-01-01 in the constellation's own time, the other one that
    modulo 43200 (12 hours).
    """
    data = frame.data
    if data[4] & 0x08:
        return int.from_bytes(data[4:9], "big") >> 3 & 0xFFFF_FFFF, True
    return int.from_bytes(data[4:7], "big") >> 3 & 0xFFFF, False


def spartn_frame(
    message_type: int,
    subtype: int,
    payload: bytes,
    *,
    time_tag: int,
    wide_tag: bool = True,
    encrypted: bool = False,
    crc_type: int = 2,
    solution_id: int = 5,
    processor_id: int = 1,
    encryption_id: int = 1,
    sequence: int = 0,
    authentication: bytes = b"",
) -> bytes:
    """A whole SPARTN frame around ``payload``, which is taken as it is, encrypted or not.

    Raises ValueError where a value does not fit its field. ``authentication`` needs
    ``encrypted`` and one of the lengths the format knows (8, 12, 16, 32, 64 bytes).
    """
    fields = [(subtype, 4), (wide_tag, 1), (time_tag, 32 if wide_tag else 16)]
    fields += [(solution_id, 7), (processor_id, 4)]
    if encrypted:
        indicator, length = 0, 0
        if authentication:
            lengths = {size: code for code, size in _AUTHENTICATION_BYTES.items()}
            indicator, length = 2, lengths.get(len(authentication), 8)
        fields += [(encryption_id, 4), (sequence, 6), (indicator, 3), (length, 3)]
    elif authentication:
        raise ValueError("authentication without encryption")
    head = [(message_type, 7), (len(payload), 10), (encrypted, 1), (crc_type, 2), (0, 4)]
    header = bytearray(_packed(head))
    header[2] |= _spartn_header_crc(header)
    body = bytes(header) + _packed(fields) + payload + authentication
    return b"\x73" + body + _spartn_crc(crc_type, body)


def _packed(fields: list[tuple[int, int]]) -> bytes:
    """Values and their widths in bits, one after another; the widths add up to whole bytes."""
    number, width = 0, 0
    for value, bits in fields:
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} does not fit {bits} bits")
        number, width = number << bits | value, width + bits
    return number.to_bytes(width // 8, "big")


def _spartn_measure(data: bytes, at: int) -> int:
    available = len(data) - at
    if available < 5:
        return _MORE
    header = data[at + 1 : at + 4]
    if header[2] & 0xF != _spartn_header_crc(header):
        return _WRONG
    if header[2] & 0x30 == 0 and header[0] >> 1 not in _SPARTN_DEFINED:
        return _WRONG  # 12 bits of check in all: random bytes pass too often
    payload = int.from_bytes(header, "big") >> 7 & 0x3FF
    length = 8 + 2 * (data[at + 4] >> 3 & 1)
    if header[2] & 0x40:
        length += 2
        if available < length:
            return _MORE
        if data[at + length - 1] >> 3 & 7 > 1:
            authentication = _AUTHENTICATION_BYTES.get(data[at + length - 1] & 7)
            if authentication is None:
                return _WRONG
            length += authentication
    return length + payload + (header[2] >> 4 & 3) + 1


def _spartn_check(frame: bytes) -> bool:
    crc_type = frame[3] >> 4 & 3
    size = crc_type + 1
    return _spartn_crc(crc_type, frame[1:-size]) == frame[-size:]


def _spartn_name(frame: bytes) -> str:
    return spartn_name(frame[1] >> 1, frame[4] >> 4)


def rtcm_frame(payload: bytes) -> bytes:
    """A whole RTCM 3 frame. Raises ValueError above 1023 bytes."""
    if len(payload) > 1023:
        raise ValueError(f"{len(payload)} bytes, RTCM 3 takes 1023")
    body = b"\xd3" + struct.pack(">H", len(payload)) + payload
    return body + crc24q(body).to_bytes(3, "big")


def _rtcm_measure(data: bytes, at: int) -> int:
    if len(data) - at < 3:
        return _MORE
    return 6 + int.from_bytes(data[at + 1 : at + 3], "big")  # the upper 6 bits are 0: see start


def _rtcm_check(frame: bytes) -> bool:
    return crc24q(frame) == 0


def _rtcm_name(frame: bytes) -> str:
    """The message number; "0" for a frame without payload, which is a filler."""
    return str(int.from_bytes(frame[3:5], "big") >> 4 if len(frame) > 7 else 0)


def _ubx_measure(data: bytes, at: int) -> int:
    if len(data) - at < 6:
        return _MORE
    length = ubx.OVERHEAD + int.from_bytes(data[at + 4 : at + 6], "little")
    return length if length <= UBX_LIMIT else _WRONG


def _ubx_check(frame: bytes) -> bool:
    return ubx.checksum(frame[2:-2]) == frame[-2:]


def _ubx_name(frame: bytes) -> str:
    return ubx.label(int.from_bytes(frame[2:4], "big"))


_NMEA_TEXT = re.compile(rb"[ -#%-~]*")  # printable, without the $ that begins a sentence
_NMEA_SENTENCE = re.compile(
    rb"\$(?:[A-Z]{2}[A-Z0-9]{3}|P[A-Z0-9]{3,9})(?:,[^*]*)?\*[0-9A-Fa-f]{2}\r\n"
)


def _nmea_measure(data: bytes, at: int) -> int:
    text = _NMEA_TEXT.match(data, at + 1, at + NMEA_LIMIT - 2)
    end = text.end() if text else at + 1
    ending = data[end : end + 2]
    if ending in (b"", b"\r"):
        return _MORE
    if ending != b"\r\n" or not _NMEA_SENTENCE.match(data, at, end + 2):
        return _WRONG
    return end + 2 - at


def _nmea_check(frame: bytes) -> bool:
    return nmea.checksum(frame[1:-5]) == int(frame[-4:-2], 16)


def _nmea_name(frame: bytes) -> str:
    """The sentence formatter, "GGA"; of a proprietary sentence the maker: "PUBX"."""
    address = frame[1:-5].split(b",")[0].decode("ascii")
    return address[:4] if address.startswith("P") else address[2:]


_FRAMINGS = {
    0x73: _Framing(FrameKind.SPARTN, rb"\x73", _spartn_measure, _spartn_check, _spartn_name),
    0xD3: _Framing(
        FrameKind.RTCM3, rb"\xd3(?:[\x00-\x03]|\Z)", _rtcm_measure, _rtcm_check, _rtcm_name
    ),
    0xB5: _Framing(FrameKind.UBX, rb"\xb5(?:\x62|\Z)", _ubx_measure, _ubx_check, _ubx_name),
    0x24: _Framing(FrameKind.NMEA, rb"\$(?:[A-Z]|\Z)", _nmea_measure, _nmea_check, _nmea_name),
}  # by first byte


def _crc_table(width: int, polynomial: int) -> tuple[int, ...]:
    top, mask = 1 << (width - 1), (1 << width) - 1
    table = []
    for byte in range(256):
        remainder = byte << (width - 8)
        for _ in range(8):
            remainder = remainder << 1 ^ polynomial if remainder & top else remainder << 1
        table.append(remainder & mask)
    return tuple(table)


_CRC8, _CRC24, _CRC32 = (
    _crc_table(width, polynomial)
    for width, polynomial in ((8, 0x07), (24, 0x864CFB), (32, 0x04C11DB7))
)


def crc24q(data: bytes) -> int:
    """CRC-24Q (RTCM 10403.3, section 4.2; also SPARTN's 24-bit CRC); 0 over a frame with it."""
    crc = 0
    for byte in data:
        crc = (crc & 0xFFFF) << 8 ^ _CRC24[crc >> 16 ^ byte]
    return crc


def _spartn_crc(crc_type: int, body: bytes) -> bytes:
    if crc_type == 1:
        crc = binascii.crc_hqx(body, 0)  # polynomial 0x1021
    elif crc_type == 2:
        crc = crc24q(body)
    elif crc_type == 0:
        crc = 0
        for byte in body:
            crc = _CRC8[crc ^ byte]
    else:
        crc = 0xFFFF_FFFF
        for byte in body:
            crc = (crc & 0xFF_FFFF) << 8 ^ _CRC32[crc >> 24 ^ byte]
        crc ^= 0xFFFF_FFFF
    return crc.to_bytes(crc_type + 1, "big")


def _crc4_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = remainder >> 1 ^ 0x9 if remainder & 1 else remainder >> 1
        table.append(remainder)
    return tuple(table)


_CRC4 = _crc4_table()  # polynomial 0x9, bits reflected


def _spartn_header_crc(header: bytes | bytearray) -> int:
    """Over the three bytes behind the preamble, the CRC's own four bits taken as 0."""
    crc = _CRC4[header[0]]
    crc = _CRC4[crc ^ header[1]]
    return _CRC4[crc ^ header[2] & 0xF0]
