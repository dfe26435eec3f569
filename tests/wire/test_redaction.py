"""What a recording hides: keys always, places unless they are wanted."""

from __future__ import annotations

import math
import random
import re
from itertools import islice

import pynmeagps
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receiver_bench import only_frame, ubx_frame
from ztpd.model import Carrier, Frame, FrameKind
from ztpd.sim import corrections
from ztpd.wire import nmea, rtcm, ubx, ubxcfg
from ztpd.wire.frames import Scanner, rtcm_frame, spartn_frame
from ztpd.wire.geodesy import ecef_m
from ztpd.wire.redaction import FrameRedaction
from ztpd.wire.rtcm import StationPosition
from ztpd.wire.ubx import (
    CfgValset,
    KeySlot,
    Message,
    NavPvt,
    NavSat,
    RxmCor,
    Satellite,
    SpartnKey,
)

KEY = bytes(range(0xA0, 0xB0))
HERE = NavPvt(
    fix_ok=True,
    fix_type=3,
    carrier=Carrier.FIXED,
    lat_deg=52.5200001,
    lon_deg=13.4050002,
    height_mm=78_400,
    msl_mm=34_000,
    hacc_mm=14,
)


def masked(*frames: bytes, with_position: bool = False) -> list[bytes]:
    redaction = FrameRedaction(with_position=with_position)
    return [redaction.apply(only_frame(data)) for data in frames]


def sentence(body: str) -> bytes:
    return b"$%b*%02X\r\n" % (body.encode(), nmea.checksum(body.encode()))


@pytest.mark.parametrize("with_position", [False, True])
def test_keys_become_zeros_in_a_frame_that_is_whole(with_position: bool) -> None:
    given = SpartnKey((KeySlot(KEY, 2392, 0), KeySlot(KEY[::-1], 2396, 0)))
    (found,) = masked(given.encode(), with_position=with_position)
    blank = SpartnKey((KeySlot(bytes(16), 2392, 0), KeySlot(bytes(16), 2396, 0)))
    assert ubx.parse(found) == blank


@pytest.mark.parametrize(
    "frame",
    [
        ubx.message(Message.RXM_SPARTNKEY, b"\1\xc8\0\0" + KEY),  # says 200 keys
        ubx.message(0x2703, KEY),  # SEC-UNIQID
        ubx.message(0x0914, KEY),  # UPD-SOS: a backup of the receiver's memory
        CfgValset({0x50F6000A: int.from_bytes(KEY[:8], "little")}).encode(),
        ubx.message(Message.CFG_VALSET, bytes(4) + b"\0\0\0\0" + KEY),
    ],
)
@pytest.mark.parametrize("with_position", [False, True])
def test_secrets_of_other_messages_become_zeros(frame: bytes, with_position: bool) -> None:
    (found,) = masked(frame, with_position=with_position)
    assert KEY[:8] not in found
    assert len(found) == len(frame)
    assert only_frame(found).name == only_frame(frame).name


def test_with_positions_everything_else_is_as_it_was() -> None:
    frames = [HERE.encode(), sentence("GNGSV,1,1,1,05,40,083,46"), sentence("PXYZ,52.5,13.4")]
    frames += [each.data for each in islice(corrections.rtcm(random.Random(1)), 12)]
    frames += [each.data for each in islice(corrections.spartn(random.Random(1)), 12)]
    assert masked(*frames, with_position=True) == frames


def test_a_position_is_moved_and_movement_stays() -> None:
    north = NavPvt(fix_ok=True, fix_type=3, lat_deg=52.5210001, lon_deg=13.4060002, msl_mm=35_500)
    first, second = (ubx.parse(each) for each in masked(HERE.encode(), north.encode()))
    assert isinstance(first, NavPvt)
    assert isinstance(second, NavPvt)
    assert (first.lat_deg, first.lon_deg, first.msl_mm, first.height_mm) == (1.0, 1.0, 0, 0)
    assert (first.carrier, first.hacc_mm, first.fix_ok) == (Carrier.FIXED, 14, True)
    assert second.lat_deg == pytest.approx(1.001)
    east_m = (second.lon_deg - 1) * 111_320 * math.cos(math.radians(1))
    assert east_m == pytest.approx(0.001 * 111_320 * math.cos(math.radians(52.52)), abs=0.1)
    assert second.msl_mm == 1500


