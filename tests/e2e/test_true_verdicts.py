"""Receivers whose reports, settings or restarts could deceive: the verdict of the whole daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.receiver_bench import in_virtual_time
from tests.support.until import until
from tests.support.verdict_bench import (
    Frames,
    rtcm_frames,
    running,
    spartn_frames,
)
from ztpd.health import Health
from ztpd.sim.receiver import F9P, F9P_NEW, F9P_OLD, F9R, M9N, X20P_HAS, Model, SimReceiver
from ztpd.wire import ubx
from ztpd.wire.rtcm import observed_system
from ztpd.wire.ubx import PROTOCOL_SPARTN, RxmCor, RxmRtcm


def report(sim: SimReceiver, change: Callable[[RxmCor], RxmCor]) -> None:
    """Change what the receiver reports about corrections, in both messages."""
    sent = sim.send

    def send(data: bytes) -> None:
        message = ubx.parse(data) if data[:3] == b"\xb5\x62\x02" else None
        if isinstance(message, RxmCor):
            data = change(message).encode()
        elif isinstance(message, RxmRtcm):
            changed = change(message.as_cor)
            data = message._replace(used=changed.used, damaged=bool(changed.erroneous)).encode()
        sent(data)

    sim.send = send  # type: ignore[method-assign]


def left_open(sim: SimReceiver) -> None:
    report(sim, lambda each: each._replace(used=None))


def outputs_on(sim: SimReceiver) -> None:
    """As another program has configured it."""
    for name in ("CFG-MSGOUT-UBX_RXM_COR_{}", "CFG-MSGOUT-UBX_NAV_PVT_{}", "CFG-{}INPROT-SPARTN"):
        sim.set(name, 1, saved=True)


@in_virtual_time
async def test_FR02_spartn_from_another_input_is_no_use_of_ours(tmp_path: Path) -> None:
    async with running(tmp_path, frames=spartn_frames) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.faults.other_protocol = PROTOCOL_SPARTN
        await until(lambda: r.view.use_event == "gnss.not_used.other_source", 120)
        assert "it uses SPARTN from another input" in r.view.use
        assert r.health is Health.DEGRADED
        r.sim.faults.other_protocol = None
        await until(lambda: r.health is Health.HEALTHY, 60)


@in_virtual_time
async def test_FR02_the_position_of_the_station_alone_is_no_use(tmp_path: Path) -> None:
    def without_observations(sim: SimReceiver) -> None:
        def change(each: RxmCor) -> RxmCor:
            return each._replace(used=not observed_system(each.message_type))

        report(sim, change)

    async with running(tmp_path, before=without_observations) as r:
        await until(lambda: r.view.use_event == "gnss.not_used.others", 90)
        assert r.view.used["1006"] > 30
        assert r.health is Health.DEGRADED
        assert not r.logged("gnss.used")


@pytest.mark.parametrize(
    ("model", "frames"), [(F9P_NEW, spartn_frames), (F9P_OLD, rtcm_frames)], ids=["COR", "RTCM"]
)
@in_virtual_time
async def test_FR03_reports_that_leave_the_use_open_are_no_reason_for_doubt_in_a_carrier_solution(
    tmp_path: Path, model: Model, frames: Frames
) -> None:
    async with running(tmp_path, model, frames=frames, before=left_open) as r:
        await until(lambda: r.health is Health.HEALTHY, 90)
        await asyncio.sleep(120)
        assert r.health is Health.HEALTHY
        assert r.view.fix == "RTK fixed"
        r.sim.faults.ignores_corrections = True
        await until(lambda: r.health is not Health.HEALTHY, 120)
        await until(lambda: r.view.use_event == "gnss.not_used.no_carrier", 300)
        assert len(r.logged("gnss.used")) == 1


def time_mode(sim: SimReceiver) -> None:
    sim.set("CFG-TMODE-MODE", 2)


def tunnel(sim: SimReceiver) -> None:
    sim.faults.tunnel = True


@pytest.mark.parametrize(
    ("strike", "event"),
    [(time_mode, "gnss.not_used.time_only"), (tunnel, "gnss.not_used.no_position")],
    ids=["base station", "tunnel"],
)
@in_virtual_time
async def test_FR07_without_a_position_of_satellites_there_is_nothing_to_use_corrections_for(
    tmp_path: Path, strike: Callable[[SimReceiver], None], event: str
) -> None:
    model = replace(F9R, base=True)
    async with running(tmp_path, model, before=outputs_on, receiver={"configure": False}) as r:
        await until(lambda: r.view.use == "used", 30)
        report(r.sim, lambda each: each._replace(used=True))
        strike(r.sim)
        await until(lambda: r.view.use_event == event, 120)
        assert r.health is Health.DEGRADED


def source_is_l_band(sim: SimReceiver) -> None:
    sim.set("CFG-SPARTN-USE_SOURCE", 1, saved=True)


def host_is_off(sim: SimReceiver) -> None:
    sim.set("CFG-NAVCOR-ENABLE_HOST", 0, saved=True)


@pytest.mark.parametrize("locked", [True, False], ids=["locked", "configure off"])
@pytest.mark.parametrize(
    ("model", "setting", "words"),
    [
        (F9P, source_is_l_band, "CFG-SPARTN-USE_SOURCE = 1 takes SPARTN over L-band only"),
        (X20P_HAS, host_is_off, "CFG-NAVCOR-ENABLE_HOST = 0 keeps corrections of its host out"),
    ],
    ids=["L-band", "host off"],
)
@in_virtual_time
async def test_FR02_a_setting_that_keeps_corrections_out_is_named(
    tmp_path: Path,
    model: Model,
    setting: Callable[[SimReceiver], None],
    words: str,
    locked: bool,
) -> None:
    def before(sim: SimReceiver) -> None:
        outputs_on(sim)
        setting(sim)
        sim.faults.locked = locked

    async with running(
        tmp_path, model, frames=spartn_frames, before=before, receiver={"configure": locked}
    ) as r:
        await until(lambda: r.view.use_event != "", 90)
        assert r.view.use == f"not used: its setting {words}"
        assert r.cause.event == "gnss.not_used.kept_out"
        assert r.health is Health.DEGRADED
        assert len(r.logged("gnss.not_used.kept_out")) == 1
        r.sim.faults.locked = False
        r.sim.set("CFG-SPARTN-USE_SOURCE", 0)
        if model.has:
            r.sim.set("CFG-NAVCOR-ENABLE_HOST", 1)
        await until(lambda: r.health is Health.HEALTHY, 90)


@in_virtual_time
async def test_FR05_a_survey_of_a_base_station_that_ztpd_may_not_end_is_named(
    tmp_path: Path,
) -> None:
    """A survey still has positions."""

    def surveys(sim: SimReceiver) -> None:
        outputs_on(sim)
        sim.set("CFG-TMODE-MODE", 1, saved=True)
        sent = sim.send

        def send(data: bytes) -> None:
            message = ubx.parse(data) if data[:4] == b"\xb5\x62\x01\x07" else None
            if isinstance(message, ubx.NavPvt) and message.fix_type == 5:
                data = message._replace(fix_type=3).encode()
            sent(data)

        sim.send = send  # type: ignore[method-assign]

    async with running(tmp_path, before=surveys, receiver={"configure": False}) as r:
        await until(lambda: r.view.use_event == "gnss.not_used.time_only", 90)
        assert r.view.fix == "3D"
        assert "base station (TMODE)" in r.cause.text


@in_virtual_time
async def test_FR01_firmware_that_leaves_unknown_settings_out_of_its_answer_is_set(
    tmp_path: Path,
) -> None:
    def answers_in_part(sim: SimReceiver) -> None:
        sim.faults.answers_in_part = True

    async with running(tmp_path, F9P_OLD, before=answers_in_part) as r:
        await until(lambda: r.health is Health.HEALTHY, 60)
        assert r.view.used["1077"] > 0


@in_virtual_time
async def test_FR08_another_receiver_is_tried_at_once_although_the_one_before_was_unsuitable(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, F9P_OLD, frames=spartn_frames) as r:
        await until(lambda: r.health is Health.BLOCKED, 300)
        assert "HPG 1.30 or newer" in r.cause.advice
        await asyncio.sleep(3600)
        r.sim.exchange(M9N)
        await until(lambda: r.cause.event == "gnss.unsuitable", 30)
        assert "NEO-M9N with SPG 4.04 has no RTK" in r.cause.text
        await asyncio.sleep(3600)
        r.sim.exchange(F9P_NEW)
        await until(lambda: r.health is Health.HEALTHY, 30)


@in_virtual_time
async def test_FR05_a_carrier_solution_that_another_program_limits_to_float_is_put_back(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.view.fix == "RTK fixed", 60)
        await asyncio.sleep(60)
        r.sim.set("CFG-NAVHPG-DGNSSMODE", 2)
        await until(lambda: r.view.fix == "RTK float", 30)
        await until(lambda: r.view.fix == "RTK fixed", 120)
        (line,) = r.logged("gnss.changed")
        assert "CFG-NAVHPG-DGNSSMODE" in line
        assert r.health is Health.HEALTHY


@in_virtual_time
async def test_FR05_a_float_of_its_own_is_no_reason_to_ask_the_receiver_all_the_time(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.view.fix == "RTK fixed", 60)
        r.sim.faults.never_fixed = True
        await asyncio.sleep(300)
        before = len([each for each in r.sim.received if each.name == "CFG-VALGET"])
        await asyncio.sleep(3600)
        asked = len([each for each in r.sim.received if each.name == "CFG-VALGET"]) - before
        assert 0 < asked <= 30


@in_virtual_time
async def test_G03_after_a_restart_that_nobody_noticed_all_is_as_before(tmp_path: Path) -> None:
    """Positions are switched on in its flash, and it says no word."""

    def quiet(sim: SimReceiver) -> None:
        sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 1, saved=True)
        sim.set("CFG-{}OUTPROT-NMEA", 0, saved=True)

    async with running(tmp_path, frames=spartn_frames, before=quiet) as r:
        await until(lambda: r.view.use == "used", 60)
        await asyncio.sleep(30)
        assert r.sim.setting("CFG-MSGOUT-UBX_MON_RF_{}") > 0
        r.sim.reset()
        await until(lambda: r.logged("gnss.changed"), 120)
        await until(lambda: r.health is Health.HEALTHY, 60)
        await until(lambda: r.sim.setting("CFG-MSGOUT-UBX_MON_RF_{}") > 0, 30)
        assert r.sim.setting("CFG-HW-ANT_CFG_SHORTDET") == 1


@in_virtual_time
async def test_FR04_ubx_output_that_another_program_switches_off_is_named(tmp_path: Path) -> None:
    """NMEA alone is left, which any receiver sends."""
    async with running(tmp_path) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.set("CFG-{}OUTPROT-UBX", 0)
        await until(lambda: r.cause.event == "gnss.deaf", 30)
        assert "GGA at 38400 baud" in r.cause.text
        assert "UBX input and output are on" in r.cause.advice
        await asyncio.sleep(600)
        assert r.cause.event == "gnss.deaf"
        assert len(r.logged("gnss.deaf")) == 1
        r.sim.set("CFG-{}OUTPROT-UBX", 1)
        await until(lambda: r.health is Health.HEALTHY, 180)


@in_virtual_time
async def test_FR04_a_device_plugged_in_instead_of_the_receiver_is_not_taken_for_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.view.use == "used", 30)
        r.gateway.gnss.unplug()
        await until(lambda: r.logged("serial.absent"), 30)
        r.sim.set("CFG-{}OUTPROT-UBX", 0)  # it now looks like one of another make
        r.gateway.gnss.plug()
        await until(lambda: r.cause.event == "gnss.unknown", 60)


def change_again(sim: SimReceiver) -> None:
    sim.set("CFG-{}INPROT-SPARTN", 0)


@pytest.mark.parametrize(
    ("strike", "every_s", "event"),
    [(SimReceiver.reset, 20, "gnss.reset"), (change_again, 60, "gnss.changed")],
    ids=["restarts", "another program"],
)
@in_virtual_time
@pytest.mark.slow
async def test_G03_a_receiver_that_is_set_up_again_and_again_is_not_well(
    tmp_path: Path, strike: Callable[[SimReceiver], None], every_s: int, event: str
) -> None:
    async with running(tmp_path, frames=spartn_frames) as r:
        await until(lambda: r.health is Health.HEALTHY, 60)
        for _ in range(3):
            await asyncio.sleep(600)
            strike(r.sim)
        await asyncio.sleep(599)
        assert not r.logged("gnss.reception.unsteady"), "once in ten minutes"
        for _ in range(3600 // every_s):
            strike(r.sim)
            await asyncio.sleep(every_s)
        assert r.health is Health.DEGRADED
        assert r.cause.event == "gnss.reception.unsteady"
        assert "times in 10 min" in r.cause.text
        assert "power supply" in r.cause.advice
        assert len(r.logged("gnss.reception.unsteady")) == 1
        assert len(r.logged(event)) < 10
        await until(lambda: r.health is Health.HEALTHY, 900)
        assert len(r.logged("gnss.reception.over")) == 1
