"""Frames out of recorded, damaged and hostile streams.

pyspartn, pyrtcm, pyubx2 and pynmeagps, which share no code with ztpd, are the oracles.
"""

from __future__ import annotations

import io
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pynmeagps
import pyrtcm
import pyspartn
import pytest
import pyubx2
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile_streams import BY_CHANCE
from tests.support.hostile_streams import PATTERNS as HOSTILE
from ztpd.model import Frame, FrameKind
from ztpd.wire import nmea, ubx
from ztpd.wire.frames import (
    NMEA_LIMIT,
    RTCM_LIMIT,
    SPARTN_LIMIT,
    UBX_LIMIT,
    Scanner,
    crc24q,
    rtcm_frame,
    spartn_encrypted,
    spartn_frame,
    spartn_name,
    spartn_time_tag,
)

SPARTN, RTCM3, UBX, NMEA = FrameKind

PAYLOAD = bytes(range(40))
OCB = spartn_frame(0, 0, PAYLOAD, time_tag=503_020_800)
HPAC = spartn_frame(1, 2, PAYLOAD[:9], time_tag=43_199, wide_tag=False, encrypted=True)
MSM7 = rtcm_frame(bytes.fromhex("4350 0067 0097") + PAYLOAD)
ARP = bytes.fromhex("d300133ed7d30202980edeef34b4bd62ac0941986f33360b98")  # RTCM 10403's example
COR = ubx.RxmCor().encode()
GGA = b"$GNGGA,120000.00,5123.4567,N,00012.3456,W,4,12,0.80,45.0,M,47.0,M,1.0,0000*42\r\n"
BANNER = b"$GNTXT,01,01,02,u-blox AG - www.u-blox.com*4E\r\n"
MIXED = (OCB, GGA, MSM7, COR, HPAC, ARP)


def scan(data: bytes, *kinds: FrameKind, flush: bool = True) -> list[bytes]:
    scanner = Scanner(*kinds)
    found = scanner.feed(data)
    if flush:
        found += scanner.flush()
    return [frame.data for frame in found]


def names(data: bytes, *kinds: FrameKind) -> list[str]:
    return [frame.name for frame in Scanner(*kinds).feed(data)]


# Recorded streams


@pytest.mark.parametrize(
    ("capture", "count", "encrypted"),
    [
        ("spartnMIXED.log", 422, True),
        ("spartn_rollover_32and16_20240428235040.log", 99, True),
        ("spartnHPAC2.log", 21, False),
        ("spartnntrip_20240430192807.log", 10, False),
        ("spartnGAD.log", 4, True),
        ("spartnOCB.log", 10, True),
    ],
)
def test_recorded_spartn_as_pyspartn_reads_it(
    captures: Path, capture: str, count: int, encrypted: bool
) -> None:
    data = (captures / capture).read_bytes()
    scanner = Scanner(SPARTN)
    found = scanner.feed(data)
    oracle = list(pyspartn.SPARTNReader(io.BytesIO(data), quitonerror=0, decode=False))
    assert [frame.data for frame in found] == [raw for raw, _ in oracle]
    assert len(found) == count
    for frame, (_, parsed) in zip(found, oracle, strict=True):
        word = parsed.identity.removeprefix("SPARTN-1X-").replace("BEI", "BDS")
        assert frame.name == word
        assert spartn_time_tag(frame) == (parsed.gnssTimeTag, bool(parsed.timeTagtype))
        assert spartn_encrypted(frame) is bool(parsed.eaf) is encrypted
    assert scanner.counts.skipped_bytes == scanner.counts.bad_checks == scanner.pending == 0
    assert scanner.counts.bytes == len(data)