def test_sentences_agree_with_the_binary_position() -> None:
    gga = nmea.gga(HERE.to_fix())
    rmc = sentence("GNRMC,120000.00,A,5231.20000,N,01324.30001,E,0.0,,291126,,,R,V")
    gll = sentence("GNGLL,5231.20000,N,01324.30001,E,120000.00,A,R")
    _, *found = masked(HERE.encode(), gga, rmc, gll)
    for data in found:
        read = pynmeagps.NMEAReader.parse(data)
        assert (read.lat, read.lon) == (pytest.approx(1.0, abs=1e-6), pytest.approx(1.0, abs=1e-6))
    assert b",M,0.0,M," in found[0]


def test_a_sentence_may_come_first() -> None:
    gga, pvt = masked(nmea.gga(HERE.to_fix()), HERE.encode())
    assert pynmeagps.NMEAReader.parse(gga).lat == pytest.approx(1.0)
    moved = ubx.parse(pvt)
    assert isinstance(moved, NavPvt)
    assert moved.lat_deg == pytest.approx(1.0, abs=1e-5)


def test_a_position_that_is_not_valid_is_left_out() -> None:
    """It may be the last one, or that of the factory, from which the others could be computed."""
    last = NavPvt(fix_ok=False, lat_deg=47.2852, lon_deg=8.5652, height_mm=1, msl_mm=2)
    words = sentence("GNGGA,120000.00,4717.1,N,00833.9,E,0,00,99.99,408.0,M,47.0,M,,")
    pvt, gga, here = masked(last.encode(), words, HERE.encode())
    found, moved = ubx.parse(pvt), ubx.parse(here)
    assert isinstance(found, NavPvt)
    assert isinstance(moved, NavPvt)
    assert (found.lat_deg, found.lon_deg, found.msl_mm) == (0, 0, 0)
    assert b"4717" not in gga
    assert moved.lat_deg == 1.0


def test_the_magnetic_declination_is_left_out() -> None:
    """It differs from place to place."""
    pvt = ubx.message(Message.NAV_PVT, ubx.unwrap(HERE.encode())[1][:88] + b"\xc2\x01\x64\0")
    rmc = sentence("GNRMC,120000.00,A,5231.20000,N,01324.30001,E,3.0,90.0,291126,4.5,E,R,V")
    vtg = sentence("GNVTG,90.0,T,85.5,M,3.0,N,5.6,K,R")
    found = masked(pvt, rmc, vtg)
    assert ubx.unwrap(found[0])[1][88:] == bytes(4)
    assert b",3.0,90.0,291126,,,R,V*" in found[1]
    assert found[2].startswith(b"$GNVTG,90.0,T,,M,3.0,N,5.6,K,R*")


def test_directions_to_satellites_are_left_out_and_strengths_stay() -> None:
    seen = NavSat(tuple(Satellite(0, number, 44, 30 + number, 120, True) for number in range(1, 9)))
    (found,) = masked(seen.encode())
    assert ubx.parse(found) == NavSat(
        tuple(Satellite(0, number, 44, 0, 0, True) for number in range(1, 9))
    )
    (gsv,) = masked(sentence("GNGSV,1,1,02,05,40,083,46,12,10,310,31,1"))
    assert gsv.startswith(b"$GNGSV,1,1,02,05,,,46,12,,,31,1*")


def test_reports_about_the_receiver_stay() -> None:
    frames = [
        RxmCor(2).encode(),
        ubx.message(Message.SEC_SIG, b"\1\0\0\0" + bytes(8)),
        CfgValset({ubxcfg.KEYS["CFG-RATE-MEAS"]: 1000}).encode(),
        sentence("GNTXT,01,01,02,u-blox AG - www.u-blox.com"),
    ]
    assert masked(*frames) == frames


def test_positions_in_settings_become_zeros() -> None:
    given = {0x40030009: 525_200_001, ubxcfg.KEYS["CFG-RATE-MEAS"]: 1000}
    (found,) = masked(CfgValset(given).encode())
    read = ubx.parse(found)
    assert isinstance(read, CfgValset)
    assert read.values == {0x40030009: 0, ubxcfg.KEYS["CFG-RATE-MEAS"]: 1000}


def test_messages_that_could_tell_the_place_become_zeros() -> None:
    for number in (0x0102, 0x0114, 0x013C, 0x0215, 0x0213, 0x1340, 0x1380, 0x0613):
        (found,) = masked(ubx.message(number, b"\x55" * 40))
        assert found == ubx.message(number, bytes(40))
    for body in ("PUBX,00,120000.00,5231.2,N,01324.3,E", "GNDTM,W84,,0.01,N,0.02,E,0.0,W84"):
        (found,) = masked(sentence(body))
        assert found == bytes(len(sentence(body)))


