"""`receiver.baudrate`: the line is brought to it, on the one UART it is wired to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.receiver_bench import ReceiverBench, bench, in_virtual_time
from tests.support.until import until
from ztpd.sim.receiver import F9P, F9P_OLD, X20P, Model
from ztpd.wire import ubx, ubxcfg
from ztpd.wire.ubx import CfgValset

FAST = {"baudrate": 115200}
OLD = replace(F9P_OLD, comms=False)


def speeds(b: ReceiverBench) -> list[int]:
    return [b.sim.setting(f"CFG-UART{number}-BAUDRATE") for number in (1, 2)]


@pytest.mark.parametrize(("wired", "set_to"), [("UART1", [115200, 38400]), ("UART2", [38400] * 2)])
@pytest.mark.parametrize("model", [F9P, X20P], ids=lambda model: model.module)
@in_virtual_time
async def test_the_speed_is_raised_on_the_uart_in_use_and_on_no_other(
    tmp_path: Path, model: Model, wired: str, set_to: list[int]
) -> None:
    set_to = set_to if wired == "UART1" else [38400, 115200]
    async with bench(tmp_path, model, wired=wired, settings=FAST) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 15)
        assert speeds(b) == set_to
        assert b.pty.baudrate == b.receiver.view.baudrate == 115200
        assert b.logged("gnss.baud") == ["the line to the receiver set from 38400 to 115200 baud"]
        assert b.sim.saved[ubxcfg.KEYS[f"CFG-{wired}-BAUDRATE"]] == 38400, "not in flash"


@in_virtual_time
async def test_without_a_configured_speed_none_is_written(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1") as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert speeds(b) == [38400, 38400]
        assert not [frame for frame in b.sim.received if frame.name == "MON-COMMS"]


@in_virtual_time
async def test_with_configure_off_the_speed_is_left_alone(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1", settings={**FAST, "configure": False}) as b:
        b.sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 1)
        await asyncio.wait_for(b.receiver.wait_ready(), 10)
        assert b.receiver.view.baudrate == 38400


@in_virtual_time
async def test_a_receiver_on_usb_has_no_speed_to_set(tmp_path: Path) -> None:
    """Where sysfs does not say so, the receiver itself does."""
    async with bench(tmp_path, settings=FAST) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert speeds(b) == [38400, 38400]


@in_virtual_time
async def test_a_speed_that_the_line_cannot_carry_is_given_up_and_logged(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1", settings={"baudrate": 460800}) as b:
        b.sim.faults.deaf_at = {460800}
        for _ in range(2):  # nothing gets through at that speed: the power must be cycled
            await until(lambda: speeds(b)[0] == 460800, 60)
            await until(lambda: b.receiver.error, 60)
            b.sim.power_cycle()
        await asyncio.wait_for(b.receiver.wait_ready(), 100)
        assert b.receiver.view.baudrate == 38400
        assert "stays at 38400 baud: 460800 does not work" in b.logged("gnss.baud_kept")[0]


@in_virtual_time
async def test_a_receiver_that_does_not_report_its_port_keeps_its_speed(tmp_path: Path) -> None:
    async with bench(tmp_path, OLD, wired="UART1", settings=FAST) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 15)
        assert speeds(b) == [38400, 38400]
        assert b.logged("gnss.baud_kept")


@in_virtual_time
async def test_traffic_on_another_port_does_not_mislead(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1", settings=FAST) as b:
        b.sim.faults.on_other_ports = 500
        await asyncio.wait_for(b.receiver.wait_ready(), 15)
        assert speeds(b) == [38400, 38400], "in doubt nothing is changed"


@in_virtual_time
async def test_G10_a_speed_changed_by_another_program_is_restored(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1", settings=FAST) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 15)
        b.sim.set("CFG-UART1-BAUDRATE", 9600)
        await until(lambda: not b.receiver.ready, 10)
        await asyncio.wait_for(b.receiver.wait_ready(), 20)
        assert speeds(b)[0] == b.receiver.view.baudrate == 115200
        (line,) = b.logged("gnss.baud_restored")
        assert line.startswith("the line to the receiver was at 9600 baud; set back to 115200")


@in_virtual_time
async def test_G03_G10_after_a_restart_the_line_is_fast_again_in_ten_seconds(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, wired="UART1", settings=FAST) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 15)
        await b.stream(5, b.spartn)
        b.sim.power_cycle()
        await until(lambda: not b.receiver.ready, 10)
        await until(lambda: b.receiver.ready and speeds(b)[0] == 115200, 10)


@in_virtual_time
async def test_nothing_but_that_one_setting_is_written_for_the_speed(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1", settings=FAST) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 15)
        first = next(f for f in b.sim.received if f.name == "CFG-VALSET")
        message = ubx.parse(first.data)
        assert isinstance(message, CfgValset)
        assert message.values == {ubxcfg.KEYS["CFG-UART1-BAUDRATE"]: 115200}
        assert message.layers == ubx.LAYER_RAM
