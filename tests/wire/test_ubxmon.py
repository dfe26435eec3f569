"""Reports about ports, antenna, interference, satellites and RTCM, with pyubx2 as the oracle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import pyubx2
from hypothesis import given
from hypothesis import strategies as st

from ztpd.wire import ubx
from ztpd.wire.frames import Scanner
from ztpd.wire.ubx import (
    Antenna,
    Jamming,
    Message,
    MonComms,
    MonRf,
    MonVer,
    NavSat,
    PortCounts,
    RfBlock,
    RxmCor,
    RxmRtcm,
    Satellite,
    SecSig,
    Spoofing,
)


def read(message: Any) -> Any:
    return pyubx2.UBXReader.parse(message.encode(), validate=1)


def recorded(file: Path, name: str) -> list[bytes]:
    """The frames of one kind in a recording; also those that our scanner takes for too long."""
    stream = pyubx2.UBXReader(io.BytesIO(file.read_bytes()), protfilter=pyubx2.UBX_PROTOCOL)
    return [raw for raw, parsed in stream if parsed.identity == name]


# Ports


def test_ports_as_pyubx2_reads_them() -> None:
    names = ("I2C", "UART1", "UART2", "USB", "SPI")
    counts = {name: PortCounts(2**32 - place) for place, name in enumerate(names, 1)}
    parsed = read(MonComms(counts | {"UART2": PortCounts(7, 6, 5, 4, 3, 2)}))
    assert (parsed.nPorts, parsed.portId_02, parsed.rxBytes_02) == (5, 0x0100, 2**32 - 2)
    assert (parsed.portId_03, parsed.rxBytes_03, parsed.txBytes_03) == (0x0201, 7, 6)
    assert (parsed.overrunErrs_03, parsed.skipped_03) == (5, 4)
    assert (parsed.rxPeakUsage_03, parsed.txPeakUsage_03) == (3, 2)


def test_ports_of_a_recorded_receiver_as_pyubx2_reads_them(captures: Path) -> None:
    (frame,) = recorded(captures / "pygpsdata-MON.log", "MON-COMMS")
    ours, other = ubx.parse(frame), pyubx2.UBXReader.parse(frame)
    assert isinstance(ours, MonComms)
    assert set(ours.ports) <= {"I2C", "UART1", "UART2", "USB", "SPI"}
    assert len(ours.ports) == other.nPorts
    for place, port in enumerate(ours.ports.values(), 1):
        assert port.received_bytes == getattr(other, f"rxBytes_{place:02}")
        assert port.sent_bytes == getattr(other, f"txBytes_{place:02}")
        assert port.overruns == getattr(other, f"overrunErrs_{place:02}")
        assert port.skipped_bytes == getattr(other, f"skipped_{place:02}")


def test_the_second_uart_of_the_x20_has_another_number() -> None:
    payload = bytearray(ubx.unwrap(MonComms({"UART2": PortCounts(5)}).encode())[1])
    payload[8:10] = b"\x00\x02"
    assert MonComms.decode(bytes(payload)) == MonComms({"UART2": PortCounts(5)})


def test_ports_that_have_no_name_here_are_left_out() -> None:
    payload = bytearray(ubx.unwrap(MonComms({"USB": PortCounts(5)}).encode())[1])
    payload[8:10] = b"\x01\x01"
    assert MonComms.decode(bytes(payload)) == MonComms({})


# Antenna and interference


def test_antenna_and_bands_byte_for_byte_as_pyubx2_makes_them() -> None:
    made = pyubx2.UBXMessage(
        "MON",
        "MON-RF",
        pyubx2.GET,
        nBlocks=2,
        blockId_01=0,
        jammingState_01=2,
        antStatus_01=4,
        antPower_01=1,
        noisePerMS_01=80,
        agcCnt_01=5500,
        jamInd_01=33,
        blockId_02=1,
        antStatus_02=2,
        antPower_02=2,
    )
    ours = MonRf(
        (
            RfBlock(0, Antenna.OPEN, True, Jamming.WARNING, 80, 5500, 33),
            RfBlock(1, Antenna.OK),
        )
    )
    assert ours.encode() == made.serialize()
    assert ubx.parse(made.serialize()) == ours
    assert (ours.antenna, ours.jamming) == (Antenna.OPEN, Jamming.WARNING)


def test_recorded_bands_as_pyubx2_reads_them(captures: Path) -> None:
    frames = recorded(captures / "pygpsdata-MON.log", "MON-RF")
    assert len(frames) == 2
    for frame in frames:
        ours, other = ubx.parse(frame), pyubx2.UBXReader.parse(frame)
        assert isinstance(ours, MonRf)
        assert len(ours.blocks) == other.nBlocks
        for place, block in enumerate(ours.blocks, 1):
            assert block.block == getattr(other, f"blockId_{place:02}")
            assert block.antenna == getattr(other, f"antStatus_{place:02}")
            assert block.jamming == getattr(other, f"jammingState_{place:02}")
            assert block.agc == getattr(other, f"agcCnt_{place:02}")
            assert block.noise == getattr(other, f"noisePerMS_{place:02}")
            assert block.cw_indicator == getattr(other, f"jamInd_{place:02}")


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ((), Antenna.UNKNOWN),
        ((Antenna.OK, Antenna.UNKNOWN), Antenna.OK),
        ((Antenna.OK, Antenna.SHORT), Antenna.SHORT),
        ((Antenna.INIT,), Antenna.INIT),
    ],
)
def test_the_antenna_is_as_bad_as_its_worst_band(
    states: tuple[Antenna, ...], worst: Antenna
) -> None:
    blocks = tuple(RfBlock(place, each) for place, each in enumerate(states))
    assert MonRf(blocks).antenna is worst


def test_states_that_the_description_does_not_have_are_unknown() -> None:
    payload = bytearray(ubx.unwrap(MonRf((RfBlock(0, Antenna.OPEN),)).encode())[1])
    payload[6:8] = b"\x09\x09"
    assert MonRf.decode(bytes(payload)) == MonRf((RfBlock(),))
    payload = bytearray(ubx.unwrap(SecSig(Jamming.NONE, Spoofing.NONE).encode())[1])
    payload[1] |= 7 << 4
    assert SecSig.decode(bytes(payload)).spoofing is Spoofing.UNKNOWN


def test_interference_byte_for_byte_as_pyubx2_makes_it() -> None:
    first = pyubx2.UBXMessage(
        "SEC",
        "SEC-SIG",
        pyubx2.GET,
        version=1,
        jamDetEnabled=1,
        jammingState=2,
        spfDetEnabled=1,
        spoofingState=3,
    )
    ours = SecSig(Jamming.WARNING, Spoofing.AFFIRMED, version=1)
    assert ours.encode() == first.serialize()
    assert ubx.parse(first.serialize()) == ours
    second = pyubx2.UBXMessage(
        "SEC",
        "SEC-SIG",
        pyubx2.GET,
        version=2,
        jamDetEnabled=1,
        jammingState=3,
        spfDetEnabled=1,
        spoofingState=1,
        jamNumCentFreqs=1,
        centFreq_01=1_575_420,
        jammed_01=1,
    )
    newer = SecSig(Jamming.CRITICAL, Spoofing.NONE, jammed_khz=(1_575_420,))
    assert newer.encode() == second.serialize()
    assert ubx.parse(second.serialize()) == newer


def test_a_band_that_is_not_jammed_is_not_among_the_jammed() -> None:
    payload = bytearray(ubx.unwrap(SecSig(jammed_khz=(1_575_420, 1_176_450)).encode())[1])
    payload[7] = 0
    assert SecSig.decode(bytes(payload)).jammed_khz == (1_176_450,)


# Satellites


def test_satellites_byte_for_byte_as_pyubx2_makes_them() -> None:
    made = pyubx2.UBXMessage(
        "NAV",
        "NAV-SAT",
        pyubx2.GET,
        iTOW=1000,
        version=1,
        numSvs=2,
        gnssId_01=2,
        svId_01=11,
        cno_01=47,
        elev_01=61,
        azim_01=302,
        svUsed_01=1,
        diffCorr_01=1,
        gnssId_02=6,
        svId_02=255,
        elev_02=-91,
    )
    ours = NavSat((Satellite(2, 11, 47, 61, 302, True, True), Satellite(6, 255, 0, -91)), 1000)
    assert ours.encode() == made.serialize()
    assert ubx.parse(made.serialize()) == ours


# RTCM reports of older firmware


def test_rtcm_reports_byte_for_byte_as_pyubx2_makes_them() -> None:
    made = pyubx2.UBXMessage(
        "RXM",
        "RXM-RTCM",
        pyubx2.GET,
        version=2,
        crcFailed=0,
        msgUsed=2,
        subType=0,
        refStation=2003,
        msgType=1077,
    )
    ours = RxmRtcm(1077, 2003, used=True)
    assert ours.encode() == made.serialize()
    assert ubx.parse(made.serialize()) == ours


def test_rtcm_reports_are_those_of_newer_firmware() -> None:
    assert RxmRtcm(1077, 2003, used=True).as_cor == RxmCor(
        ubx.PROTOCOL_RTCM3, False, True, 2003, 1077, encrypted=None, decrypted=None
    )
    assert RxmRtcm(1005, damaged=True, used=False).as_cor.erroneous


def test_generation_8_does_not_say_whether_a_message_was_used() -> None:
    assert RxmRtcm.decode(bytes([0, 0b100, 0, 0, 1, 0, 0x35, 4])).used is None


# Version texts


@pytest.mark.parametrize("sign", ["=", " "])
def test_version_texts_have_an_equals_sign_or_a_blank(sign: str) -> None:
    version = MonVer(
        "EXT CORE 3.01 (107900)",
        "00080000",
        (
            "ROM BASE 2.01 (75331)",
            f"FWVER{sign}HPG 1.40",
            f"PROTVER{sign}20.30",
            f"MOD{sign}NEO-M8P-2",
        ),
    )
    parsed = ubx.parse(version.encode())
    assert isinstance(parsed, MonVer)
    assert (parsed.model, parsed.firmware, parsed.protocol) == ("NEO-M8P-2", "HPG 1.40", "20.30")


# All of them

DECODERS = [MonComms.decode, MonRf.decode, SecSig.decode, NavSat.decode, RxmRtcm.decode]
NUMBERS = [
    Message.MON_COMMS,
    Message.MON_RF,
    Message.SEC_SIG,
    Message.NAV_SAT,
    Message.RXM_RTCM,
]


@pytest.mark.parametrize("decode", DECODERS)
@given(payload=st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_value_error(decode: Any, payload: bytes) -> None:
    try:
        message = decode(payload)
    except ValueError:
        return
    assert ubx.parse(message.encode()) == message


def _with_length(head: bytes, unit: int) -> st.SearchStrategy[bytes]:
    """Payloads whose count fits their length: the others end at the length check."""
    return st.integers(0, 6).flatmap(
        lambda count: st.binary(min_size=unit * count, max_size=unit * count).map(
            lambda body: head.replace(b"n", bytes([count])) + body
        )
    )


PAYLOADS = {
    Message.MON_COMMS: _with_length(b"\0n\0\0\0\0\0\0", 40),
    Message.MON_RF: _with_length(b"\0n\0\0", 24),
    Message.SEC_SIG: _with_length(b"\2\x7f\0n", 4),
    Message.NAV_SAT: _with_length(b"\0\0\0\0\1n\0\0", 12),
    Message.RXM_RTCM: st.binary(min_size=7, max_size=7).map(lambda rest: b"\2" + rest),
}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.label)
@given(data=st.data())
def test_every_payload_of_the_right_form_survives_decoding_and_encoding(
    number: Message, data: st.DataObject
) -> None:
    message = ubx.parse(ubx.message(number, data.draw(PAYLOADS[number])))
    assert ubx.parse(message.encode()) == message
    (frame,) = Scanner().feed(message.encode())
    assert frame.name == number.label


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.label)
@given(data=st.data())
def test_a_payload_cut_short_or_with_a_byte_too_many_is_refused(
    number: Message, data: st.DataObject
) -> None:
    payload = data.draw(PAYLOADS[number])
    for damaged in (payload[:-1], payload + b"\0"):
        with pytest.raises(ValueError):
            ubx.parse(ubx.message(number, damaged))


@pytest.mark.parametrize(
    "message",
    [
        MonComms({"USB": PortCounts(2**32)}),
        MonRf((RfBlock(agc=70_000),)),
        MonRf((RfBlock(),) * 256),
        SecSig(jammed_khz=(1 << 24,)),
        NavSat((Satellite(0, 1, 256),)),
        RxmRtcm(70_000),
    ],
    ids=lambda message: type(message).__name__,
)
def test_values_out_of_range_are_refused(message: Any) -> None:
    with pytest.raises(ValueError):
        message.encode()
