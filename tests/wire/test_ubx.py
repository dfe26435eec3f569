"""UBX messages in both directions, with pyubx2 as the oracle."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pyubx2
from hypothesis import given
from hypothesis import strategies as st

from ztpd.model import Carrier, DynamicKey, Secret
from ztpd.wire import ubx, ubxcfg
from ztpd.wire.frames import Scanner
from ztpd.wire.ubx import (
    Ack,
    Antenna,
    CfgRst,
    CfgValget,
    CfgValgetPoll,
    CfgValset,
    Jamming,
    KeySlot,
    Message,
    MonComms,
    MonRf,
    MonVer,
    NavPvt,
    NavSat,
    Other,
    PortCounts,
    RfBlock,
    RxmCor,
    RxmRtcm,
    Satellite,
    SecSig,
    SpartnKey,
    Spoofing,
)

INPROT_SPARTN = ubxcfg.KEYS["CFG-UART1INPROT-SPARTN"]
BAUDRATE = ubxcfg.KEYS["CFG-UART1-BAUDRATE"]
UNIQUE_WORD = ubxcfg.KEYS["CFG-PMP-UNIQUE_WORD"]

VERSION = MonVer(
    "EXT CORE 1.00 (f10c36)",
    "00190000",
    ("ROM BASE 0x118B2060", "FWVER=HPG 1.32", "PROTVER=27.31", "MOD=ZED-F9P", "GPS;GLO;GAL;BDS"),
)
PVT = NavPvt(
    itow_ms=231_234_000,
    utc=datetime(2026, 3, 1, 12, 34, 56, 780_000, tzinfo=UTC),
    fully_resolved=True,
    confirmed_time=True,
    fix_type=3,
    fix_ok=True,
    differential=True,
    carrier=Carrier.FIXED,
    satellites=23,
    lon_deg=-0.1234567,
    lat_deg=51.2345678,
    height_mm=92_041,
    msl_mm=45_040,
    hacc_mm=14,
    vacc_mm=10,
    speed_mm_s=1234,
    pdop=1.23,
    correction_age_class=3,
)
SLOTS = (KeySlot(bytes(range(16)), 2249, 0), KeySlot(bytes(range(16, 32)), 2253, 604_799))
COR = RxmCor(encrypted=True, decrypted=True)

MESSAGES: list[Any] = [
    VERSION,
    MonVer("EXT CORE 1.00", "00190000"),
    PVT,
    NavPvt(),
    NavPvt(carrier=Carrier.FLOAT, invalid_llh=True, correction_age_class=15, fix_type=5),
    COR,
    RxmCor(ubx.PROTOCOL_RTCM3, True, None, 4095, 1077, 0, subtype_valid=False, encrypted=None),
    RxmCor(ubx.PROTOCOL_PMP, None, False, input_handled=False, decrypted=False, ebno=80),
    RxmRtcm(1077, 4095, used=True),
    RxmRtcm(4072, damaged=True, used=False, subtype=1),
    RxmRtcm(1005),
    SpartnKey(),
    SpartnKey(SLOTS),
    MonComms({"UART1": PortCounts(2**32 - 1, 7, 65535, 9, 100, 33), "USB": PortCounts()}),
    MonRf(()),
    MonRf((RfBlock(0, Antenna.SHORT, False, Jamming.CRITICAL, 80, 8191, 255), RfBlock(1))),
    SecSig(Jamming.WARNING, Spoofing.AFFIRMED, jammed_khz=(1_575_420, 1_227_600)),
    SecSig(Jamming.CRITICAL, Spoofing.INDICATED, False, True, version=1),
    SecSig(detects_jamming=False, detects_spoofing=False),
    NavSat(()),
    NavSat((Satellite(0, 32, 47, 90, 359, True, True), Satellite(6, 255, 0, -91)), 604_799_000),
    CfgRst(),
    CfgRst(cleared=0xFFFF, mode=1),
    CfgValset({INPROT_SPARTN: 1, BAUDRATE: 115_200}),
    CfgValset({}, layers=ubx.LAYER_RAM | ubx.LAYER_BBR | ubx.LAYER_FLASH),
    CfgValgetPoll((INPROT_SPARTN, BAUDRATE), layer=7),
    CfgValget({INPROT_SPARTN: 0, UNIQUE_WORD: 16_238_547_128_276_412_563}, layer=7),
    Ack(Message.CFG_VALSET, True),
    Ack(Message.CFG_VALGET, False),
    Other(0x1234, b"any"),
    Other(Message.MON_VER),
]


def read(message: Any) -> Any:
    """pyubx2's reading of a message of ztpd."""
    return pyubx2.UBXReader.parse(message.encode(), validate=1)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_survives_encoding_and_decoding(message: Any) -> None:
    assert ubx.parse(message.encode()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_is_one_frame_for_the_scanner(message: Any) -> None:
    (frame,) = Scanner().feed(message.encode())
    assert frame.name == ubx.label(ubx.unwrap(frame.data)[0])


def test_numbers_and_labels_agree_with_pyubx2() -> None:
    for each in Message:
        name = pyubx2.UBX_MSGIDS.get(each.to_bytes(2, "big"))
        known = {Message.RXM_SPARTNKEY: "RXM-SPARTN-KEY"}
        if name is not None:  # pyubx2 splits some MGA messages by their type
            assert name == known.get(each, each.label)
    assert ubx.label(0x0102) == "0102"
    assert ubx.label(0x0236) == "RXM-SPARTNKEY"


# Frames


def test_a_poll_is_the_message_without_payload() -> None:
    assert ubx.poll(Message.MON_VER).hex() == "b5620a0400000e34"
    assert ubx.parse(ubx.poll(Message.RXM_SPARTNKEY)) == Other(Message.RXM_SPARTNKEY)


def test_a_payload_that_no_frame_takes_is_refused() -> None:
    with pytest.raises(ValueError):
        ubx.message(Message.MGA_DBD, bytes(65_536))


@given(st.binary(max_size=400))
def test_checksum_agrees_with_pyubx2(body: bytes) -> None:
    assert ubx.checksum(body) == pyubx2.calc_checksum(body)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xb5\x62\x0a\x04\x00\x00\x0e",
        bytes.fromhex("b5620a0400000e35"),
        bytes.fromhex("b5620a0401000e34"),
        bytes.fromhex("b5620a0400000e3400"),
        bytes.fromhex("b5630a0400000e34"),
    ],
)
def test_data_that_is_not_one_whole_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError):
        ubx.parse(frame)


