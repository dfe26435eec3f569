"""From an open port to a receiver that takes corrections and reports their use."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.support.receiver_bench import KEY, ReceiverBench, bench, in_virtual_time, rtcm
from tests.support.until import until
from ztpd.errors import ConfigError, ReceiverRefused, ReceiverSilent, ReceiverUnknown
from ztpd.model import FrameKind
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.receiver.configure import plan
from ztpd.sim.receiver import F9P, F9P_NEW, F9P_OLD, F9R, X20P, Model
from ztpd.wire import ubx, ubxcfg
from ztpd.wire.ubx import CfgValset, Message

WHAT_WE_SET = (
    "CFG-{}INPROT-RTCM3X",
    "CFG-{}INPROT-SPARTN",
    "CFG-MSGOUT-UBX_NAV_PVT_{}",
    "CFG-MSGOUT-UBX_RXM_COR_{}",
)


def written(b: ReceiverBench) -> dict[str, int]:
    """All settings the receiver was sent, by name."""
    values: dict[int, int] = {}
    for frame in b.sim.received:
        message = ubx.parse(frame.data) if frame.kind is FrameKind.UBX else None
        if isinstance(message, CfgValset):
            assert message.layers == ubx.LAYER_RAM
            values |= message.values
    return {ubxcfg.key_name(key): value for key, value in values.items()}


@pytest.mark.parametrize("wired", ["UART1", "UART2", "USB"])
@pytest.mark.parametrize("model", [F9P, F9P_NEW, F9R, X20P], ids=lambda model: model.module)
@in_virtual_time
async def test_each_model_on_each_of_its_ports_is_set_up(
    tmp_path: Path, model: Model, wired: str
) -> None:
    async with bench(tmp_path, model, wired=wired) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert [b.sim.setting(name) for name in WHAT_WE_SET] == [1, 1, 1, 1]
        assert b.receiver.accepts == {FrameKind.SPARTN, FrameKind.RTCM3, FrameKind.UBX}
        assert b.receiver.error is None
        assert not b.logged("gnss.option_refused")
        view = b.receiver.view
        assert (view.model, view.firmware) == (model.module, model.firmware)


@in_virtual_time
async def test_a_correct_setting_is_not_written_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        for name in WHAT_WE_SET:
            for port in ("UART1", "UART2", "USB"):
                b.sim.set(name.format(port), 1)
        b.sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 2)  # every second position serves too
        b.sim.set("CFG-NAVHPG-DGNSSMODE", 4)  # and so does a more cautious RTK mode
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert written(b) == {}
        assert b.logged("gnss.configured") == ["receiver configured: 0 of 19 settings written"]


@in_virtual_time
async def test_settings_that_keep_corrections_out_are_corrected(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-SPARTN-USE_SOURCE", 1)
        b.sim.set("CFG-TMODE-MODE", 2)
        b.sim.set("CFG-NAVHPG-DGNSSMODE", 2)
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert b.sim.setting("CFG-SPARTN-USE_SOURCE") == 0
        assert b.sim.setting("CFG-TMODE-MODE") == 0
        assert b.sim.setting("CFG-NAVHPG-DGNSSMODE") == 3


@in_virtual_time
async def test_ubx_is_not_opened_on_ports_we_do_not_use(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-UART2INPROT-UBX", 0)
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert b.sim.setting("CFG-UART2INPROT-UBX") == 0


@in_virtual_time
async def test_settings_of_the_user_are_written_and_win_over_ours(tmp_path: Path) -> None:
    own = {"CFG-RATE-MEAS": 200, "0x209100bd": 0, "CFG-NAVHPG-DGNSSMODE": 2}
    async with bench(tmp_path, settings={"keys": own}) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert b.sim.setting("CFG-RATE-MEAS") == 200
        assert b.sim.setting("CFG-MSGOUT-NMEA_ID_GGA_USB") == 0
        assert b.sim.setting("CFG-NAVHPG-DGNSSMODE") == 2


@in_virtual_time
async def test_a_setting_of_the_user_that_is_refused_stops_nothing_else(tmp_path: Path) -> None:
    async with bench(tmp_path, settings={"keys": {"0x20930031": 1}}) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        (line,) = b.logged("gnss.option_refused")
        assert "0x20930031" in line


@pytest.mark.parametrize("item", [{"CFG-NO-SUCH": 1}, {"CFG-RATE-MEAS": 70_000}, {"0x7": 1}])
def test_a_setting_that_is_none_is_an_error_of_the_configuration(item: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"receiver\.keys"):
        Receiver(ReceiverSettings("/dev/null", keys=item))


def test_no_group_is_larger_than_a_message() -> None:
    assert all(len(group.settings) <= ubxcfg.MAX_ITEMS for group in plan({}))


@in_virtual_time
async def test_with_configure_off_nothing_is_written_but_keys_and_corrections(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, settings={"configure": False}) as b:
        b.sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 1)
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        b.receiver.deliver(rtcm())
        await asyncio.sleep(10)
        assert written(b) == {}
        assert len(b.sim.corrections()) == 1


@in_virtual_time
async def test_G01_a_key_refused_does_not_cost_the_others_of_its_group(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.faults.refused = {ubxcfg.KEYS["CFG-UART2INPROT-SPARTN"]}
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert b.sim.setting("CFG-USBINPROT-SPARTN") == 1
        assert FrameKind.SPARTN in b.receiver.accepts
        assert not b.logged("gnss.option_refused"), "a port this model lacks is no trouble"


@in_virtual_time
async def test_G01_a_refused_required_setting_is_reported_by_name(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        names = [f"CFG-{port}INPROT-{x}" for port in ubxcfg.PORTS for x in ("RTCM3X", "SPARTN")]
        b.sim.faults.refused = {ubxcfg.KEYS[name] for name in names}
        await until(lambda: b.receiver.error, 5)
        assert isinstance(b.receiver.error, ReceiverRefused)
        assert b.receiver.error.needs_person
        assert "CFG-UART1INPROT-RTCM3X" in b.logged("gnss.nak")[0]
        b.sim.faults.refused = set()
        await asyncio.wait_for(b.receiver.wait_ready(), 60)


@in_virtual_time
async def test_G02_a_lost_answer_is_asked_for_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.faults.lost_answers = 2
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert b.log[0].startswith("gnss.found")


@in_virtual_time
async def test_G02_a_silent_receiver_is_logged_once_and_polled_without_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.faults.sends_nothing = True
        b.sim.set("CFG-RATE-MEAS", 60_000)
        await until(lambda: b.receiver.error, 30)
        assert isinstance(b.receiver.error, ReceiverSilent)
        await asyncio.sleep(600)
        assert len(b.logged("gnss.silent")) == 1
        assert len(b.log) <= 1 + 10, "one summary a minute at most"
        b.sim.faults.sends_nothing = False
        await asyncio.wait_for(b.receiver.wait_ready(), 70)


@in_virtual_time
async def test_G02_a_receiver_that_goes_silent_while_set_up_is_opened_again(tmp_path: Path) -> None:
    def go_mute(_: str) -> None:
        b.sim.faults.sends_nothing = not b.logged("gnss.silent")

    async with bench(tmp_path, say=go_mute) as b:
        await until(lambda: b.receiver.error, 5)
        assert "CFG-VALGET" in str(b.receiver.error)
        b.sim.faults.sends_nothing = False
        await asyncio.wait_for(b.receiver.wait_ready(), 10)


@in_virtual_time
async def test_G05_firmware_without_spartn_takes_rtcm_only(tmp_path: Path) -> None:
    async with bench(tmp_path, F9P_OLD) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert b.receiver.accepts == {FrameKind.RTCM3, FrameKind.UBX}
        (line,) = b.logged("gnss.option_refused")
        assert "CFG-USBINPROT-SPARTN" in line
        b.receiver.deliver(b.spartn())
        b.receiver.deliver(rtcm())
        await asyncio.sleep(1)
        assert [frame.kind for frame in b.sim.corrections()] == [FrameKind.RTCM3]
        assert b.receiver.view.refused == 1


@in_virtual_time
async def test_G06_a_receiver_that_is_no_ublox_gets_nothing_but_the_question(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        b.sim.set("CFG-{}OUTPROT-UBX", 0)
        await until(lambda: b.receiver.error, 10)
        assert isinstance(b.receiver.error, ReceiverUnknown)
        assert "sends GGA at 38400 baud" in str(b.receiver.error)
        assert {frame.data for frame in b.sim.received} == {ubx.poll(Message.MON_VER)}


@in_virtual_time
async def test_a_receiver_on_a_wire_of_38400_baud_is_ready_in_seconds(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1") as b:
        began = asyncio.get_running_loop().time()
        await b.receiver.wait_ready()
        assert asyncio.get_running_loop().time() - began < 4


@in_virtual_time
async def test_a_set_up_is_logged_step_by_step(tmp_path: Path) -> None:
    async with bench(tmp_path, key=KEY) as b:
        b.sim.power_cycle()
        await b.receiver.wait_ready()
        await asyncio.sleep(4)
        await b.stream(20, b.spartn)
        port, used = b.pty.path, "gnss.used the receiver uses the corrections"
        assert b.log.count(used) == 1
        assert [
            re.sub(r"\d+( satellites)|[\d.]+( s)$", r"n\1\2", line)
            for line in b.log
            if line != used
        ] == [
            f"gnss.found receiver ZED-F9P, firmware HPG 1.32, on {port} at 38400 baud",
            "gnss.configured receiver configured: 9 of 19 settings written",
            "gnss.fix fix: 3D, n satellites, 1.2 m, after n s",
            "gnss.fix fix: DGNSS, n satellites, 0.6 m, after n s",
            "gnss.fix fix: RTK float, n satellites, 0.25 m, after n s",
            "gnss.fix fix: RTK fixed, n satellites, 0.014 m, after n s",
        ]
        view = b.receiver.view
        assert view.use == "used"
        assert view.first_fix_s is not None
        assert view.first_float_s is not None
        assert view.first_fixed_s is not None
        assert 1 <= view.first_fix_s < view.first_float_s < view.first_fixed_s < 20


@in_virtual_time
async def test_any_ublox_name_may_be_set_and_a_firmware_without_it_costs_nothing_else(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, settings={"keys": {"CFG-NAVSPG-DYNMODEL": 4}}) as b:
        b.sim.settings[0x20110021] = 0
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert b.sim.settings[0x20110021] == 4
        assert not b.logged("gnss.option_refused")
    async with bench(tmp_path, settings={"keys": {"CFG-NAVSPG-DYNMODEL": 4}}) as b:
        await asyncio.wait_for(b.receiver.wait_ready(), 5)
        assert "refuses CFG-NAVSPG-DYNMODEL" in b.logged("gnss.option_refused")[0]