@pytest.mark.parametrize(
    ("metres", "kept_km"), [(0, 0), (400, 0), (5_400, 5), (43_210, 43), (43_700, 44)]
)
def test_a_station_keeps_its_distance_in_kilometres_and_not_its_direction(
    metres: float, kept_km: float
) -> None:
    x, y, z = ecef_m(52.5200001, 13.4050002, 34.0)
    lon = math.radians(13.405)
    station = StationPosition(7, x - metres * math.sin(lon), y + metres * math.cos(lon), z, 1.5)
    pvt, found = masked(HERE.encode(), rtcm_frame(station.encode()))
    moved, here = StationPosition.decode(rtcm.payload(found)), ubx.parse(pvt)
    assert isinstance(here, NavPvt)
    there = (moved.x_m, moved.y_m, moved.z_m)
    distance_m = math.dist(ecef_m(here.lat_deg, here.lon_deg, 0.0), there)
    assert distance_m == pytest.approx(kept_km * 1000, abs=100)
    assert (moved.station_id, moved.antenna_height_m) == (7, 1.5)


def test_observations_keep_number_station_and_time_alone() -> None:
    for piece in islice(corrections.rtcm(random.Random(3)), 12):
        frame = only_frame(piece.data)
        (found,) = masked(frame.data)
        assert only_frame(found).name == frame.name
        before, after = rtcm.payload(frame.data), rtcm.payload(found)
        assert rtcm.station_id(after) == rtcm.station_id(before)
        if rtcm.observed_system(int(frame.name)):
            assert after == before[:8] + bytes(len(before) - 8)


@given(
    st.sampled_from([0, 1, 2, 3, 4]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from([b"", bytes(range(8)), bytes(range(64))]),
    st.binary(min_size=1, max_size=300),
)
def test_spartn_keeps_its_header_and_area_messages_lose_their_payload(
    kind: int, wide: bool, encrypted: bool, crc: int, authentication: bytes, payload: bytes
) -> None:
    data = spartn_frame(
        kind, 0, payload, time_tag=40_001, wide_tag=wide, encrypted=encrypted, crc_type=crc,
        solution_id=77, processor_id=9, encryption_id=3, sequence=33,
        authentication=authentication if encrypted else b"",
    )  # fmt: skip
    (found,) = masked(data)
    if kind == 0:
        assert found == data
        return
    assert len(found) == len(data)
    assert only_frame(found).name == only_frame(data).name
    head = 10 if wide else 8
    assert found[1:3] + found[4:head] == data[1:3] + data[4:head]
    assert not any(found[head + 2 * encrypted : -crc - 1])


FRAMES = st.one_of(
    st.builds(
        ubx_frame,
        st.one_of(st.sampled_from([int(each) for each in Message]), st.integers(0, 0xFFFF)),
        st.binary(max_size=120),
    ),
    st.binary(min_size=2, max_size=100).map(lambda payload: only_frame(rtcm_frame(payload))),
    st.builds(
        lambda name, fields: only_frame(sentence(",".join([f"GN{name}", *fields]))),
        st.sampled_from(["GGA", "RMC", "GLL", "GNS", "GSV", "TXT", "XYZ"]),
        st.lists(
            st.one_of(
                st.from_regex(r"\A[0-9]{0,5}(\.[0-9]{0,5})?\Z"),
                st.sampled_from(["N", "S", "E", "A", ""]),
            ),
            max_size=16,
        ),
    ),
)  # fmt: skip


@given(st.lists(FRAMES, max_size=6), st.booleans())
def test_any_frame_gives_a_frame_of_its_name_or_zeros(
    frames: list[Frame], with_position: bool
) -> None:
    redaction = FrameRedaction(with_position=with_position)
    for frame in frames:
        found = redaction.apply(frame)
        if any(found):
            (again,) = Scanner(*FrameKind).feed(found)
            assert again.name == frame.name


def test_no_digit_of_the_place_is_left_in_a_stream() -> None:
    """Bytes of the coordinates, as each message writes them."""
    frames = [HERE.encode(), nmea.gga(HERE.to_fix())]
    frames += [each.data for each in islice(corrections.rtcm(random.Random(1)), 6)]
    whole = b"".join(masked(*frames))
    for degrees in (HERE.lat_deg, HERE.lon_deg):
        assert round(degrees * 1e7).to_bytes(4, "little") not in whole
    assert not re.search(rb"5231|1324", whole)
    assert corrections.STATION.encode()[3:] not in whole