@given(st.sampled_from([*Message]), st.binary(max_size=200))
def test_any_payload_is_a_message_or_a_value_error(number: Message, payload: bytes) -> None:
    try:
        parsed = ubx.parse(ubx.message(number, payload))
    except ValueError:
        return
    assert ubx.parse(parsed.encode()) == parsed


@pytest.mark.parametrize("decode", [MonVer.decode, NavPvt.decode, RxmCor.decode, SpartnKey.decode])
@given(payload=st.binary(max_size=130))
def test_a_wrong_length_is_a_value_error(decode: Any, payload: bytes) -> None:
    try:
        decode(payload)
    except ValueError:
        return
    assert len(payload) in {92, 12, *range(40, 131, 30), *range(4, 131, 24)}


# MON-VER


def test_version_as_pyubx2_reads_it() -> None:
    parsed = read(VERSION)
    assert parsed.swVersion.rstrip(b"\0") == b"EXT CORE 1.00 (f10c36)"
    assert parsed.extension_04.rstrip(b"\0") == b"MOD=ZED-F9P"


def test_version_of_a_recorded_receiver(captures: Path) -> None:
    frame = Scanner().feed((captures / "pygpsdata-MON.log").read_bytes())[0]
    version = ubx.parse(frame.data)
    assert isinstance(version, MonVer)
    assert (version.model, version.firmware, version.protocol) == ("ZED-F9P", "HPG 1.50", "27.50")
    assert (version.hardware, version.software) == ("00190000", "EXT CORE 1.00 (f17067)")
    assert version.encode() == frame.data


