"""Whole, checked messages out of one stream of bytes: SPARTN, RTCM 3, UBX and NMEA.

A :class:`Scanner` looks for the first byte of a frame, waits for the length in its header, and
tells "more bytes are needed" from "these bytes are wrong": the first waits, the second gives up
one byte and looks again behind it. So one damaged frame never costs the next.

The work is linear in the bytes, also for hostile ones. The first frame over some bytes is checked
directly. Where it fails, frames that overlap it are checked by running checksums, which read each
byte once. So a byte is read at most once directly and twice for each kind of checksum.

Sources: SPARTN 2.0.2 interface control document, section 3; RTCM 10403.3, section 4; u-blox
ZED-F9P interface description, "UBX frame structure"; NMEA 0183, section 5.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from ztpd.model import Frame, FrameKind
from ztpd.wire import ubx
from ztpd.wire.checksums import Checks, Checksum, Crc, Fletcher, SentenceXor

SPARTN_LIMIT = 1 + 3 + 6 + 2 + 1023 + 64 + 4
RTCM_LIMIT = 3 + 1023 + 3
UBX_LIMIT = ubx.OVERHEAD + 8192
"""No output of a ZED-F9P or ZED-X20P is longer; the field itself would allow 65535 bytes."""
NMEA_LIMIT = 1024
"""The standard says 82; u-blox's PUBX,03 has a group for each satellite, 700 bytes in all."""

_MORE = -1  # the header is not whole yet
_WRONG = 0  # this is no frame

_MOST_NAMES = 256
_BAD_RUN_LIMIT = 64
_FORGIVEN = 8  # bad checks that a whole frame makes up for


class Counts:
    """Totals of a stream."""

    def __init__(self) -> None:
        self.frames: dict[str, int] = {}  # by Frame.name
        self.bytes = 0  # received
        self.skipped_bytes = 0  # known to be part of no frame
        self.bad_checks = 0  # frames whole by their header, but with a wrong CRC or checksum
        self.overrun = 0  # whole frames that were dropped because the reader was too slow
        self.bad_run = 0  # those of them that no whole frame has made up for

    @property
    def corrupt(self) -> bool:
        """True once wrong checks outnumber whole frames as in no stream of frames: a damaged one
        has one or two for each frame it loses."""
        return self.bad_run > _BAD_RUN_LIMIT

    def add(self, name: str) -> None:
        """One more frame. Past 256 different names (no stream has so many) it is an "other"."""
        if name not in self.frames and len(self.frames) >= _MOST_NAMES:
            name = "other"
        self.frames[name] = self.frames.get(name, 0) + 1
        if self.bad_run:
            self.bad_run = max(0, self.bad_run - _FORGIVEN)


class Scanner:
    """One stream: bytes in, in pieces of any size, whole checked frames out.

    The frames found depend on the bytes alone, not on how they were cut into pieces.
    """

    def __init__(self, *kinds: FrameKind, counts: Counts | None = None) -> None:
        """``kinds`` are the framings to look for; all four where none is named. Scanners of one
        session may share their ``counts``."""
        wanted = [framing for framing in _FRAMINGS.values() if framing.kind in (kinds or FrameKind)]
        self._start = re.compile(b"|".join(framing.start for framing in wanted))
        self._waiting = bytearray()
        self._needed = 0  # bytes in all, before the frame that waits can be judged
        self._position = 0  # in the stream, of the first byte that waits
        self._checks = Checks()
        self._skims_nmea = False
        self.counts = Counts() if counts is None else counts

    @property
    def checked_bytes(self) -> int:
        """Bytes that checksums have read, each as often as it was read."""
        return self._checks.read_bytes

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their frame; always fewer than its longest form has."""
        return len(self._waiting)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Never raises."""
        self.counts.bytes += len(data)
        self._waiting += data
        return self._scan(quiet=False) if len(self._waiting) >= self._needed else []

    def skim_nmea(self) -> None:
        """From now on pass over whole sentences, unchecked and uncounted, except TXT: for streams
        of which no program reads them."""
        self._skims_nmea = True

    def flush(self) -> list[Frame]:
        """The line is silent, so the pending bytes are no frame: returns the frames inside them.

        Bytes that only look like the beginning of a long frame would else hold back whole frames
        behind them until the next burst.
        """
        return self._scan(quiet=True)

    def _scan(self, *, quiet: bool) -> list[Frame]:
        found = []
        data, counts, search, hold = (
            self._waiting,
            self.counts,
            self._start.search,
            self._checks.hold,
        )
        at = in_frames = 0
        self._needed = 0
        while start := search(data, at):
            at = start.start()
            if self._skims_nmea and (run := _NMEA_RUN.match(data, at)):
                in_frames += run.end() - at
                at = run.end()
                continue
            framing = _FRAMINGS[data[at]]
            length = framing.measure(data, at)
            if length == _MORE or at + length > len(data):
                if not quiet:
                    self._needed = max(0, length)
                    break
                length = _WRONG
            if length:
                checksums = framing.checksums
                checksum = checksums[0 if len(checksums) == 1 else data[at + 3] >> 4 & 3]
                begin = at + framing.unchecked
                if hold(checksum, data, self._position, begin, at + length, framing.limit):
                    frame = bytes(data[at : at + length])
                    name = framing.name(frame)
                    counts.add(name)
                    found.append(Frame(framing.kind, frame, name))
                    at += length
                    in_frames += length
                    continue
                counts.bad_checks += 1
                counts.bad_run += 1
            at += 1
        else:
            at = len(data)
        counts.skipped_bytes += at - in_frames
        del data[:at]
        self._position += at
        return found


