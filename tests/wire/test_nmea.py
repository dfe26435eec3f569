"""GGA sentences, with pynmeagps as the oracle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pynmeagps
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ztpd.model import Carrier, Fix
from ztpd.wire.nmea import checksum, gga

FIX = Fix(
    ok=True,
    lat_deg=51.390945,
    lon_deg=-0.20576,
    height_m=45.04,
    geoid_m=47.0,
    accuracy_m=0.014,
    satellites=12,
    carrier=Carrier.FIXED,
    differential=True,
    correction_age_s=2.0,
    utc=datetime(2026, 3, 1, 12, 34, 56, 780_000, tzinfo=UTC),
    pdop=0.8,
)


def fields(fix: Fix) -> list[str]:
    return gga(fix).decode("ascii").split("*")[0].split(",")


def test_checksum_of_a_known_sentence() -> None:
    body = b"GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,"
    assert checksum(body) == 0x5B  # the example in u-blox's interface description


def test_a_gga_byte_for_byte() -> None:
    assert gga(FIX) == (
        b"$GNGGA,123456.78,5123.4567,N,00012.3456,W,4,12,0.80,45.0,M,47.0,M,2.0,0000*4A\r\n"
    )


@pytest.mark.parametrize(
    ("carrier", "differential", "quality"),
    [
        (Carrier.FIXED, True, 4),
        (Carrier.FLOAT, True, 5),
        (Carrier.NONE, True, 2),
        (Carrier.NONE, False, 1),
    ],
)
def test_quality(carrier: Carrier, differential: bool, quality: int) -> None:
    fix = FIX._replace(carrier=carrier, differential=differential)
    assert pynmeagps.NMEAReader.parse(gga(fix)).quality == quality


@pytest.mark.parametrize("differential", [True, False])
def test_FR07_dead_reckoning_has_a_quality_of_its_own(differential: bool) -> None:
    fix = FIX._replace(carrier=Carrier.NONE, differential=differential, dead_reckoning=True)
    assert pynmeagps.NMEAReader.parse(gga(fix)).quality == 6


def test_south_and_west() -> None:
    fix = FIX._replace(lat_deg=-33.5, lon_deg=-70.25)
    assert fields(fix)[2:6] == ["3330.0000", "S", "07015.0000", "W"]


def test_minutes_are_never_sixty() -> None:
    fix = FIX._replace(lat_deg=9.999999999, lon_deg=179.999999999)
    assert fields(fix)[2:6] == ["1000.0000", "N", "18000.0000", "E"]


def test_age_of_corrections_is_that_given_else_that_of_the_fix_else_nought() -> None:
    assert fields(FIX)[13] == "2.0"
    assert fields(FIX._replace(correction_age_s=None))[13] == "0.0"
    assert gga(FIX, age_s=7.25).split(b",")[13] == b"7.2"


def test_talker() -> None:
    assert gga(FIX, talker="GP").startswith(b"$GPGGA,")


def test_time_not_resolved() -> None:
    assert fields(FIX._replace(utc=None))[1] == "000000.00"


@pytest.mark.parametrize(
    "fix",
    [
        FIX._replace(ok=False),
        FIX._replace(lat_deg=0.0, lon_deg=0.0),
        FIX._replace(lat_deg=-0.0, lon_deg=0.0),
        FIX._replace(lat_deg=90.1),
        FIX._replace(lon_deg=-180.1),
        FIX._replace(lat_deg=float("nan")),
    ],
)
def test_an_invalid_position_is_never_sent(fix: Fix) -> None:
    with pytest.raises(ValueError):
        gga(fix)


@given(
    lat=st.floats(-90, 90),
    lon=st.floats(-180, 180),
    height=st.floats(-500, 9000),
    geoid=st.floats(-110, 90),
    satellites=st.integers(0, 255),
    pdop=st.floats(0.3, 655.35),
    second=st.integers(0, 86_399),
)
def test_pynmeagps_reads_back_every_fix(
    lat: float, lon: float, height: float, geoid: float, satellites: int, pdop: float, second: int
) -> None:
    assume((lat, lon) != (0, 0))
    utc = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=second)
    fix = FIX._replace(
        lat_deg=lat,
        lon_deg=lon,
        height_m=height,
        geoid_m=geoid,
        satellites=satellites,
        pdop=pdop,
        utc=utc,
    )
    sentence = gga(fix)
    read = pynmeagps.NMEAReader.parse(sentence, validate=pynmeagps.VALCKSUM)
    assert abs(read.lat - lat) < 1.1e-6  # half of 0.0001 minutes, and pynmeagps' rounding
    assert abs(read.lon - lon) < 1.1e-6
    assert abs(read.alt - height) < 0.051
    assert abs(read.sep - geoid) < 0.051
    assert read.numSV == min(satellites, 99)
    assert read.time == utc.time()
    assert all(fields(fix))
    assert len(sentence) <= 86