def test_version_of_a_receiver_that_says_little() -> None:
    version = MonVer("ROM CORE 3.01 (107888)", "00080000")
    assert (version.model, version.firmware) == ("", "ROM CORE 3.01 (107888)")
    assert version.protocol == ""


def test_version_texts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError):
        MonVer("x" * 31, "").encode()
    with pytest.raises(ValueError):
        MonVer("", "", ("ü",)).encode()


# NAV-PVT


def test_position_as_pyubx2_reads_it() -> None:
    parsed = read(PVT)
    assert (parsed.lon, parsed.lat) == (-0.1234567, 51.2345678)
    assert (parsed.height, parsed.hMSL, parsed.hAcc, parsed.vAcc) == (92_041, 45_040, 14, 10)
    assert (parsed.year, parsed.month, parsed.day) == (2026, 3, 1)
    assert (parsed.hour, parsed.min, parsed.second, parsed.nano) == (12, 34, 56, 780_000_000)
    assert (parsed.validDate, parsed.validTime, parsed.fullyResolved) == (1, 1, 1)
    assert (parsed.confirmedDate, parsed.confirmedTime) == (1, 1)
    assert (parsed.fixType, parsed.gnssFixOk, parsed.diffSoln, parsed.carrSoln) == (3, 1, 1, 2)
    assert (parsed.numSV, parsed.pDOP, parsed.lastCorrectionAge) == (23, 1.23, 3)
    assert parsed.gSpeed == 1234
    assert parsed.invalidLlh == 0


def test_position_that_pyubx2_made() -> None:
    made = pyubx2.UBXMessage(
        "NAV",
        "NAV-PVT",
        pyubx2.GET,
        year=2026,
        month=2,
        day=28,
        hour=23,
        min=59,
        second=59,
        nano=-5,
        validDate=1,
        validTime=1,
        fullyResolved=1,
        fixType=3,
        gnssFixOk=1,
        carrSoln=1,
        diffSoln=1,
        numSV=9,
        lat=-33.1,
        lon=151.2,
        hMSL=-1500,
        hAcc=21,
        pDOP=1.5,
        lastCorrectionAge=11,
        invalidLlh=1,
        velN=-1,
    )
    parsed = ubx.parse(made.serialize())
    assert parsed == NavPvt(
        utc=datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC),
        fully_resolved=True,
        fix_type=3,
        fix_ok=True,
        differential=True,
        carrier=Carrier.FLOAT,
        satellites=9,
        lat_deg=-33.1,
        lon_deg=151.2,
        msl_mm=-1500,
        hacc_mm=21,
        vacc_mm=0,
        pdop=1.5,
        invalid_llh=True,
        correction_age_class=11,
    )


def test_recorded_positions_as_pyubx2_reads_them(captures: Path) -> None:
    data = (captures / "rtcm3-base-station.log").read_bytes()
    oracle = [
        parsed
        for _, parsed in pyubx2.UBXReader(io.BytesIO(data), protfilter=pyubx2.UBX_PROTOCOL)
        if parsed.identity == "NAV-PVT"
    ]
    ours = [ubx.parse(frame.data) for frame in Scanner().feed(data) if frame.name == "NAV-PVT"]
    assert len(ours) == 158
    for pvt, other in zip(ours, oracle, strict=True):
        assert isinstance(pvt, NavPvt)
        assert (pvt.lat_deg, pvt.lon_deg) == (other.lat, other.lon)
        assert (pvt.msl_mm, pvt.hacc_mm, pvt.satellites) == (other.hMSL, other.hAcc, other.numSV)
        assert pvt.speed_mm_s == other.gSpeed
        assert (pvt.fix_type, pvt.fix_ok) == (other.fixType, bool(other.gnssFixOk))
        assert (pvt.carrier.value, pvt.pdop) == (other.carrSoln, other.pDOP)
        assert pvt.utc is not None
        clock = (other.hour, other.min, other.second)
        assert (pvt.utc.hour, pvt.utc.minute, pvt.utc.second) == clock


