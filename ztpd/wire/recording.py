"""The file format of ``ztpd record``: what went over the wires, with times.

A line with the name and the version of the format, a line of JSON about the recording, then records
until the end: a line with kind, seconds since the beginning and length, the bytes, and a line feed.
The whole may be compressed by gzip. A file that ends anywhere is readable up to its last whole
record. docs/recording.md has an example.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple

MAGIC = b"ztpd recording "
VERSION = 1
MOST_BYTES = 1 << 28
"""A recording is read into memory: 256 MiB unpacked are some days."""

_GZIP = b"\x1f\x8b"
_HEADER_LIMIT = 65_536
_RECORD_LIMIT = 65_536
_LINE = re.compile(rb"([<>S!]) ([0-9]{1,9}\.[0-9]{3}) ([0-9]{1,5})")
_LINE_LIMIT = 32


class RecordKind(Enum):
    """The direction of the bytes; an event is JSON."""

    FROM_RECEIVER = "<"
    TO_RECEIVER = ">"
    FROM_SERVICE = "S"
    EVENT = "!"


class Record(NamedTuple):
    """Bytes, or an event, and its time in seconds since the beginning of the recording."""

    at_s: float
    kind: RecordKind
    data: bytes

    def encode(self) -> bytes:
        """Raises ValueError above 65535 bytes, and for a time that is not 0 to 30 years."""
        if len(self.data) >= _RECORD_LIMIT or not 0 <= self.at_s < 1e9:
            raise ValueError(f"no record takes {len(self.data)} bytes at {self.at_s} s")
        return b"%s %.3f %d\n%b\n" % (
            self.kind.value.encode(),
            self.at_s,
            len(self.data),
            self.data,
        )

    @classmethod
    def event(cls, at_s: float, name: str, **fields: object) -> Record:
        return cls(at_s, RecordKind.EVENT, json.dumps({"event": name} | fields).encode())

    @property
    def fields(self) -> dict[str, Any]:
        """Of an event; empty where its data are no JSON object."""
        return _object(self.data) or {}


def header(about: dict[str, Any]) -> bytes:
    """The first two lines."""
    return b"%b%d\n%b\n" % (MAGIC, VERSION, json.dumps(about).encode())


class RecordingParser:
    """Bytes in, in pieces of any size; whole records out."""

    def __init__(self) -> None:
        self.about: dict[str, Any] | None = None  # the second line, once it has come
        self._waiting = bytearray()
        self._named = False  # the first line has come
        self._last_s = 0.0

    @property
    def pending(self) -> int:
        """Bytes of a record that is not whole yet."""
        return len(self._waiting)

    def feed(self, data: bytes) -> list[Record]:
        """The records that ``data`` completes. Raises ValueError at bytes that are no record; those
        before them are lost then, unless they are fed alone."""
        self._waiting += data
        found: list[Record] = []
        at = 0
        if self.about is None:
            at = self._begin()
        while self.about is not None:
            end = self._waiting.find(b"\n", at, at + _LINE_LIMIT)
            if end < 0:
                if len(self._waiting) - at >= _LINE_LIMIT:
                    raise self._damaged()
                break
            line = _LINE.fullmatch(self._waiting, at, end)
            size = int(line[3]) if line else _RECORD_LIMIT
            if line is None or size >= _RECORD_LIMIT:
                raise self._damaged()
            behind = end + 1 + size
            if behind >= len(self._waiting):
                break
            if self._waiting[behind] != 0x0A:
                raise self._damaged()
            self._last_s = max(self._last_s, float(line[2]))  # a clock does not run backwards
            kind = RecordKind(line[1].decode())
            found.append(Record(self._last_s, kind, bytes(self._waiting[end + 1 : behind])))
            at = behind + 1
        del self._waiting[:at]
        return found

    def _begin(self) -> int:
        """Read the first two lines; how many bytes they take, 0 while they are not whole."""
        data, start = self._waiting, MAGIC
        if data[: len(start)] != start[: len(data)]:
            raise ValueError("it is no recording of ztpd")
        first = data.find(b"\n", 0, len(MAGIC) + 8)
        if first < 0:
            if len(data) >= len(MAGIC) + 8:
                raise ValueError("it is no recording of ztpd")
            return 0
        version = bytes(data[len(MAGIC) : first]).decode(errors="replace")
        if version != str(VERSION):
            raise ValueError(f"it has version {version!r} of the format, this ztpd reads {VERSION}")
        second = data.find(b"\n", first + 1)
        if second < 0:
            if len(data) > _HEADER_LIMIT:
                raise ValueError("its second line has no end")
            return 0
        self.about = _object(bytes(data[first + 1 : second]))
        if self.about is None:
            raise ValueError("its second line is no JSON object")
        return second + 1

    def _damaged(self) -> ValueError:
        return ValueError(f"it is damaged behind {self._last_s:.1f} s")


class ReadRecording(NamedTuple):
    """A recording that was read."""

    about: dict[str, Any]
    records: tuple[Record, ...]
    is_cut: bool  # it ends in the middle of a record, or of its compression

    @property
    def duration_s(self) -> float:
        return self.records[-1].at_s if self.records else 0.0


def is_recording(data: bytes) -> bool:
    """Whether these are the first bytes of a recording, or of anything compressed by gzip."""
    return data.startswith((MAGIC, _GZIP))


def read(data: bytes) -> ReadRecording:
    """Raises ValueError, with a clause about the file, where it has no record or is damaged."""
    is_cut = False
    if data.startswith(_GZIP):
        data, is_cut = _unpacked(data)
    parser = RecordingParser()
    records = parser.feed(data)
    if parser.about is None:
        raise ValueError("it ends before its first record")
    return ReadRecording(parser.about, tuple(records), is_cut or parser.pending > 0)


def write(about: dict[str, Any], records: Iterable[Record]) -> bytes:
    """A whole recording, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(header(about))]
    parts += [packer.compress(record.encode()) for record in records]
    return b"".join([*parts, packer.flush()])


def _unpacked(data: bytes) -> tuple[bytes, bool]:
    """As far as it goes, and whether it is cut. Raises ValueError where it is damaged or large."""
    unpacker = zlib.decompressobj(31)
    try:
        found = unpacker.decompress(data, MOST_BYTES)
    except zlib.error:
        raise ValueError("its compression is damaged") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"unpacked it has more than {MOST_BYTES >> 20} MiB")
    return found, not unpacker.eof


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