@pytest.mark.parametrize(
    ("capture", "count", "skipped"),
    [
        ("ntrip_encode_none.bin", 292, 420),  # begins in the middle of a frame
        ("rtcm3-base-station.log", 158 * 7, None),
        ("pygpsdata-RTCM3.log", 11, None),
    ],
)
def test_recorded_rtcm_as_pyrtcm_reads_it(
    captures: Path, capture: str, count: int, skipped: int | None
) -> None:
    data = (captures / capture).read_bytes()
    scanner = Scanner(RTCM3)
    found = scanner.feed(data) + scanner.flush()
    oracle = [pair for pair in pyrtcm.RTCMReader(io.BytesIO(data), quitonerror=0) if pair[1]]
    assert [frame.data for frame in found] == [raw for raw, _ in oracle]
    assert [frame.name for frame in found] == [p.identity.split("(")[0][:4] for _, p in oracle]
    assert len(found) == count
    if skipped is not None:
        assert scanner.counts.skipped_bytes == skipped


@pytest.mark.parametrize(
    "capture",
    [
        "pygpsdata-MIXED-RTCM3.log",
        "pygpsdata-RTCM3.log",
        "rtcm3-base-station.log",
        "pygpsdata-MON.log",
        "pygpsdata-RXM.log",
        "pygpsdata-CFG.log",
        "pygpsdata-NAVHPPOS.log",
        "assistnow.log",
    ],
)
def test_recorded_receiver_output_as_pyubx2_reads_it(captures: Path, capture: str) -> None:
    data = (captures / capture).read_bytes()
    scanner = Scanner()
    found = scanner.feed(data)
    protocols = pyubx2.UBX_PROTOCOL | pyubx2.NMEA_PROTOCOL | pyubx2.RTCM3_PROTOCOL
    oracle = list(
        pyubx2.UBXReader(io.BytesIO(data), protfilter=protocols, quitonerror=0, parsing=False)
    )
    assert [frame.data for frame in found] == [raw for raw, _ in oracle]
    assert scanner.counts.skipped_bytes == scanner.counts.bad_checks == scanner.pending == 0


def test_recorded_nmea_is_named_as_pynmeagps_names_it(captures: Path) -> None:
    data = (captures / "rtcm3-base-station.log").read_bytes()
    found = Scanner(NMEA).feed(data)
    assert len(found) > 4000
    for frame in found:
        assert frame.name == pynmeagps.NMEAReader.parse(frame.data).msgID


def test_recorded_ubx_messages_are_named(captures: Path) -> None:
    assert names((captures / "pygpsdata-MON.log").read_bytes(), UBX)[:2] == ["MON-VER", "0a06"]
    assert names((captures / "pygpsdata-RXM.log").read_bytes(), UBX)[-1] == "RXM-SPARTNKEY"
    assistance = set(names((captures / "assistnow.log").read_bytes(), UBX))
    assert assistance == {"MGA-INI", "MGA-GPS", "MGA-GLO", "MGA-BDS", "MGA-GAL"}


def test_a_recording_gives_the_same_in_pieces_of_any_size(captures: Path) -> None:
    data = (captures / "pygpsdata-MIXED-RTCM3.log").read_bytes() + (
        captures / "spartnHPAC2.log"
    ).read_bytes()
    whole = scan(data)
    for size in range(1, 64):
        scanner = Scanner()
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        found = [frame.data for piece in pieces for frame in scanner.feed(piece)]
        assert found == whole