def test_a_fix_for_the_rest_of_ztpd() -> None:
    fix = PVT.to_fix()
    assert (fix.ok, fix.label, fix.satellites) == (True, "RTK fixed", 23)
    assert (fix.lat_deg, fix.lon_deg) == (51.2345678, -0.1234567)
    assert (fix.height_m, fix.accuracy_m, fix.pdop) == (45.04, 0.014, 1.23)
    assert math.isclose(fix.geoid_m, 47.001)
    assert (fix.utc, fix.correction_age_s) == (PVT.utc, 5.0)


@pytest.mark.parametrize(
    ("pvt", "label"),
    [
        (NavPvt(), "no fix"),
        (NavPvt(fix_type=3), "no fix"),
        (NavPvt(fix_type=5, fix_ok=True), "time only"),
        (NavPvt(fix_type=5), "time only"),
        (NavPvt(fix_type=1, fix_ok=True), "dead reckoning"),
        (NavPvt(fix_type=1), "no fix"),
        (NavPvt(fix_type=3, fix_ok=True, invalid_llh=True), "no fix"),
        (NavPvt(fix_type=2, fix_ok=True), "2D"),
        (NavPvt(fix_type=3, fix_ok=True), "3D"),
        (NavPvt(fix_type=3, fix_ok=True, differential=True), "DGNSS"),
        (NavPvt(fix_type=4, fix_ok=True, carrier=Carrier.FLOAT), "RTK float"),
    ],
)
def test_each_position_has_its_label(pvt: NavPvt, label: str) -> None:
    assert pvt.to_fix().label == label


def test_correction_age_is_the_upper_bound_of_its_class() -> None:
    ages = [NavPvt(correction_age_class=each).to_fix().correction_age_s for each in range(16)]
    assert ages == [None, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 255, 255, 255, 255]


@pytest.mark.parametrize(
    ("at", "value"),
    [(11, 0b001), (11, 0b010), (6, 0), (6, 13), (7, 31), (8, 24), (4, 0)],
    ids=["no time", "no date", "month 0", "month 13", "31 Feb", "24 h", "year 0"],
)
def test_a_time_that_is_none_is_none(at: int, value: int) -> None:
    payload = bytearray(ubx.unwrap(NavPvt(utc=datetime(2026, 2, 1, tzinfo=UTC)).encode())[1])
    payload[at] = value
    if at == 4:
        payload[5] = 0
    assert NavPvt.decode(bytes(payload)).utc is None


def test_a_leap_second_is_the_last_second() -> None:
    payload = bytearray(ubx.unwrap(PVT.encode())[1])
    payload[10] = 60
    utc = NavPvt.decode(bytes(payload)).utc
    assert utc is not None
    assert utc.second == 59


def test_time_not_fully_resolved_is_not_the_fix_time() -> None:
    assert NavPvt(utc=datetime(2026, 2, 1, tzinfo=UTC)).to_fix().utc is None


def test_a_reserved_carrier_solution_is_none() -> None:
    payload = bytearray(ubx.unwrap(PVT.encode())[1])
    payload[21] |= 0xC0
    assert NavPvt.decode(bytes(payload)).carrier is Carrier.NONE


def test_positions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError):
        NavPvt(lon_deg=300.0).encode()


# RXM-COR


def test_the_sample_of_the_fact_sheet() -> None:
    sample = bytes.fromhex("b56202340c000100000022ffffaf00000000124e")
    assert COR.encode() == sample
    assert ubx.parse(sample) == COR


def test_correction_status_as_pyubx2_reads_it() -> None:
    parsed = read(RxmCor(1, True, False, 1234, 1077, 3, False, True, False, None, True, 80))
    assert (parsed.protocol, parsed.errStatus, parsed.msgUsed) == (1, 2, 1)
    assert (parsed.correctionId, parsed.msgType, parsed.msgSubType) == (1234, 1077, 3)
    assert (parsed.msgTypeValid, parsed.msgSubTypeValid, parsed.msgInputHandle) == (0, 1, 0)
    assert (parsed.msgEncrypted, parsed.msgDecrypted, parsed.ebno) == (0, 2, 10.0)


