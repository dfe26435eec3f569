"""Receivers that answer late, send seldom, or do not hear."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.receiver_bench import bench, in_virtual_time
from tests.support.until import until
from ztpd.errors import ReceiverDeaf, ReceiverUnconfigurable, ReceiverUnknown
from ztpd.receiver.products import has_rtk, unsuitable
from ztpd.wire import nmea, ubxcfg
from ztpd.wire.ubx import MonVer


def sentence(body: bytes) -> bytes:
    return b"$%b*%02X\r\n" % (body, nmea.checksum(body))


@pytest.mark.parametrize(
    "proof",
    [b"PUBX,00,081350.00,4717.113210,N", b"GNTXT,01,01,02,u-blox AG - www.u-blox.com"],
    ids=["PUBX", "banner"],
)
@in_virtual_time
async def test_FR04_a_ublox_receiver_without_ubx_is_known_by_its_text(
    tmp_path: Path, proof: bytes
) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-{}OUTPROT-UBX", 0)
        for _ in range(20):
            b.sim.send(sentence(proof))
            await asyncio.sleep(0.5)
        await until(lambda: b.receiver.error, 10)
        assert isinstance(b.receiver.error, ReceiverDeaf)
        assert "RX" in b.receiver.error.advice


@in_virtual_time
async def test_FR04_a_receiver_behind_a_cut_wire_is_known_by_its_messages(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 1)
        b.sim.faults.hears_nothing = True
        await until(lambda: b.receiver.error, 20)
        assert isinstance(b.receiver.error, ReceiverDeaf)
        b.sim.faults.hears_nothing = False
        await asyncio.wait_for(b.receiver.wait_ready(), 70)


@pytest.mark.parametrize("sends_ubx", [1, 0], ids=["sends NAV-PVT", "sends NMEA only"])
@in_virtual_time
async def test_FR04_a_receiver_that_hears_and_answers_no_configuration_is_not_called_deaf(
    tmp_path: Path, sends_ubx: int
) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", sends_ubx)
        b.sim.faults.answers_no_settings = True
        await until(lambda: b.receiver.error, 20)
        assert isinstance(b.receiver.error, ReceiverUnconfigurable)
        assert "answers MON-VER, but no question about its settings" in str(b.receiver.error)
        assert "CFG-VALGET" in str(b.receiver.error)
        assert "wire" not in b.receiver.error.advice
        b.sim.faults.answers_no_settings = False
        await asyncio.wait_for(b.receiver.wait_ready(), 70)


@in_virtual_time
async def test_FR04_a_wire_cut_between_two_questions_is_no_refusal_to_be_configured(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 1)
        sent = b.sim.send

        def cut_after_the_version(data: bytes) -> None:
            sent(data)
            b.sim.faults.hears_nothing |= data[2:4] == b"\x0a\x04"  # MON-VER

        b.sim.send = cut_after_the_version  # type: ignore[method-assign]
        await until(lambda: b.receiver.error, 20)
        assert isinstance(b.receiver.error, ReceiverDeaf)
        assert "CFG-VALGET" in str(b.receiver.error)


@in_virtual_time
async def test_FR04_a_receiver_of_another_make_stays_unknown(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-{}OUTPROT-UBX", 0)
        await until(lambda: b.receiver.error, 10)
        assert isinstance(b.receiver.error, ReceiverUnknown)
        assert "is not" not in str(b.receiver.error), "NMEA alone does not show the maker"
        assert "the wire to its RX" in b.receiver.error.advice


@in_virtual_time
async def test_FR09_a_position_every_ten_seconds_is_the_present_one(tmp_path: Path) -> None:
    async with bench(tmp_path, settings={"keys": {"CFG-RATE-MEAS": 10_000}}) as b:
        await b.receiver.wait_ready()
        await until(lambda: b.receiver.view.fix == "3D", 60)
        shown = set()
        for _ in range(60):
            await asyncio.sleep(1)
            shown.add(b.receiver.view.fix)
        assert shown == {"3D"}


@in_virtual_time
async def test_FR09_a_slow_rate_on_another_port_does_not_delay_the_notice_of_a_restart(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-MSGOUT-UBX_NAV_PVT_UART1", 30)
        b.sim.set("CFG-{}OUTPROT-NMEA", 0, saved=True)
        await b.receiver.wait_ready()
        await asyncio.sleep(20)
        b.sim.reset()
        await until(lambda: b.logged("gnss.reset"), 6)


@pytest.mark.parametrize("delay_s", [0.9, 1.2, 2.4])
@in_virtual_time
async def test_FR10_answers_that_come_late_are_not_taken_for_others(
    tmp_path: Path, delay_s: float
) -> None:
    async with bench(tmp_path) as b:
        b.sim.faults.refused = {key for name, key in ubxcfg.KEYS.items() if "UART2" in name}
        b.sim.faults.answer_delay_s = delay_s
        await asyncio.wait_for(b.receiver.wait_ready(), 200)
        assert b.sim.setting("CFG-{}INPROT-SPARTN") == 1
        assert b.sim.setting("CFG-MSGOUT-UBX_RXM_COR_{}") == 1
        assert not b.logged("gnss.option_refused")
        assert b.receiver.error is None


@pytest.mark.parametrize("sign", ["=", " "])
@pytest.mark.parametrize(
    ("module", "firmware", "protocol", "hardware", "rtk", "words"),
    [
        ("ZED-F9P", "HPG 1.32", "27.31", "00190000", True, ""),
        ("ZED-X20P", "HPG 2.02", "50.10", "000B0000", True, ""),
        ("ZED-F9T", "TIM 2.20", "29.20", "00190000", False, ""),
        ("NEO-M9N", "SPG 4.04", "32.01", "00190000", False, ""),
        ("NEO-M8P-2", "HPG 1.40", "20.30", "00080000", False, "generation 8 and older"),
        ("NEO-M8P-2", "HPG 1.40", "20.30", "", False, "generation 8 and older"),
        ("NEO-D9S", "PMP 1.04", "24.00", "00190000", False, "no positioning receiver"),
    ],
)
def test_FR08_products_are_distinguished(
    sign: str, module: str, firmware: str, protocol: str, hardware: str, rtk: bool, words: str
) -> None:
    named = (f"FWVER{sign}{firmware}", f"PROTVER{sign}{protocol}", f"MOD{sign}{module}")
    version = MonVer("EXT CORE 1.00", hardware, named)
    assert version.model == module
    assert has_rtk(version) is rtk
    assert words in unsuitable(version)
    assert bool(words) is bool(unsuitable(version))