def test_a_recording_survives_damage_as_far_as_it_is_whole(captures: Path) -> None:
    """One byte in each 2000 is wrong: only the frames hit are lost."""
    data = bytearray((captures / "spartnMIXED.log").read_bytes())
    whole = scan(bytes(data), SPARTN)
    dice = random.Random(7)
    hit = set()
    for at in dice.sample(range(len(data)), len(data) // 2000):
        data[at] ^= dice.randrange(1, 256)
        hit.add(at)
    ends = [0]
    for frame in whole:
        ends.append(ends[-1] + len(frame))
    spared = [
        frame
        for frame, (start, end) in zip(whole, pairwise(ends), strict=True)
        if not any(start <= at < end for at in hit)
    ]
    assert scan(bytes(data), SPARTN) == spared
    assert len(whole) - len(hit) <= len(spared) < len(whole)


# Frames made by ztpd, read by other libraries


@pytest.mark.parametrize("crc_type", [0, 1, 2, 3])
@pytest.mark.parametrize("wide_tag", [True, False])
@pytest.mark.parametrize(
    "crypto", [{}, {"encrypted": True}, {"encrypted": True, "authentication": b"a" * 16}]
)
@pytest.mark.parametrize("size", [1, 40, 1023])
def test_made_spartn_is_read_by_pyspartn_and_found_again(
    crc_type: int, wide_tag: bool, crypto: dict[str, Any], size: int
) -> None:
    payload = bytes(at * 7 & 0xFF for at in range(size))
    data = spartn_frame(
        1, 3, payload, time_tag=40_000, wide_tag=wide_tag, crc_type=crc_type, **crypto
    )
    ((raw, parsed),) = pyspartn.SPARTNReader(io.BytesIO(data), quitonerror=2, decode=False)
    assert raw == data
    assert (parsed.identity, parsed.nData, parsed.crcType) == ("SPARTN-1X-HPAC-BEI", size, crc_type)
    assert (parsed.gnssTimeTag, parsed.solutionId, parsed.solutionProcId) == (40_000, 5, 1)
    (frame,) = Scanner(SPARTN).feed(data)
    assert frame == Frame(SPARTN, data, "HPAC-BDS")
    assert spartn_encrypted(frame) is bool(crypto)
    assert spartn_time_tag(frame) == (40_000, wide_tag)


@pytest.mark.parametrize("size", [8, 12, 16, 32, 64])
def test_spartn_authentication_of_every_length(size: int) -> None:
    data = spartn_frame(0, 1, PAYLOAD, time_tag=1, encrypted=True, authentication=b"a" * size)
    assert scan(data + OCB, SPARTN) == [data, OCB]


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_tag": 65_536, "wide_tag": False},
        {"time_tag": -1},
        {"time_tag": 1, "crc_type": 4},
        {"time_tag": 1, "solution_id": 128},
        {"time_tag": 1, "authentication": b"a" * 16},
        {"time_tag": 1, "encrypted": True, "authentication": b"a" * 9},
    ],
)
def test_spartn_fields_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        spartn_frame(0, 0, PAYLOAD, **wrong)
    with pytest.raises(ValueError):
        spartn_frame(0, 0, bytes(1024), time_tag=1)


def test_spartn_names() -> None:
    ocb = [spartn_name(0, subtype) for subtype in range(6)]
    assert ocb == ["OCB-GPS", "OCB-GLO", "OCB-GAL", "OCB-BDS", "OCB-QZSS", "0-5"]
    assert [spartn_name(2, 0), spartn_name(2, 1), spartn_name(120, 1)] == ["GAD", "2-1", "120-1"]


def test_made_rtcm_is_read_by_pyrtcm_and_found_again() -> None:
    assert rtcm_frame(ARP[3:-3]) == ARP
    ((raw, parsed),) = pyrtcm.RTCMReader(io.BytesIO(ARP), quitonerror=2, validate=1)
    assert (raw, parsed.identity) == (ARP, "1005")
    assert Scanner(RTCM3).feed(ARP) == [Frame(RTCM3, ARP, "1005")]
    with pytest.raises(ValueError):
        rtcm_frame(bytes(1024))


def test_an_rtcm_frame_may_be_empty() -> None:
    empty = bytes.fromhex("d3000047ea4b")  # the filler of RTCM 10403, with its published CRC
    assert rtcm_frame(b"") == empty
    assert Scanner(RTCM3).feed(empty) == [Frame(RTCM3, empty, "0")]