# RXM-SPARTNKEY


@pytest.mark.parametrize(
    ("start_ms", "gps_time"),
    [(1_676_159_982_000, (2249, 0)), (1_661_558_382_000, (2224, 518_400))],
)
def test_published_keys_begin_at_the_published_gps_time(
    start_ms: int, gps_time: tuple[int, int]
) -> None:
    key = DynamicKey(Secret("930D847B779B126863c8b3b2766ae7cc"), start_ms, 2_419_199_999)
    parsed = ubx.parse(ubx.spartn_keys([key]))
    assert isinstance(parsed, SpartnKey)
    (slot,) = parsed.keys
    assert (slot.week, slot.tow_s) == gps_time
    assert slot.value.hex() == key.value.reveal().lower()


def test_two_keys_are_60_bytes_and_as_pyubx2_reads_them() -> None:
    frame = SpartnKey(SLOTS).encode()
    parsed = pyubx2.UBXReader.parse(frame, validate=1)
    assert len(frame) == 60
    assert (parsed.version, parsed.numKeys) == (1, 2)
    assert (parsed.keyLengthBytes_01, parsed.keyLengthBytes_02) == (16, 16)
    assert (parsed.validFromWno_01, parsed.validFromTow_01) == (2249, 0)
    assert (parsed.validFromWno_02, parsed.validFromTow_02) == (2253, 604_799)
    assert (parsed.key_01, parsed.key_17, parsed.key_32) == (0, 16, 31)


def test_Q15_recorded_keys_of_wrong_lengths_are_refused(captures: Path) -> None:
    frame = Scanner().feed((captures / "pygpsdata-RXM.log").read_bytes())[-1]
    assert frame.name == "RXM-SPARTNKEY"
    with pytest.raises(ValueError):
        ubx.parse(frame.data)


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 0), (0, 2), (1, 0), (1, 1), (1, 3), (1, 255), (5, 0), (5, 15), (13, 17), (13, 255)],
)
def test_Q15_hostile_key_lengths_are_refused(at: int, value: int) -> None:
    payload = bytearray(ubx.unwrap(SpartnKey(SLOTS).encode())[1])
    payload[at] = value
    with pytest.raises(ValueError):
        SpartnKey.decode(bytes(payload))


def test_Q15_a_key_that_begins_in_no_second_of_a_week_is_refused() -> None:
    payload = bytearray(ubx.unwrap(SpartnKey(SLOTS).encode())[1])
    payload[8:12] = (604_800).to_bytes(4, "little")
    with pytest.raises(ValueError):
        SpartnKey.decode(bytes(payload))


@pytest.mark.parametrize(
    "key",
    [
        DynamicKey(Secret("secret"), 1_676_159_982_000, 1),
        DynamicKey(Secret("ab" * 15), 1_676_159_982_000, 1),
        DynamicKey(Secret("ab" * 16), 0, 1),
        DynamicKey(Secret("ab" * 16), 10**18, 1),
    ],
    ids=["no hex", "short", "before GPS", "after GPS"],
)
def test_invalid_keys_are_refused_without_being_repeated(key: DynamicKey) -> None:
    with pytest.raises(ValueError) as caught:
        ubx.spartn_keys([key])
    assert key.value.reveal() not in str(caught.value)
    assert caught.value.__cause__ is None


def test_keys_are_not_printed() -> None:
    assert "0102" not in repr(SpartnKey(SLOTS)) + repr(SLOTS[0])
    assert "\\x01" not in repr(SpartnKey(SLOTS)) + repr(SLOTS[0])


# Configuration


def test_settings_as_pyubx2_makes_them() -> None:
    values = {INPROT_SPARTN: 1, BAUDRATE: 115_200}
    made = pyubx2.UBXMessage.config_set(1, 0, [*values.items()])
    assert CfgValset(values).encode() == made.serialize()
    poll = pyubx2.UBXMessage.config_poll(0, 0, [*values])
    assert CfgValgetPoll(tuple(values)).encode() == poll.serialize()


