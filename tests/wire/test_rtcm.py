"""RTCM 3 as far as ztpd looks into it, with pyrtcm as the oracle."""

from __future__ import annotations

import io
from pathlib import Path

import pyrtcm
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrtcm.rtcmtypes_get import RTCM_PAYLOADS_GET

from ztpd.model import FrameKind
from ztpd.wire import rtcm
from ztpd.wire.frames import Scanner, rtcm_frame
from ztpd.wire.rtcm import StationPosition

BERLIN = StationPosition(2003, 3_783_000.1234, 901_500.4321, 5_038_250.0001)


@pytest.mark.parametrize("height_m", [None, 1.2345])
def test_a_station_position_as_pyrtcm_reads_it(height_m: float | None) -> None:
    station = StationPosition(2003, BERLIN.x_m, -BERLIN.y_m, BERLIN.z_m, height_m)
    parsed = pyrtcm.RTCMReader.parse(rtcm_frame(station.encode()))
    assert [1005 if height_m is None else 1006, 2003] == [parsed.DF002, parsed.DF003]
    place = [parsed.DF025, parsed.DF026, parsed.DF027]
    assert place == pytest.approx([station.x_m, station.y_m, station.z_m])
    if height_m is not None:
        assert pytest.approx(height_m) == parsed.DF028
    assert StationPosition.decode(station.encode()) == station


def test_recorded_positions_of_stations_as_pyrtcm_reads_them(captures: Path) -> None:
    for name, kind in (("rtcm3-base-station.log", "1005"), ("ntrip_encode_none.bin", "1006")):
        frames = Scanner(FrameKind.RTCM3).feed((captures / name).read_bytes())
        found = [frame for frame in frames if frame.name == kind]
        assert found
        for frame in found:
            station = StationPosition.decode(rtcm.payload(frame.data))
            other = pyrtcm.RTCMReader.parse(frame.data)
            assert station.station_id == other.DF003
            assert (station.x_m, station.y_m, station.z_m) == pytest.approx(
                (other.DF025, other.DF026, other.DF027)
            )


def test_numbers_and_stations_of_recorded_messages_as_pyrtcm_reads_them(captures: Path) -> None:
    seen = set()
    for name in ("pygpsdata-RTCM3.log", "rtcm3-base-station.log", "ntrip_encode_none.bin"):
        data = (captures / name).read_bytes()
        for frame in Scanner(FrameKind.RTCM3).feed(data):
            other = next(iter(pyrtcm.RTCMReader(io.BytesIO(frame.data))))[1]
            payload = rtcm.payload(frame.data)
            assert str(rtcm.number(payload)) == frame.name == other.identity.partition("_")[0]
            assert rtcm.station_id(payload) == getattr(other, "DF003", None)
            seen.add(frame.name)
    assert {"1005", "1006", "1077", "1087", "1230"} <= seen


def test_the_messages_with_a_station_are_those_of_the_standard() -> None:
    """pyrtcm's table: those whose second field is DF003; MSM have it in a common head."""
    expected = {
        int(name)
        for name, fields in RTCM_PAYLOADS_GET.items()
        if name.isdigit() and list(fields)[1:2] == ["DF003"]
    }
    ours = {
        number
        for number in range(1001, 1300)
        if rtcm.station_id((number << 4).to_bytes(2, "big") + b"\0") is not None
        and not (rtcm.observed_system(number) and number > 1070)
    }
    assert ours == expected


@pytest.mark.parametrize(
    ("number", "system"),
    [
        (1001, "GPS"),
        (1004, "GPS"),
        (1012, "GLO"),
        (1071, "GPS"),
        (1077, "GPS"),
        (1084, "GLO"),
        (1097, "GAL"),
        (1127, "BDS"),
        (1137, "NavIC"),
        (1005, ""),
        (1070, ""),
        (1078, ""),
        (1080, ""),
        (1141, ""),
        (1230, ""),
        (0, ""),
    ],
)
def test_which_system_a_message_observes(number: int, system: str) -> None:
    assert rtcm.observed_system(number) == system


@given(st.binary(max_size=60))
def test_any_payload_has_a_number_and_perhaps_a_station(payload: bytes) -> None:
    assert 0 <= rtcm.number(payload) <= 4095
    station = rtcm.station_id(payload)
    assert station is None or 0 <= station <= 4095


@given(st.sampled_from([b"\x3e\xd0", b"\x3e\xe0"]), st.binary(max_size=40))
def test_any_bytes_are_a_station_position_or_a_value_error(head: bytes, rest: bytes) -> None:
    try:
        station = StationPosition.decode(head + rest)
    except ValueError:
        assert len(head + rest) < (19 if head == b"\x3e\xd0" else 21)
        return
    assert all(abs(metres) <= 2**37 / 10_000 for metres in (station.x_m, station.y_m, station.z_m))


_COORDINATE = st.integers(-(2**37) + 1, 2**37 - 1).map(lambda count: count / 10_000)


@given(
    st.builds(
        StationPosition,
        st.integers(0, 4095),
        _COORDINATE,
        _COORDINATE,
        _COORDINATE,
        st.none() | st.integers(0, 0xFFFF).map(lambda count: count / 10_000),
    )
)
def test_a_station_position_survives_encoding_and_decoding(station: StationPosition) -> None:
    assert StationPosition.decode(station.encode()) == station


@pytest.mark.parametrize(
    "station",
    [
        StationPosition(4096, 0, 0, 0),
        StationPosition(0, 14_000_000, 0, 0),
        StationPosition(0, 0, 0, 0, -1.0),
        StationPosition(0, 0, 0, 0, 7.0),
    ],
)
def test_positions_that_do_not_fit_are_refused(station: StationPosition) -> None:
    with pytest.raises(ValueError):
        station.encode()