@given(st.binary(max_size=300))
def test_crc24q_agrees_with_pyrtcm(data: bytes) -> None:
    assert crc24q(data) == pyrtcm.calc_crc24q(data)


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        (b"GNGGA,1", "GGA"),
        (b"GPGSV,3,1,11", "GSV"),
        (b"PUBX,00,081350.00", "PUBX"),
        (b"PMTK001,604,3", "PMTK"),
        (b"GNTXT,01,01,02,u-blox AG - www.u-blox.com", "TXT"),
        (b"GNGLL", "GLL"),
    ],
)
def test_nmea_names(sentence: bytes, name: str) -> None:
    data = b"$%b*%02x\r\n" % (sentence, nmea.checksum(sentence))
    assert names(data, NMEA) == [name]


@pytest.mark.parametrize(
    "data",
    [
        b"$GNGGA,1*70\r\n",  # checksum
        b"$GNGGA,1*7\r\n",
        b"$GNGGA,1\r\n",
        b"$gngga,1*7E\r\n",
        b"$GN,1*7E\r\n",
        b"$GNGGA,\x00*7E\r\n",
        b"$GNGGA,1*4F\n",
        b"$GNTXT," + b"a" * NMEA_LIMIT + b"*00\r\n",
    ],
)
def test_invalid_nmea_sentences_are_refused(data: bytes) -> None:
    scanner = Scanner(NMEA)
    assert scanner.feed(data) == []
    assert scanner.pending == 0
    assert [frame.data for frame in scanner.feed(GGA)] == [GGA]


# Shapes of arrival

JUNK = bytes(range(0x80, 0xB5)) + b"\xff\x00HTTP/1.1 200 OK\r\n"


def test_a_stream_cut_anywhere() -> None:
    data = b"".join(MIXED)
    for at in range(len(data) + 1):
        scanner = Scanner()
        found = scanner.feed(data[:at]) + scanner.feed(data[at:])
        assert [frame.data for frame in found] == [*MIXED]
        assert scanner.counts.skipped_bytes == 0


def test_a_stream_in_single_bytes() -> None:
    scanner = Scanner()
    found = [frame.data for byte in b"".join(MIXED) for frame in scanner.feed(bytes([byte]))]
    assert found == [*MIXED]
    assert scanner.pending == 0


def test_a_frame_is_given_with_its_last_byte_and_not_before() -> None:
    for data in MIXED:
        scanner = Scanner()
        assert scanner.feed(data[:-1]) == []
        assert scanner.pending == len(data) - 1
        assert [frame.data for frame in scanner.feed(data[-1:])] == [data]
        assert scanner.pending == 0


def test_U06_noise_before_between_and_after() -> None:
    """A receiver's line with UBX, NMEA and RTCM, text and 0xFF between them."""
    scanner = Scanner()
    found = scanner.feed(JUNK + JUNK.join(MIXED) + JUNK)
    assert [frame.data for frame in found] == [*MIXED]
    assert scanner.counts.skipped_bytes == len(JUNK) * (len(MIXED) + 1)
    assert scanner.counts.bad_checks == 0
    assert sum(scanner.counts.frames.values()) == len(MIXED)


def test_U06_noise_that_looks_like_beginnings() -> None:
    for start in (b"\x73", b"\xd3", b"\xd3\x00", b"\xb5", b"\xb5\x62", b"$", b"$G", b"\x73\x73"):
        assert scan(start.join([b"", *MIXED, b""])) == [*MIXED]


def test_only_the_kinds_wanted_are_found() -> None:
    data = b"".join(MIXED)
    assert scan(data, SPARTN) == [OCB, HPAC]
    assert scan(data, RTCM3) == [MSM7, ARP]
    assert scan(data, UBX, NMEA) == [GGA, COR]