def test_answers_as_pyubx2_reads_them() -> None:
    parsed = read(CfgValget({INPROT_SPARTN: 1, BAUDRATE: 38_400}))
    assert (parsed.CFG_UART1INPROT_SPARTN, parsed.CFG_UART1_BAUDRATE) == (1, 38_400)
    assert read(Ack(Message.CFG_VALSET, True)).identity == "ACK-ACK"
    refusal = read(Ack(Message.CFG_VALSET, False))
    assert (refusal.identity, refusal.clsID, refusal.msgID) == ("ACK-NAK", 0x06, 0x8A)


def test_a_message_has_64_items_at_most() -> None:
    keys = [0x1000_0000 + place for place in range(65)]
    CfgValset(dict.fromkeys(keys[:64], 1)).encode()
    with pytest.raises(ValueError):
        CfgValset(dict.fromkeys(keys, 1)).encode()
    with pytest.raises(ValueError):
        CfgValgetPoll(tuple(keys)).encode()
    with pytest.raises(ValueError):
        ubxcfg.decode_items(b"".join(ubxcfg.encode_item(key, 1) for key in keys))


def test_key_names_and_ids_agree_with_pyubx2() -> None:
    for name, key in ubxcfg.KEYS.items():
        known = pyubx2.UBX_CONFIG_DATABASE.get(name.replace("-", "_"))
        assert known is not None, name
        assert known[0] == key, name
        assert int(known[1][1:]) == ubxcfg.value_size(key), name


def test_a_key_by_name_or_number() -> None:
    assert ubxcfg.key_id("CFG-UART1INPROT-SPARTN") == INPROT_SPARTN == 0x10730005
    assert ubxcfg.key_id("0x10730005") == INPROT_SPARTN
    assert ubxcfg.key_name(INPROT_SPARTN) == "CFG-UART1INPROT-SPARTN"
    assert ubxcfg.key_name(0x2099_0001) == "0x20990001"
    for text in ("CFG-NO-SUCH", "", "7", "0x60730005", "-1"):
        with pytest.raises(ValueError):
            ubxcfg.key_id(text)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (0x1000_0001, 1, "0100001001"),
        (0x2000_0001, 255, "01000020ff"),
        (0x2000_0001, -1, "01000020ff"),
        (0x3000_0001, 0x1234, "010000303412"),
        (0x4000_0001, -2, "01000040feffffff"),
        (0x5000_0001, 1, "010000500100000000000000"),
    ],
)
def test_items_byte_for_byte(key: int, value: int, expected: str) -> None:
    assert ubxcfg.encode_item(key, value).hex() == expected
    assert ubxcfg.decode_items(bytes.fromhex(expected)) == {key: ubxcfg.unsigned(key, value)}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (0x1000_0001, 2),
        (0x1000_0001, -1),
        (0x2000_0001, 256),
        (0x2000_0001, -129),
        (0x0000_0001, 1),
    ],
)
def test_values_that_do_not_fit_are_refused(key: int, value: int) -> None:
    with pytest.raises(ValueError):
        ubxcfg.encode_item(key, value)


@given(st.binary(max_size=200))
def test_any_bytes_are_items_or_a_value_error(data: bytes) -> None:
    try:
        values = ubxcfg.decode_items(data)
    except ValueError:
        return
    assert all(value >= 0 for value in values.values())


def test_FR88_the_texts_of_a_receiver_are_one_printable_line() -> None:
    payload = b"EXT\x1b[2J\nWATCHDOG=trigger".ljust(30, b"\0") + b"\r\x07".ljust(10, b"\0")
    payload += b"MOD=ZED\n\x1b]0;owned\x07".ljust(30, b"\0")
    found = ubx.parse(ubx.message(ubx.Message.MON_VER, payload))
    assert isinstance(found, ubx.MonVer)
    for text in (found.software, found.hardware, found.model, *found.extensions):
        assert text.isprintable()
    assert found.model == "ZED..]0;owned."


def test_the_restart_for_another_format_is_a_hot_start_of_the_navigation_alone() -> None:
    assert CfgRst().encode().hex() == "b562060404000000020010" + "68"
