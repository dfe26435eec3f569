"""Why the position stays float: reports and corrections in, findings out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ztpd.model import Carrier, Frame, FrameKind
from ztpd.receiver.reception import Reception
from ztpd.sim.corrections import STATION
from ztpd.wire.frames import rtcm_frame
from ztpd.wire.geodesy import ecef_m
from ztpd.wire.rtcm import StationPosition
from ztpd.wire.ubx import (
    Antenna,
    Jamming,
    MonComms,
    MonRf,
    NavPvt,
    NavSat,
    Parsed,
    PortCounts,
    RfBlock,
    Satellite,
    SecSig,
    Spoofing,
)

FLOAT = NavPvt(
    fix_type=3,
    fix_ok=True,
    differential=True,
    carrier=Carrier.FLOAT,
    lat_deg=52.52,
    lon_deg=13.405,
    height_mm=78_400,
    msl_mm=34_000,
    correction_age_class=2,
)
HERE_M = ecef_m(FLOAT.lat_deg, FLOAT.lon_deg, FLOAT.height_mm / 1000)
FIXED = NavPvt(
    fix_type=3, fix_ok=True, carrier=Carrier.FIXED, lat_deg=52.52, lon_deg=13.405, height_mm=78_400
)


def frame(payload: bytes) -> Frame:
    data = rtcm_frame(payload)
    return Frame(FrameKind.RTCM3, data, str(int.from_bytes(payload[:2], "big") >> 4))


def observations(number: int, station: int = 2003) -> Frame:
    return frame((number << 12 | station).to_bytes(3, "big") + bytes(30))


SPARTN = Frame(FrameKind.SPARTN, b"\x73", "OCB-GPS")


class Bench:
    """A minute and more of reports, a second at a time."""

    def __init__(self) -> None:
        self.reception = Reception()
        self.now_s = 1000.0
        self.log: list[str] = []

    def run(
        self,
        seconds: float,
        *messages: Parsed,
        fix: NavPvt = FLOAT,
        corrections: tuple[Frame, ...] = (),
    ) -> list[str]:
        """The names of the findings at the end, without their common part."""
        for _ in range(round(seconds)):
            self.now_s += 1
            for message in (fix, *messages):
                self.reception.on_message(message, self.now_s)
            for each in corrections:
                self.reception.on_correction(each, self.now_s)
            begun, over = self.reception.update(self.now_s)
            self.log += [f"+{each.event.name.rpartition('.')[2]}" for each in begun]
            self.log += [f"-{each.event.name.rpartition('.')[2]}" for each, _ in over]
        return [each.event.name.rpartition(".")[2] for each in self.reception.findings()]

    @property
    def text(self) -> str:
        (one,) = self.reception.findings()
        return one.text


def radio(antenna: Antenna = Antenna.OK, jamming: Jamming = Jamming.UNKNOWN) -> MonRf:
    return MonRf((RfBlock(0, antenna, True, jamming), RfBlock(1)))


def sky(*strengths: int) -> NavSat:
    return NavSat(tuple(Satellite(0, place, cno) for place, cno in enumerate(strengths, 1)))


@pytest.mark.parametrize(
    ("antenna", "expected"),
    [
        (Antenna.SHORT, ["antenna_short"]),
        (Antenna.OPEN, ["antenna_open"]),
        (Antenna.OK, []),
        (Antenna.UNKNOWN, []),
        (Antenna.INIT, []),
    ],
)
def test_an_antenna_fault_is_found(antenna: Antenna, expected: list[str]) -> None:
    assert Bench().run(30, radio(antenna)) == expected


def test_an_antenna_that_serves_an_rtk_fix_is_in_order() -> None:
    """A splitter that blocks the supply looks like an open line."""
    assert Bench().run(60, radio(Antenna.OPEN), fix=FIXED) == []


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (
            (SecSig(Jamming.CRITICAL, jammed_khz=(1_575_420, 1_227_600)), radio()),
            "the receiver reports radio interference at 1575.42 MHz, 1227.60 MHz",
        ),
        ((SecSig(Jamming.WARNING, version=1), radio()), "the receiver reports radio interference"),
        ((radio(jamming=Jamming.CRITICAL),), "the receiver reports radio interference"),
        (
            (SecSig(detects_jamming=False), radio(jamming=Jamming.WARNING)),
            "the receiver reports radio interference",
        ),
    ],
)
def test_interference_is_found_in_either_message(messages: tuple[Parsed, ...], text: str) -> None:
    bench = Bench()
    assert bench.run(30, *messages) == ["jammed"]
    assert bench.text == text


def test_sec_sig_overrules_mon_rf() -> None:
    assert Bench().run(30, SecSig(Jamming.NONE), radio(jamming=Jamming.CRITICAL)) == []


def test_a_detection_that_is_off_finds_no_interference() -> None:
    assert Bench().run(30, SecSig(Jamming.CRITICAL, detects_jamming=False), radio()) == []


@pytest.mark.parametrize("fix", [FLOAT, FIXED], ids=["float", "fixed"])
def test_spoofing_is_found_even_with_an_rtk_fix(fix: NavPvt) -> None:
    assert Bench().run(30, SecSig(Jamming.NONE, Spoofing.INDICATED), fix=fix) == ["spoofed"]


def test_weak_signals_are_found_by_the_number_of_strong_ones() -> None:
    bench = Bench()
    assert bench.run(60, sky(*[45] * 8, 20)) == []
    assert bench.run(60, sky(*[45] * 7, 34, 20, 0)) == ["weak"]
    assert bench.text == (
        "only 7 of 9 satellites are received well (35 dBHz or more), the best with 45 dBHz"
    )


def test_no_satellite_at_all_is_named_as_such() -> None:
    bench = Bench()
    assert bench.run(60, sky()) == ["no_signal"]
    assert bench.text == "the receiver receives no satellite"


def test_a_port_that_loses_bytes_is_found_by_its_counter() -> None:
    bench = Bench()
    assert bench.run(30, MonComms({"UART1": PortCounts(overruns=65_535)})) == []
    bench.run(1, MonComms({"UART1": PortCounts(overruns=2), "USB": PortCounts()}))
    assert bench.run(20) == ["overrun"]
    assert bench.text == "the receiver lost bytes at its port UART1, 3 times in the last minutes"
    assert bench.run(220) == []
    assert bench.log == ["+overrun", "-overrun"]


def test_a_restart_of_the_receiver_is_no_overrun() -> None:
    bench = Bench()
    bench.run(5, MonComms({"UART1": PortCounts(overruns=10)}))
    bench.reception.restarted()
    assert bench.run(60, MonComms({"UART1": PortCounts(overruns=0)})) == []


def test_a_counter_that_begins_anew_is_no_overrun() -> None:
    bench = Bench()
    bench.run(5, MonComms({"UART1": PortCounts(overruns=10)}))
    assert bench.run(60, MonComms({"UART1": PortCounts(overruns=0)})) == []
    assert bench.run(20, MonComms({"UART1": PortCounts(overruns=2)})) == ["overrun"]
    assert "2 times" in bench.text


@pytest.mark.parametrize(("age_class", "late"), [(6, False), (7, True), (9, True), (12, True)])
def test_old_corrections_are_found_while_corrections_come(age_class: int, late: bool) -> None:
    old = NavPvt(fix_type=3, fix_ok=True, carrier=Carrier.FLOAT, correction_age_class=age_class)
    bench = Bench()
    assert bench.run(60, fix=old, corrections=(SPARTN,)) == (["late"] if late else [])
    bench = Bench()
    assert bench.run(60, fix=old) == [], "that none come is another event"


def test_corrections_that_are_no_longer_used_are_not_late() -> None:
    """Their age grows, through all classes."""
    bench = Bench()
    for age_class, seconds in ((2, 30), (3, 3), (4, 5), (5, 5), (6, 5), (7, 10), (8, 15), (9, 15)):
        old = FLOAT._replace(correction_age_class=age_class)
        bench.run(seconds, fix=old, corrections=(SPARTN,))
    assert bench.log == []


def station_at(metres_north: float) -> StationPosition:
    x, y, z = HERE_M
    lat, lon = math.radians(52.52), math.radians(13.405)
    return StationPosition(
        2003,
        x - metres_north * math.sin(lat) * math.cos(lon),
        y - metres_north * math.sin(lat) * math.sin(lon),
        z + metres_north * math.cos(lat),
    )


@pytest.mark.parametrize(("metres", "far"), [(0, False), (34_990, False), (35_010, True)])
def test_a_station_that_is_far_away_is_found_by_its_position(metres: float, far: bool) -> None:
    bench = Bench()
    messages = (frame(station_at(metres).encode()), observations(1077))
    assert bench.run(30, corrections=messages) == (["far"] if far else [])


def test_the_distance_is_named() -> None:
    bench = Bench()
    bench.run(30, corrections=(frame(station_at(58_400).encode()),))
    assert bench.text == "the reference station is 58 km away"


def test_a_position_is_the_same_in_both_coordinates() -> None:
    """EPSG:4979 to EPSG:4978, the position of the simulated receiver."""
    assert pytest.approx((3783291.4608, 901656.0600, 5038281.3154)) == HERE_M
    assert math.dist(HERE_M, (STATION.x_m, STATION.y_m, STATION.z_m)) < 6000


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1077, 1097), ["no_station"]),
        ((1004,), ["no_station"]),
        ((1077, 1005), []),
        ((1077, 1006), []),
        ((1077, 4072), []),
        ((1077, 1087, 1005), ["no_biases"]),
        ((1012, 1005), ["no_biases"]),
        ((1077, 1087, 1005, 1230), []),
        ((1077, 1087, 1005, 1033), []),
        ((1087,), ["no_station", "no_biases"]),
        ((1019, 1042), []),
    ],
)
def test_messages_that_a_stream_lacks_are_found(
    numbers: tuple[int, ...], expected: list[str]
) -> None:
    frames = tuple(
        frame(STATION.encode()[:1] + bytes([(number << 4 | 7) & 0xFF]) + STATION.encode()[2:])
        if number in (1005, 1006)
        else observations(number)
        for number in numbers
    )
    bench = Bench()
    assert bench.run(100, corrections=frames) == [], "the position may be sent seldom"
    assert bench.run(60, corrections=frames) == expected


def test_another_station_is_another_stream() -> None:
    bench = Bench()
    assert bench.run(150, corrections=(observations(1077, 1),)) == ["no_station"]
    bench.run(80, corrections=(observations(1077, 2), frame(STATION.encode()[:1] + b"\xd0\x02")))
    assert bench.log == ["+no_station", "-no_station"]


def test_the_position_of_another_station_is_of_no_use() -> None:
    far_off = StationPosition(77, STATION.x_m, STATION.y_m, STATION.z_m + 100_000)
    frames = (frame(far_off.encode()), observations(1077, 2003))
    assert Bench().run(200, corrections=frames) == ["no_station"]


def test_spartn_lacks_nothing() -> None:
    assert Bench().run(300, corrections=(SPARTN,)) == []


def test_a_report_that_comes_once_is_no_finding() -> None:
    bench = Bench()
    bench.run(9, radio(Antenna.SHORT))
    bench.run(60, radio())
    assert bench.log == []


def test_a_finding_is_logged_once_and_its_end_once() -> None:
    bench = Bench()
    bench.run(300, radio(Antenna.SHORT))
    bench.run(30, radio())
    bench.run(30, radio(Antenna.SHORT))
    bench.run(55, radio())
    assert bench.log == ["+antenna_short"]
    bench.run(10, radio())
    assert bench.log == ["+antenna_short", "-antenna_short"]
    assert bench.reception.findings() == ()


def test_a_report_that_no_longer_comes_ends_its_finding() -> None:
    bench = Bench()
    bench.run(30, radio(Antenna.SHORT))
    bench.run(200)
    assert bench.log == ["+antenna_short", "-antenna_short"]


def test_the_most_direct_reason_comes_first() -> None:
    found = Bench().run(60, sky(20), radio(Antenna.OPEN), SecSig(Jamming.CRITICAL))
    assert found == ["antenna_open", "jammed", "weak"]


MESSAGES = st.one_of(
    st.builds(radio, st.sampled_from(Antenna), st.sampled_from(Jamming)),
    st.builds(SecSig, st.sampled_from(Jamming), st.sampled_from(Spoofing)),
    st.lists(st.integers(0, 60), max_size=20).map(lambda strengths: sky(*strengths)),
    st.builds(lambda n: MonComms({"UART1": PortCounts(overruns=n)}), st.integers(0, 65_535)),
    st.sampled_from([FLOAT, FIXED, NavPvt()]),
)


class AnyOrder(RuleBasedStateMachine):
    """Any messages in any order: each finding has a text, and is logged once."""

    def __init__(self) -> None:
        super().__init__()
        self.reception = Reception()
        self.now_s = 0.0
        self.open: set[str] = set()

    @rule(message=MESSAGES)
    def report(self, message: Parsed) -> None:
        self.reception.on_message(message, self.now_s)

    @rule(number=st.integers(0, 4095), rest=st.binary(max_size=40))
    def correction(self, number: int, rest: bytes) -> None:
        self.reception.on_correction(frame((number << 4).to_bytes(2, "big") + rest), self.now_s)

    @rule()
    def restart(self) -> None:
        self.reception.restarted()

    @rule(seconds=st.sampled_from([1.0, 20.0, 70.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        begun, over = self.reception.update(self.now_s)
        for finding, lasted_s in over:
            assert lasted_s >= 0
            self.open.remove(finding.event.name)
        for finding in begun:
            assert finding.event.name not in self.open
            self.open.add(finding.event.name)

    @invariant()
    def findings_are_those_told(self) -> None:
        found = self.reception.findings()
        assert {each.event.name for each in found} == self.open
        assert all("{" not in each.text for each in found)


TestAnyOrder = AnyOrder.TestCase


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_as_corrections_are_taken(payloads: list[bytes]) -> None:
    watched = Reception()
    for place, payload in enumerate(payloads):
        watched.on_correction(frame(payload), float(place))
        watched.update(float(place))
