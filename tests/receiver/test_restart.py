"""A receiver that restarts, or that another program configures, is noticed without a query."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.receiver_bench import (
    ReceiverBench,
    bench,
    in_virtual_time,
    only_frame,
    rtcm,
)
from tests.support.until import until
from ztpd.errors import ReceiverSilent
from ztpd.model import Frame
from ztpd.sim.receiver import F9P_OLD
from ztpd.wire import ubx
from ztpd.wire.frames import rtcm_frame
from ztpd.wire.ubx import Message


def is_set_up(b: ReceiverBench) -> bool:
    return b.receiver.ready and b.sim.setting("CFG-{}INPROT-SPARTN") == 1


@contextlib.contextmanager
def overloaded(b: ReceiverBench) -> Iterator[None]:
    """2000 bytes of corrections a second, and a line of 9600 baud takes 960."""

    async def deliver() -> None:
        while True:
            for _ in range(2):
                b.receiver.deliver(only_frame(rtcm_frame(b"\x43\x50" + bytes(990))))
            await asyncio.sleep(1)

    task = asyncio.ensure_future(deliver())
    try:
        yield
    finally:
        task.cancel()


@in_virtual_time
async def test_G03_a_restart_is_detected_and_the_receiver_set_up_in_ten_seconds(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await b.stream(10, b.spartn)
        b.sim.power_cycle()
        assert not is_set_up(b)
        await until(lambda: is_set_up(b), 10)
        (line,) = b.logged("gnss.reset")
        assert "(it says so)" in line


@in_virtual_time
async def test_G03_a_restart_without_a_word_is_seen_by_the_silence(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-{}OUTPROT-NMEA", 0, saved=True)
        await b.receiver.wait_ready()
        await b.stream(10, b.spartn)
        b.sim.reset()
        await until(lambda: is_set_up(b), 10)
        (line,) = b.logged("gnss.reset")
        assert "no NAV-PVT for " in line


@pytest.mark.parametrize("says_so", [0, 1])
@in_virtual_time
async def test_G03_a_restart_on_a_full_line_is_over_in_ten_seconds(
    tmp_path: Path, says_so: int
) -> None:
    """Corrections that wait for the line are not before the questions of the set-up."""
    async with bench(tmp_path, wired="UART1", settings={"baudrate": 9600}) as b:
        await b.receiver.wait_ready()
        b.sim.set("CFG-{}-BAUDRATE", 9600, saved=True)
        b.sim.set("CFG-{}OUTPROT-NMEA", says_so, saved=True)
        with overloaded(b):
            await asyncio.sleep(30)
            b.sim.reset()
            await until(lambda: is_set_up(b), 10)
        assert len(b.logged("gnss.reset")) == 1
        assert not b.logged("gnss.deaf")
        assert not b.logged("gnss.silent")


@in_virtual_time
async def test_a_question_on_a_full_line_is_answered(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1", settings={"baudrate": 9600}) as b:
        await b.receiver.wait_ready()
        with overloaded(b):
            await asyncio.sleep(30)
            assert (await b.receiver.inspect()).model == "ZED-F9P"


@in_virtual_time
async def test_slow_navigation_is_not_taken_for_silence(tmp_path: Path) -> None:
    async with bench(tmp_path, settings={"keys": {"CFG-RATE-MEAS": 10_000}}) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(60)
        assert not b.logged("gnss.reset")
        b.sim.set("CFG-{}OUTPROT-NMEA", 0, saved=True)
        b.sim.reset()
        await until(lambda: b.logged("gnss.reset"), 45)


@in_virtual_time
async def test_nothing_is_asked_in_steady_state(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await b.stream(15, b.spartn)  # the reports about reception are on by then
        before = len(b.sim.received)
        sent: list[Frame] = []

        def one() -> Frame:
            sent.append(b.spartn())
            return sent[-1]

        await b.stream(120, one)
        await asyncio.sleep(0.5)
        assert b.sim.received[before:] == sent
        assert len([line for line in b.log if "fix" not in line]) == 3, "found, configured, used"


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("CFG-{}INPROT-SPARTN", 0),
        ("CFG-SPARTN-USE_SOURCE", 1),
        ("CFG-MSGOUT-UBX_RXM_COR_{}", 0),
    ],
)
@in_virtual_time
async def test_settings_changed_by_another_program_are_noticed_and_set_again(
    tmp_path: Path, item: str, value: int
) -> None:
    async with bench(tmp_path) as b:
        right = 1 - value
        await b.receiver.wait_ready()
        await b.stream(70, b.spartn)
        b.sim.set(item, value)
        await b.stream(120, b.spartn)
        assert b.sim.setting(item) == right
        (line,) = b.logged("gnss.changed")
        assert item.format("USB") in line
        assert b.receiver.view.use == "used"
        assert b.receiver.view.fix == "RTK fixed"


@in_virtual_time
async def test_positions_switched_off_by_another_program_are_switched_on_again(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(5)
        b.sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 0)
        await until(lambda: b.sim.setting("CFG-MSGOUT-UBX_NAV_PVT_{}") == 1, 5)


@in_virtual_time
async def test_with_configure_off_other_programs_may_change_any_setting(tmp_path: Path) -> None:
    async with bench(tmp_path, settings={"configure": False}) as b:
        for name in ("CFG-MSGOUT-UBX_RXM_COR_{}", "CFG-MSGOUT-UBX_NAV_PVT_{}"):
            b.sim.set(name, 1)
        await b.receiver.wait_ready()
        b.sim.set("CFG-SPARTN-USE_SOURCE", 1)
        await b.stream(100, b.spartn)
        assert b.sim.setting("CFG-SPARTN-USE_SOURCE") == 1
        assert not b.logged("gnss.changed")


@in_virtual_time
async def test_G02_missing_positions_that_are_switched_on_are_reported(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        b.sim.faults.stuck = True
        await until(lambda: b.logged("gnss.silent"), 20)
        assert isinstance(b.receiver.error, ReceiverSilent)


@in_virtual_time
async def test_a_receiver_that_restarts_all_the_time_fills_no_journal(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        for _ in range(60):
            b.sim.power_cycle()
            await asyncio.sleep(5)
        assert len(b.log) <= 30
        await asyncio.sleep(70)
        assert is_set_up(b)


@in_virtual_time
async def test_a_restart_resets_the_time_to_first_fix(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await b.stream(30, b.spartn)
        assert b.receiver.view.first_fixed_s is not None
        b.sim.power_cycle()
        await until(lambda: b.logged("gnss.reset"), 5)
        await b.receiver.wait_ready()
        assert b.receiver.view.first_fixed_s is None
        await b.stream(30, b.spartn)
        assert b.receiver.view.first_fixed_s is not None


@in_virtual_time
async def test_the_position_before_a_loss_is_kept_with_its_age(tmp_path: Path) -> None:
    """A caster that wants a position gets it while the receiver's cable is being changed."""
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await b.stream(10, b.spartn)
        b.pty.unplug()
        await asyncio.sleep(8)
        assert b.receiver.fix is not None
        assert b.receiver.fix_age_s is not None
        assert 7 < b.receiver.fix_age_s < 10
        assert b.receiver.view.fix == "unknown"


