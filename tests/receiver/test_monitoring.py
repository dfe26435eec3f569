"""The reports about reception: switched on where the line has room, and off again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.receiver_bench import ReceiverBench, bench, in_virtual_time, rtcm
from tests.support.until import until
from ztpd.model import FrameKind
from ztpd.receiver import monitoring
from ztpd.sim.receiver import F9P, F9P_OLD, F9R, X20P, Model
from ztpd.wire import ubx
from ztpd.wire.frames import Scanner
from ztpd.wire.ubx import CfgValset, Message, MonComms, MonRf, PortCounts, RfBlock, SecSig

PORTS = ("UART1", "UART2", "USB")


def rates(b: ReceiverBench, message: str) -> set[int]:
    return {b.sim.setting(f"CFG-MSGOUT-UBX_{message}_{port}") for port in PORTS}


async def settled(b: ReceiverBench, seconds: float = 15.0) -> None:
    await asyncio.wait_for(b.receiver.wait_ready(), 15)
    await asyncio.sleep(seconds)


@in_virtual_time
async def test_reports_and_detection_are_switched_on_after_ten_seconds(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await settled(b, 8)
        assert rates(b, "MON_RF") == {0}
        await asyncio.sleep(6)
        assert [rates(b, name) for name in ("MON_RF", "SEC_SIG", "MON_COMMS")] == [{10}, {10}, {60}]
        assert b.sim.setting("CFG-HW-ANT_CFG_SHORTDET") == 1
        assert b.sim.setting("CFG-HW-ANT_CFG_OPENDET") == 1


@pytest.mark.parametrize("model", [F9P_OLD, F9P, F9R, X20P], ids=lambda model: model.firmware)
def test_each_model_has_the_reports_that_it_knows(tmp_path: Path, model: Model) -> None:
    @in_virtual_time
    async def run() -> None:
        async with bench(tmp_path, model) as b:
            await settled(b)
            for name in ("MON_RF", "MON_COMMS", "SEC_SIG"):
                assert any(rates(b, name)) == (name in model.monitors)
            assert "MSGOUT-UBX_SEC_SIG" not in "".join(b.logged("gnss.option_refused"))

    run()


@in_virtual_time
async def test_each_message_is_a_group_of_its_own_in_ram(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 15)
        b.sim.received.clear()
        await asyncio.sleep(15)
        written = [ubx.parse(f.data) for f in b.sim.received if f.name == "CFG-VALSET"]
        assert len(written) == 6, "three messages, three detections"
        for message in written:
            assert isinstance(message, CfgValset)
            assert message.layers == ubx.LAYER_RAM


@in_virtual_time
async def test_satellites_are_reported_while_the_position_is_not_rtk_fixed(tmp_path: Path) -> None:
    async with bench(tmp_path, messages_to_fix=5) as b:
        await settled(b, 60)
        assert rates(b, "NAV_SAT") == {0}
        await asyncio.sleep(30)
        assert rates(b, "NAV_SAT") == {30}
        await b.stream(60, rtcm)
        assert b.sim.stage == "RTK fixed"
        assert rates(b, "NAV_SAT") == {30}
        await b.stream(40, rtcm)
        assert rates(b, "NAV_SAT") == {0}


@in_virtual_time
@pytest.mark.slow
async def test_a_line_that_is_nearly_full_gets_no_more(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1") as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 15)

        async def fill() -> None:
            while True:
                b.sim.send(b"$GNTXT,01,01,02," + b"x" * 60 + b"\r\n" * 2)
                await asyncio.sleep(0.03)

        filling = asyncio.create_task(fill())
        await asyncio.sleep(100)
        filling.cancel()
        assert rates(b, "MON_RF") == {0}
        await until(lambda: rates(b, "MON_RF") == {10}, 700)


@in_virtual_time
async def test_where_nothing_may_be_configured_nothing_is_switched_on(tmp_path: Path) -> None:
    async with bench(tmp_path, settings={"configure": False}) as b:
        await asyncio.sleep(100)
        assert [f.name for f in b.sim.received if f.name == "CFG-VALSET"] == []
        assert rates(b, "MON_RF") == {0}


@in_virtual_time
async def test_settings_of_the_user_are_left_alone(tmp_path: Path) -> None:
    keys = {"CFG-MSGOUT-UBX_MON_RF_USB": 0, "CFG-HW-ANT_CFG_OPENDET": 0}
    async with bench(tmp_path, settings={"keys": keys}) as b:
        await settled(b)
        assert b.sim.setting("CFG-MSGOUT-UBX_MON_RF_USB") == 0
        assert b.sim.setting("CFG-HW-ANT_CFG_OPENDET") == 0
        assert b.sim.setting("CFG-HW-ANT_CFG_SHORTDET") == 1


@in_virtual_time
async def test_rates_that_another_program_has_set_are_left_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-MSGOUT-UBX_MON_RF_USB", 1, saved=True)
        b.sim.set("CFG-MSGOUT-UBX_NAV_SAT_USB", 1, saved=True)
        await settled(b, 90)
        assert b.sim.setting("CFG-MSGOUT-UBX_MON_RF_USB") == 1
        assert b.sim.setting("CFG-MSGOUT-UBX_NAV_SAT_USB") == 1


@in_virtual_time
@pytest.mark.slow
async def test_at_ten_epochs_a_second_the_reports_are_no_more_frequent(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-RATE-MEAS", 100, saved=True)
        await settled(b, 90)
        assert [rates(b, name) for name in ("MON_RF", "NAV_SAT")] == [{100}, {255}]


@in_virtual_time
async def test_after_a_restart_of_the_receiver_they_are_switched_on_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await settled(b)
        b.sim.reset()
        assert rates(b, "MON_RF") == {0}
        await until(lambda: rates(b, "MON_RF") == {10}, 30)


def test_the_bytes_of_the_reports_are_those_of_the_documentation() -> None:
    radio = len(MonRf((RfBlock(), RfBlock())).encode())
    security = len(SecSig(version=1).encode())
    ports = len(
        MonComms(dict.fromkeys(("I2C", "UART1", "UART2", "USB", "SPI"), PortCounts())).encode()
    )
    satellites = len(ubx.message(Message.NAV_SAT, bytes(8 + 40 * 12)))
    assert (radio, security, ports, satellites) == (60, 20, 216, 496)
    steady = radio / 10 + security / 10 + ports / 60
    assert round(steady) == 12
    assert round(satellites / 30) == 17


def test_a_line_of_38400_baud_with_the_output_of_the_factory_has_room(captures: Path) -> None:
    """NMEA of four systems, as recorded from a ZED-F9P, and NAV-PVT and RXM-COR beside it."""
    data = (captures / "rtcm3-base-station.log").read_bytes()
    frames = Scanner().feed(data)
    epochs = sum(frame.name == "NAV-PVT" for frame in frames)
    nmea = sum(len(f.data) for f in frames if f.kind is FrameKind.NMEA) / epochs
    load = nmea + 100 + 6 * 20  # six messages a second, as NEAR-RTCM has
    reports = sum(report.longest_bytes for report in monitoring.REPORTS)
    assert load + reports <= monitoring.FULL_SHARE * 3840
    assert load + monitoring.SATELLITES.longest_bytes <= monitoring.FULL_SHARE * 3840
