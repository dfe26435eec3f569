"""Streams of corrections with the framing, sizes and periods of real services.

The payloads are noise: the simulated receiver looks at the frames only. Sizes and periods of
SPARTN are from captures of PointPerfect's European stream (2024): 319 bytes/s, an OCB
message a constellation every 5 s, atmosphere and areas every 30 s.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ztpd.model import GPS_LEAP_SECONDS, Frame, FrameKind
from ztpd.wire.frames import Scanner, rtcm_frame, spartn_frame
from ztpd.wire.rtcm import StationPosition

SPARTN_EPOCH_UNIX_S = 1_262_304_000  # 2010-01-01


class Piece(NamedTuple):
    """Bytes to send ``delay_s`` after the piece before."""

    delay_s: float
    suffix: str  # appended to the MQTT topic of the region: "ocb", "hpac", "gad"; "" for RTCM
    data: bytes


class _System(NamedTuple):
    """One constellation in the SPARTN stream."""

    subtype: int
    offset_s: int  # its own time minus GPS time
    ocb: int  # bytes of most OCB messages
    ocb_full: int  # and of those that carry orbits and biases too, every 30 s


_SYSTEMS = (
    _System(0, 0, 53, 266),  # GPS
    _System(1, 3 * 3600 - GPS_LEAP_SECONDS, 39, 130),  # GLONASS: UTC + 3 h
    _System(3, -14, 45, 205),  # BeiDou
    _System(2, 0, 54, 252),  # Galileo
)
_OCB, _HPAC, _GAD = 0, 1, 2
_GAD_SIZES = (204, 75)
_HPAC_SIZES = (470, 450, 430, 410, 105)
_OCB_PERIOD_S = 5


def spartn_time(unix_s: float) -> int:
    """Seconds of GPS time since the epoch of SPARTN's time tags."""
    return int(unix_s) - SPARTN_EPOCH_UNIX_S + GPS_LEAP_SECONDS


def spartn(
    rng: random.Random, *, encrypted: bool = False, start: int = 452_044_770
) -> Iterator[Piece]:
    """An endless stream of one region. ``start`` is a :func:`spartn_time`.

    Every third OCB message has the wide time tag, and so has every HPAC message.
    """
    sequence = itertools.count(rng.randrange(64))

    def frame(kind: int, subtype: int, size: int, time: int, wide: bool) -> bytes:
        overhead = 1 + 3 + (6 if wide else 4) + (2 if encrypted else 0) + 3
        return spartn_frame(
            kind,
            subtype,
            rng.randbytes(size - overhead),
            time_tag=time if wide else time % 43200,
            wide_tag=wide,
            encrypted=encrypted,
            sequence=next(sequence) % 64 if encrypted else 0,
        )

    for epoch in itertools.count():
        delay_s = float(_OCB_PERIOD_S) if epoch else 0.0
        now = start + epoch * _OCB_PERIOD_S
        full = epoch % 6 == 0
        for system in _SYSTEMS:
            size = system.ocb_full if full else system.ocb + rng.randrange(4)
            time = now + system.offset_s
            data = frame(_OCB, system.subtype, size, time, epoch % 3 == 0)
            yield Piece(delay_s, "ocb", data)
            delay_s = 0.0
        if not full:
            continue
        for size in _GAD_SIZES:
            yield Piece(0.0, "gad", frame(_GAD, 0, size, now, False))
        for system, size in itertools.product(_SYSTEMS, _HPAC_SIZES):
            time = now + system.offset_s
            data = frame(_HPAC, system.subtype, size + rng.randrange(-40, 40), time, True)
            yield Piece(0.0, "hpac", data)


# GPS, GLONASS, Galileo, BeiDou: satellites, and the number of the second signal (tables 3.5-91 on)
_MSM7 = {1077: (10, 16), 1087: (7, 8), 1097: (8, 16), 1127: (6, 14)}
STATION = StationPosition(2003, 3_779_152.6664, 903_806.9938, 5_040_997.7531, 0.0)
"""5.4 km from the simulated receiver, in Berlin."""
BACKUP_STATION = STATION._replace(station_id=2004)
"""Of another service, at the same place."""