@in_virtual_time
async def test_P16_corrections_that_waited_too_long_are_not_sent(tmp_path: Path) -> None:
    async with bench(tmp_path, settings={"max_age_s": 10.0}) as b:
        await b.receiver.wait_ready()
        b.sim.faults.ignores_input = True
        sent = []
        for number in range(120):  # three a second, more than the kernel keeps
            sent.append(only_frame(rtcm_frame(b"\x43\x50" + bytes([number]) * 1000)))
            b.receiver.deliver(sent[-1])
            await asyncio.sleep(1 / 3)
        b.sim.faults.ignores_input = False
        await asyncio.sleep(5)
        arrived = b.sim.corrections()
        gap = next(at for at, frame in enumerate(arrived) if frame != sent[at])
        assert sent[-1] in arrived
        assert all(frame in sent[-33:] for frame in arrived[gap + 1 :]), "begun before, or fresh"


@in_virtual_time
async def test_old_firmware_that_reports_nothing_is_judged_by_its_fix(tmp_path: Path) -> None:
    async with bench(tmp_path, F9P_OLD) as b:
        await b.receiver.wait_ready()
        b.sim.faults.no_sky = True
        await b.stream(40, rtcm)
        assert b.receiver.view.use == "unknown"
        b.sim.faults.no_sky = False
        await b.stream(20, rtcm)
        assert b.receiver.view.fix == "RTK fixed"
        assert b.receiver.view.use == "used"
        assert ubx.poll(Message.RXM_SPARTNKEY) not in [frame.data for frame in b.sim.received]