class _Framing(NamedTuple):
    kind: FrameKind
    start: bytes  # regular expression for the first bytes
    measure: Callable[[bytearray, int], int]  # length of the frame there, _MORE or _WRONG
    checksums: tuple[Checksum, ...]  # more than one: SPARTN's header says which
    unchecked: int  # bytes at the beginning that the checksum leaves out
    limit: int  # bytes of the longest frame
    name: Callable[[bytes], str]


# SPARTN: 0x73; type 7 bits, payload length 10, encrypted 1, CRC type 2, header CRC 4; subtype 4,
# time tag type 1, time tag 16 or 32, solution 7, processor 4; if encrypted: encryption id 4,
# sequence 6, authentication indicator 3, authentication length 3; payload; authentication; CRC.

_SPARTN_TYPES = {0: "OCB", 1: "HPAC", 2: "GAD", 3: "BPAC", 4: "EAS"}
_SPARTN_DEFINED = {*_SPARTN_TYPES, 120}  # 120: proprietary
_SPARTN_SYSTEMS = {0: "GPS", 1: "GLO", 2: "GAL", 3: "BDS", 4: "QZSS"}
_AUTHENTICATION_BYTES = {0: 8, 1: 12, 2: 16, 3: 32, 4: 64}


def spartn_name(message_type: int, subtype: int) -> str:
    """The field's name of it: "OCB-GPS", "HPAC-GLO", "GAD"; "120-1" where it has no name here."""
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
    return b"\x73" + body + _SPARTN_CRCS[crc_type].of(body).to_bytes(crc_type + 1, "big")