def rtcm(
    rng: random.Random, *, station: StationPosition = STATION, without: Container[int] = ()
) -> Iterator[Piece]:
    """An endless stream of one base station: 1006, four times MSM7 and 1230 a second, but
    for the message numbers in ``without``."""
    number_of = station.station_id
    for second in itertools.count():
        messages = {
            1006: station.encode(),
            **{number: _rtcm_msm7(rng, number, number_of, second) for number in _MSM7},
            1230: _rtcm_1230(rng, number_of),
        }
        delay_s = 1.0 if second else 0.0
        for number, payload in messages.items():
            if number not in without:
                yield Piece(delay_s, "", rtcm_frame(payload))
                delay_s = 0.0


def _rtcm_msm7(rng: random.Random, number: int, station: int, second: int) -> bytes:
    """RTCM 10403.3, section 3.5.16: two signals of each satellite."""
    satellites, other = _MSM7[number]
    epoch_ms = second % (86_400 if number == 1087 else 604_800) * 1000
    more = number != max(_MSM7)
    chosen = sum(1 << 64 - satellite for satellite in rng.sample(range(1, 25), satellites))
    signals = 1 << 32 - 2 | 1 << 32 - other
    cells = 2 * satellites
    fields = [(number, 12), (station, 12), (epoch_ms, 30), (more, 1), (0, 3 + 7 + 2 + 2 + 1 + 3)]
    fields += [(chosen, 64), (signals, 32), ((1 << cells) - 1, cells)]
    bits = satellites * (8 + 4 + 10 + 14) + cells * (20 + 24 + 10 + 1 + 10 + 15)
    return _packed([*fields, (rng.getrandbits(bits), bits)])


def _rtcm_1230(rng: random.Random, station: int) -> bytes:
    """RTCM 10403.3, table 3.5-98: code-phase biases of the four GLONASS signals."""
    fields = [(1230, 12), (station, 12), (1, 1), (0, 3), (0b1111, 4)]
    return _packed([*fields, *((rng.getrandbits(16), 16) for _ in range(4))])


def _packed(fields: Iterable[tuple[int, int]]) -> bytes:
    """Values and their widths in bits, one after another, filled up with 0 to whole bytes."""
    number, width = 0, 0
    for value, bits in fields:
        number, width = number << bits | value, width + bits
    fill = -width % 8
    return (number << fill).to_bytes((width + fill) // 8, "big")


def captured(capture: Path, kind: FrameKind) -> Sequence[Frame]:
    """The frames of one kind in a captured stream. Raises OSError, and ValueError with the kinds
    that the capture has if there are none."""
    found = Scanner(FrameKind.SPARTN, FrameKind.RTCM3).feed(capture.read_bytes())
    frames = [frame for frame in found if frame.kind is kind]
    if not frames:
        there = (
            f"{found[0].kind.value} and no {kind.value}" if found else "neither SPARTN nor RTCM3"
        )
        raise ValueError(f"{capture} has {there} in it")
    return frames


def replay(frames: Sequence[Frame], *, bytes_per_s: float = 319.0) -> Iterator[Piece]:
    """``frames``, one after another at an even rate, over and over."""
    delay_s = 0.0
    for frame in itertools.cycle(frames):
        suffix = frame.name.partition("-")[0].lower() if frame.kind is FrameKind.SPARTN else ""
        yield Piece(delay_s, suffix, frame.data)
        delay_s = len(frame.data) / bytes_per_s


def coalesce(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Joins pieces of one moment and topic, as the MQTT service does."""
    waiting: Piece | None = None
    for piece in pieces:
        if waiting and not piece.delay_s and piece.suffix == waiting.suffix:
            waiting = waiting._replace(data=waiting.data + piece.data)
            continue
        if waiting:
            yield waiting
        waiting = piece
    if waiting:
        yield waiting


def cut(pieces: Iterable[Piece], rng: random.Random) -> Iterator[Piece]:
    """Cuts every piece at up to three random places, as a TCP stream may."""
    for piece in pieces:
        places = sorted(rng.sample(range(1, len(piece.data)), min(3, len(piece.data) - 1)))
        delays = itertools.chain((piece.delay_s,), itertools.repeat(0.0))
        for begin, end, delay_s in zip([0, *places], [*places, None], delays, strict=False):
            yield Piece(delay_s, piece.suffix, piece.data[begin:end])


async def paced(pieces: Iterable[Piece], *, speed: float = 1.0) -> AsyncIterator[Piece]:
    """``pieces`` at their times, ``speed`` times as fast; delays are not caught up."""
    for piece in pieces:
        if piece.delay_s:
            await asyncio.sleep(piece.delay_s / speed)
        yield piece