@pytest.mark.parametrize("victim", MIXED, ids=names(b"".join(MIXED)))
def test_any_flipped_bit_costs_that_frame_only(victim: bytes) -> None:
    for bit in range(8 * len(victim)):
        damaged = bytearray(victim)
        damaged[bit // 8] ^= 1 << bit % 8
        scanner = Scanner()
        found = scanner.feed(OCB + bytes(damaged) + ARP + COR) + scanner.flush()
        assert [frame.data for frame in found] == [OCB, ARP, COR], f"bit {bit}"
        assert scanner.counts.skipped_bytes == len(victim)


def test_R11_a_wrong_crc_is_counted_and_the_frame_not_given() -> None:
    damaged = bytearray(MSM7)
    damaged[20] ^= 0x10
    scanner = Scanner(RTCM3)
    assert [frame.data for frame in scanner.feed(ARP + damaged + ARP)] == [ARP, ARP]
    assert scanner.counts.bad_checks == 1
    assert scanner.counts.skipped_bytes == len(MSM7)
    assert scanner.counts.frames == {"1005": 2}


def test_R11_a_frame_cut_short_does_not_take_the_next_one() -> None:
    for cut in range(1, len(MSM7)):
        assert scan(MSM7[:cut] + ARP + ARP, RTCM3) == [ARP, ARP]


def test_R11_a_preamble_inside_a_frame_is_not_taken_for_one() -> None:
    inner = rtcm_frame(b"\x3e\xd0" + ARP + b"\xd3\x00\x04\x00" + OCB)
    assert scan(inner + ARP) == [inner, ARP]


def test_R11_the_longest_frames() -> None:
    longest = [
        rtcm_frame(b"\xd3" * 1023),
        spartn_frame(
            1,
            0,
            b"\x73" * 1023,
            time_tag=1,
            encrypted=True,
            authentication=b"s" * 64,
            crc_type=3,
        ),
        ubx.message(ubx.Message.NAV_SAT, b"\xb5\x62" * 4096),
    ]
    assert [len(data) for data in longest] == [RTCM_LIMIT, SPARTN_LIMIT, UBX_LIMIT]
    for data in longest:
        assert scan(data + ARP) == [data, ARP]


def test_R11_reserved_bits_make_it_no_frame_at_once() -> None:
    for high in range(1, 64):
        body = bytes([0xD3, high << 2, 5]) + bytes(5)
        scanner = Scanner(RTCM3)
        assert scanner.feed(body + crc24q(body).to_bytes(3, "big")) == []
        assert (scanner.pending, scanner.counts.bad_checks) == (0, 0)


def test_R11_a_spartn_header_with_a_wrong_check_is_no_frame_at_once() -> None:
    for bit in range(24):
        header = bytearray(OCB[:5])
        header[1 + bit // 8] ^= 1 << bit % 8
        scanner = Scanner(SPARTN)
        scanner.feed(bytes(header))
        assert scanner.pending == 0


def test_an_undefined_spartn_type_needs_more_than_eight_bits_of_check() -> None:
    weak, strong = (spartn_frame(41, 0, PAYLOAD, time_tag=1, crc_type=each) for each in (0, 1))
    assert scan(weak + OCB, SPARTN) == [OCB]
    assert scan(strong + OCB, SPARTN) == [strong, OCB]


def test_a_ubx_length_that_no_message_has_is_not_waited_for() -> None:
    scanner = Scanner(UBX)
    assert scanner.feed(bytes.fromhex("b562 0107 0120")) == []
    assert scanner.pending == 0


def test_pending_bytes_are_no_frame_when_the_line_goes_quiet() -> None:
    """The first bytes promise a long frame and hold back two whole ones."""
    scanner = Scanner()
    promise = bytes.fromhex("d303ff 4350")
    assert scanner.feed(promise + ARP + GGA) == []
    assert scanner.pending == len(promise + ARP + GGA)
    assert [frame.data for frame in scanner.flush()] == [ARP, GGA]
    assert scanner.pending == 0
    assert scanner.counts.skipped_bytes == len(promise)
    assert scanner.flush() == []


def test_the_number_of_names_is_bounded() -> None:
    scanner = Scanner(RTCM3)
    for number in range(4096):
        scanner.feed(rtcm_frame(number.to_bytes(2, "big") + b"\0"))
    assert sum(scanner.counts.frames.values()) == 4096
    assert len(scanner.counts.frames) <= 257


# Any bytes, in any pieces

_starts = st.sampled_from(
    [
        b"\x73",
        b"\xd3",
        b"\xd3\x00",
        b"\xd3\x03\xff",
        b"\xb5\x62",
        b"\xb5\x62\x01\x07\x5c\x00",
        b"$GNGGA,",
    ]
)
_whole = st.sampled_from([*MIXED, BANNER])
_cut = st.builds(lambda data, at: data[:at], _whole, st.integers(0, 60))
_streams = st.lists(st.one_of(_starts, _whole, _cut, st.binary(max_size=80)), max_size=20).map(
    b"".join
)


def feed_in_pieces(scanner: Scanner, data: bytes, cuts: list[int]) -> list[Frame]:
    found: list[Frame] = []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        found += scanner.feed(data[start:end])
        assert scanner.pending < UBX_LIMIT
    return found


@given(_streams, st.lists(st.integers(0, 5000), max_size=30))
def test_any_bytes_in_any_pieces_give_the_same_frames(data: bytes, cuts: list[int]) -> None:
    whole, pieces = Scanner(), Scanner()
    assert whole.feed(data) == feed_in_pieces(pieces, data, cuts)
    assert whole.pending == pieces.pending
    assert vars(whole.counts) == vars(pieces.counts)
    assert whole.flush() == pieces.flush()
    assert vars(whole.counts) == vars(pieces.counts)


@given(_streams, st.lists(st.integers(0, 5000), max_size=30))
def test_skimming_nmea_loses_no_other_frame(data: bytes, cuts: list[int]) -> None:
    kinds = (FrameKind.UBX, FrameKind.RTCM3, FrameKind.NMEA)
    careful, skimming = Scanner(*kinds), Scanner(*kinds)
    skimming.skim_nmea()
    found = feed_in_pieces(careful, data, cuts) + careful.flush()
    skimmed = feed_in_pieces(skimming, data, cuts) + skimming.flush()

    def others(frames: list[Frame]) -> list[Frame]:
        return [each for each in frames if each.kind is not FrameKind.NMEA or each.name == "TXT"]

    assert others(skimmed) == others(found)


def test_skimmed_sentences_are_no_noise_and_texts_are_given() -> None:
    scanner = Scanner()
    scanner.skim_nmea()
    assert [frame.data for frame in scanner.feed(GGA * 12 + BANNER + GGA + COR)] == [BANNER, COR]
    assert scanner.counts.skipped_bytes == 0


@given(_streams, st.sets(st.sampled_from(FrameKind)))
def test_every_byte_is_in_a_frame_or_skipped_or_waits(data: bytes, kinds: set[FrameKind]) -> None:
    scanner = Scanner(*kinds)
    found = scanner.feed(data)
    counts = scanner.counts
    in_frames = sum(len(frame.data) for frame in found)
    assert counts.bytes == len(data) == in_frames + counts.skipped_bytes + scanner.pending
    assert counts.frames == Counter(frame.name for frame in found)
    scanner.flush()
    assert scanner.pending == 0


@given(_streams)
def test_frames_found_are_in_the_stream_in_that_order(data: bytes) -> None:
    at = 0
    for frame in scan(data):
        at = data.index(frame, at) + len(frame)


@given(
    st.lists(st.tuples(_whole, st.binary(max_size=30).map(lambda b: bytes(x & 0x1F for x in b))))
)
def test_every_frame_among_harmless_noise_is_found(parts: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(noise + frame for frame, noise in parts)
    assert scan(data, flush=False) == [frame for frame, _ in parts]


@given(st.lists(st.sampled_from([SPARTN, RTCM3, NMEA]), min_size=1), st.binary(max_size=4000))
def test_corrections_never_wait_for_more_than_their_longest_frame(
    kinds: list[FrameKind], data: bytes
) -> None:
    scanner = Scanner(*kinds)
    for at in range(0, len(data), 50):
        scanner.feed(data[at : at + 50])
        assert scanner.pending < SPARTN_LIMIT


# Streams made to cost time


@pytest.mark.parametrize("pattern", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("piece", [2, 16, 4096])
def test_FR82_a_hostile_byte_is_checked_a_few_times_at_most(pattern: bytes, piece: int) -> None:
    data = pattern * (20_000 // len(pattern))
    scanner = Scanner()
    for at in range(0, len(data), piece):
        scanner.feed(data[at : at + piece])
    kinds_of_checksum = 5 if len(pattern) > 1000 else 1
    assert scanner.checked_bytes <= (1 + 2 * kinds_of_checksum) * len(data)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in BY_CHANCE])
def test_FR82_frames_behind_and_within_a_hostile_stretch_are_found(name: str) -> None:
    stretch = HOSTILE[name] * (3000 // len(HOSTILE[name]))
    wanted = [*MIXED]
    data = b"".join(stretch + frame for frame in wanted)
    for piece in (50, len(data)):
        scanner = Scanner()
        found: list[bytes] = []
        for at in range(0, len(data), piece):
            found += [frame.data for frame in scanner.feed(data[at : at + piece])]
        found += [frame.data for frame in scanner.flush()]
        assert [frame for frame in found if frame in wanted] == wanted


def test_FR82_an_honest_byte_is_checked_once(captures: Path) -> None:
    for capture in ("spartnMIXED.log", "rtcm3-base-station.log"):
        scanner = Scanner()
        scanner.feed(data := (captures / capture).read_bytes())
        assert scanner.checked_bytes < len(data)


def test_FR82_a_stream_of_wrong_checks_is_corrupt_and_a_damaged_one_is_not() -> None:
    scanner = Scanner()
    scanner.feed(b"\xd3\x03" * 600)
    assert scanner.counts.corrupt
    damaged = Scanner()
    wrong = bytearray(MSM7)
    wrong[9] ^= 1
    for _ in range(500):
        damaged.feed(bytes(wrong + wrong) + ARP)
        assert not damaged.counts.corrupt


def _one_by_one(data: bytes) -> list[bytes]:
    """The RTCM 3 and UBX frames of ``data``, each position checked separately."""
    found, at = [], 0
    while at < len(data):
        rest = data[at:]
        length = 0
        if rest[:1] == b"\xd3" and len(rest) >= 6 and rest[1] < 4:
            length = 6 + int.from_bytes(rest[1:3], "big")
            whole = crc24q(rest[:length]) == 0
        elif rest[:2] == b"\xb5\x62" and len(rest) >= 8:
            length = 8 + int.from_bytes(rest[4:6], "little")
            whole = ubx.checksum(rest[2 : length - 2]) == rest[length - 2 : length]
        if length and length <= len(rest) and whole:
            found.append(rest[:length])
            at += length
        else:
            at += 1
    return found


@given(
    st.lists(
        st.one_of(
            _starts,
            _whole,
            _cut,
            st.binary(max_size=20),
            st.builds(
                lambda pattern, times: pattern * times,
                st.sampled_from(sorted(HOSTILE.values(), key=len)[:8]),
                st.integers(1, 200),
            ),
        ),
        max_size=12,
    ).map(b"".join),
    st.integers(1, 400),
)
def test_FR82_running_checksums_find_the_same_frames_as_single_ones(
    data: bytes, piece: int
) -> None:
    scanner = Scanner(RTCM3, UBX)
    found = [
        frame.data
        for at in range(0, len(data), piece)
        for frame in scanner.feed(data[at : at + piece])
    ]
    found += [frame.data for frame in scanner.flush()]
    assert found == _one_by_one(data)


def test_FR13_a_sentence_for_each_satellite_is_whole() -> None:
    body = b"PUBX,03,32" + b",32,U,123,45,48,064" * 32
    data = b"$%b*%02X\r\n" % (body, nmea.checksum(body))
    assert 600 < len(data) < NMEA_LIMIT
    assert scan(GGA + data + GGA) == [GGA, data, GGA]