def _packed(fields: list[tuple[int, int]]) -> bytes:
    """Values and their widths in bits, one after another; the widths add up to whole bytes."""
    number, width = 0, 0
    for value, bits in fields:
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} does not fit {bits} bits")
        number, width = number << bits | value, width + bits
    return number.to_bytes(width // 8, "big")


def _spartn_measure(data: bytearray, at: int) -> int:
    available = len(data) - at
    if available < 5:
        return _MORE
    _, first, second, third, fourth = data[at : at + 5]
    if _CRC4[_CRC4[_CRC4[first] ^ second] ^ third & 0xF0] != third & 0xF:
        return _WRONG
    if third & 0x30 == 0 and first >> 1 not in _SPARTN_DEFINED:
        return _WRONG  # 12 bits of check in all: random bytes pass too often
    length = 8 + 2 * (fourth >> 3 & 1)
    if third & 0x40:
        length += 2
        if available < length:
            return _MORE
        if data[at + length - 1] >> 3 & 7 > 1:
            authentication = _AUTHENTICATION_BYTES.get(data[at + length - 1] & 7)
            if authentication is None:
                return _WRONG
            length += authentication
    payload = (first << 16 | second << 8 | third) >> 7 & 0x3FF
    return length + payload + (third >> 4 & 3) + 1


def _spartn_name(frame: bytes) -> str:
    return spartn_name(frame[1] >> 1, frame[4] >> 4)


def rtcm_frame(payload: bytes) -> bytes:
    """A whole RTCM 3 frame. Raises ValueError above 1023 bytes."""
    if len(payload) > 1023:
        raise ValueError(f"{len(payload)} bytes, RTCM 3 takes 1023")
    body = b"\xd3" + struct.pack(">H", len(payload)) + payload
    return body + crc24q(body).to_bytes(3, "big")


def _rtcm_measure(data: bytearray, at: int) -> int:
    if len(data) - at < 3:
        return _MORE
    return 6 + (data[at + 1] << 8 | data[at + 2])  # the upper 6 bits are 0: see start


def _rtcm_name(frame: bytes) -> str:
    """The message number; "0" for a frame without payload, which is a filler."""
    return str(int.from_bytes(frame[3:5], "big") >> 4 if len(frame) > 7 else 0)


def _ubx_measure(data: bytearray, at: int) -> int:
    if len(data) - at < 6:
        return _MORE
    length = ubx.OVERHEAD + (data[at + 4] | data[at + 5] << 8)
    return length if length <= UBX_LIMIT else _WRONG


def _ubx_name(frame: bytes) -> str:
    return ubx.label(int.from_bytes(frame[2:4], "big"))


_NMEA_TEXT = re.compile(rb"[ -#%-~]*")  # printable, without the $ that begins a sentence
_NMEA_RUN = re.compile(rb"(?:\$(?!..TXT)[ -#%-~]{8,160}\r\n)+")
_NMEA_SENTENCE = re.compile(
    rb"\$(?:[A-Z]{2}[A-Z0-9]{3}|P[A-Z0-9]{3,9})(?:,[^*]*)?\*[0-9A-Fa-f]{2}\r\n"
)


def _nmea_measure(data: bytearray, at: int) -> int:
    text = _NMEA_TEXT.match(data, at + 1, at + NMEA_LIMIT - 2)
    end = text.end() if text else at + 1
    ending = bytes(data[end : end + 2])
    if ending in (b"", b"\r"):
        return _MORE
    if ending != b"\r\n" or not _NMEA_SENTENCE.match(data, at, end + 2):
        return _WRONG
    return end + 2 - at


def _nmea_name(frame: bytes) -> str:
    """The sentence formatter, "GGA"; of a proprietary sentence the maker: "PUBX"."""
    address = frame[1:-5].split(b",")[0].decode("ascii")
    return address[:4] if address.startswith("P") else address[2:]


_CRC24 = Crc(24, 0x864CFB)
_SPARTN_CRCS = (Crc(8, 0x07), Crc(16, 0x1021), _CRC24, Crc(32, 0x04C11DB7, inverted=True))
_FLETCHER, _SENTENCE = Fletcher(), SentenceXor()

_FRAMINGS = {
    0x73: _Framing(
        FrameKind.SPARTN,
        rb"\x73",
        _spartn_measure,
        _SPARTN_CRCS,
        1,
        SPARTN_LIMIT,
        _spartn_name,
    ),
    0xD3: _Framing(
        FrameKind.RTCM3,
        rb"\xd3(?:[\x00-\x03]|\Z)",
        _rtcm_measure,
        (_CRC24,),
        0,
        RTCM_LIMIT,
        _rtcm_name,
    ),
    0xB5: _Framing(
        FrameKind.UBX,
        rb"\xb5(?:\x62|\Z)",
        _ubx_measure,
        (_FLETCHER,),
        2,
        UBX_LIMIT,
        _ubx_name,
    ),
    0x24: _Framing(
        FrameKind.NMEA,
        rb"\$(?:[A-Z]|\Z)",
        _nmea_measure,
        (_SENTENCE,),
        1,
        NMEA_LIMIT,
        _nmea_name,
    ),
}  # by first byte


def crc24q(data: bytes) -> int:
    """CRC-24Q (RTCM 10403.3, section 4.2; also SPARTN's 24-bit CRC); 0 over a frame with it."""
    return _CRC24.of(data)


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
