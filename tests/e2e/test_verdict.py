"""Whether corrections are used, in the whole daemon: its status, its health and its journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.receiver_bench import in_virtual_time
from tests.support.until import until
from tests.support.verdict_bench import (
    EPOCH,
    OURS,
    Frames,
    base_station_frames,
    delayed_frames,
    rtcm_frames,
    running,
    spartn_frames,
)
from ztpd.health import Health
from ztpd.sim.receiver import (
    D9S,
    F9P,
    F9P_OLD,
    F9R,
    F9T,
    M8P,
    M9N,
    X20P_HAS,
    Model,
    SimReceiver,
)
from ztpd.wire.ubx import PROTOCOL_PMP, PROTOCOL_QZSS_L6


def lock(sim: SimReceiver) -> None:
    sim.faults.locked = True


@in_virtual_time
async def test_corrections_in_use_are_healthy(tmp_path: Path) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.view.use == "used", 30)
        await asyncio.sleep(400)
        assert r.health is Health.HEALTHY
        assert r.view.use_event == ""
        assert len(r.logged("gnss.used")) == 1
        assert r.view.fix == r.view.best_fix == "RTK fixed"


@in_virtual_time
async def test_FR113_a_receiver_that_is_unplugged_uses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.view.use == "used", 30)
        r.gateway.gnss.unplug()
        await until(lambda: r.logged("serial.absent"), 30)
        assert (r.view.use, r.view.fix) == ("unknown", "unknown")
        await asyncio.sleep(20)
        assert r.view.use == "unknown"
        assert r.cause.event == "serial.absent"
        assert not r.logged("gnss.fix_unknown"), "NAV-PVT is on, but the receiver is away"
        r.gateway.gnss.plug()
        await until(lambda: r.health is Health.HEALTHY, 60)


@pytest.mark.parametrize("configure", [True, False], ids=["locked", "configure off"])
@in_virtual_time
async def test_FR01_a_receiver_whose_spartn_input_stays_off_needs_a_person(
    tmp_path: Path, configure: bool
) -> None:
    def set_output(sim: SimReceiver) -> None:
        for port in ("UART1", "UART2", "USB"):
            sim.set(f"CFG-MSGOUT-UBX_NAV_PVT_{port}", 1)
        sim.faults.locked = configure

    async with running(
        tmp_path, frames=spartn_frames, before=set_output, receiver={"configure": configure}
    ) as r:
        await until(lambda: r.health is Health.BLOCKED, 60)
        why = "the receiver refuses changes" if configure else "[receiver] configure is false"
        assert f"{why}; SPARTN input is off on all its ports" in r.cause.text
        assert r.cause.event == "gnss.not_set"
        assert "CFG-SEC-CFG_LOCK" in r.cause.advice
        assert r.sim.corrections() == []
        assert len(r.logged("gnss.not_set")) == 1
        r.sim.faults.locked = False
        r.sim.set("CFG-{}INPROT-SPARTN", 1)
        await until(lambda: r.view.use == "used", 3700)
        assert r.health is Health.HEALTHY


@pytest.mark.parametrize("configure", [True, False], ids=["locked", "configure off"])
@in_virtual_time
async def test_FR01_a_receiver_whose_positions_stay_off_needs_a_person(
    tmp_path: Path, configure: bool
) -> None:
    def locked(sim: SimReceiver) -> None:
        sim.faults.locked = configure

    async with running(tmp_path, before=locked, receiver={"configure": configure}) as r:
        await until(lambda: r.health is Health.BLOCKED, 60)
        assert "NAV-PVT output is off on all its ports" in r.cause.text
        assert "sky" not in r.cause.text + r.cause.advice
        assert not r.logged("gnss.configured")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("CFG-MSGOUT-UBX_NAV_PVT_{}", "NAV-PVT output"), ("CFG-{}INPROT-SPARTN", "SPARTN input")],
)
@in_virtual_time
async def test_FR01_an_input_or_output_that_the_configuration_switches_off_is_no_refusal(
    tmp_path: Path, pattern: str, name: str
) -> None:
    keys = {pattern.format(port): 0 for port in ("UART1", "UART2", "USB")}
    async with running(tmp_path, frames=spartn_frames, receiver={"keys": keys}) as r:
        await until(lambda: r.health is Health.BLOCKED, 60)
        assert r.cause.event == "gnss.not_set"
        assert f"[receiver.keys] has {next(iter(keys))}" in r.cause.text
        assert f" = 0; {name} is off" in r.cause.text
        assert "refuse" not in r.cause.text
        assert "in [receiver.keys]" in r.cause.advice


@pytest.mark.parametrize("frames", [base_station_frames, rtcm_frames])
@in_virtual_time
async def test_FR01_an_input_that_another_program_switches_off_is_put_back(
    tmp_path: Path, frames: Frames
) -> None:
    async with running(tmp_path, frames=frames) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.set("CFG-{}INPROT-RTCM3X", 0)
        await until(lambda: r.logged("gnss.changed"), 180)
        await until(lambda: r.health is Health.HEALTHY, 180)


@in_virtual_time
async def test_FR01_an_input_that_ztpd_may_not_put_back_is_named(tmp_path: Path) -> None:
    def configured(sim: SimReceiver) -> None:
        for name in ("CFG-MSGOUT-UBX_RXM_COR_{}", "CFG-MSGOUT-UBX_NAV_PVT_{}"):
            sim.set(name, 1)
        sim.set("CFG-{}INPROT-SPARTN", 1)

    async with running(
        tmp_path, frames=base_station_frames, before=configured, receiver={"configure": False}
    ) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.set("CFG-{}INPROT-RTCM3X", 0)
        await until(lambda: r.health is Health.BLOCKED, 300)
        assert r.cause.event == "gnss.not_set"
        assert "RTCM3 input is off" in r.cause.text


@in_virtual_time
async def test_FR01_a_locked_receiver_that_is_set_right_is_used(tmp_path: Path) -> None:
    def set_before(sim: SimReceiver) -> None:
        for name in ("CFG-{}INPROT-SPARTN", "CFG-MSGOUT-UBX_NAV_PVT_{}"):
            sim.set(name, 1)
        sim.set("CFG-MSGOUT-UBX_RXM_COR_{}", 1)
        sim.faults.locked = True

    async with running(tmp_path, frames=spartn_frames, before=set_before) as r:
        await until(lambda: r.view.use == "used", 60)
        assert r.health is Health.HEALTHY


@pytest.mark.parametrize("frames", [rtcm_frames, spartn_frames])
@in_virtual_time
async def test_FR02_a_radio_that_the_receiver_uses_instead_is_named(
    tmp_path: Path, frames: Frames
) -> None:
    async with running(tmp_path, frames=frames) as r:
        r.sim.faults.radio_station = 77
        await until(lambda: r.view.use != "unknown", 120)
        assert "it uses RTCM of station 77 from another input" in r.view.use
        assert r.view.use_event == "gnss.not_used.other_source"
        assert r.cause.text.endswith(": it uses RTCM of station 77 from another input instead")
        assert r.view.used == {}
        await asyncio.sleep(300)
        assert r.health is Health.DEGRADED
        assert len(r.logged("gnss.not_used.other_source")) == 1
        r.sim.faults.radio_station = None
        await until(lambda: r.view.use == "used", 60)
        assert len(r.logged("gnss.used")) == 1


@pytest.mark.parametrize(
    ("protocol", "name"),
    [(PROTOCOL_PMP, "SPARTN over L-band"), (PROTOCOL_QZSS_L6, "QZSS L6"), (13, "of protocol 13")],
    ids=["L-band", "QZSS L6", "unknown"],
)
@in_virtual_time
async def test_FR02_corrections_from_satellites_that_the_receiver_uses_instead_are_named(
    tmp_path: Path, protocol: int, name: str
) -> None:
    async with running(tmp_path, frames=spartn_frames) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.faults.other_protocol = protocol
        await until(lambda: name in r.view.use, 120)
        assert r.view.use_event == "gnss.not_used.other_source"
        assert r.health is Health.DEGRADED
        r.sim.faults.other_protocol = None
        await until(lambda: r.view.use == "used", 60)


@in_virtual_time
@pytest.mark.slow
async def test_FR02_a_radio_with_the_station_id_of_our_own_corrections_is_named(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, frames=delayed_frames) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.faults.radio_station = OURS
        await until(lambda: r.view.use != "used", 120)
        await until(lambda: r.view.use_event == "gnss.not_used.other_source", 60)
        assert f"it uses RTCM of station {OURS} from another input" in r.view.use
        assert r.health is Health.DEGRADED
        r.sim.faults.radio_station = None
        await until(lambda: r.view.use == "used", 60)


def use_has(sim: SimReceiver) -> None:
    sim.set("CFG-NAVCOR-ENABLE_HOST", 0, saved=True)
    sim.set("CFG-NAVCOR-ENABLE_GAL_HAS", 1, saved=True)


@in_virtual_time
async def test_FR02_galileo_has_is_switched_off_for_the_host(tmp_path: Path) -> None:
    async with running(tmp_path, X20P_HAS, frames=spartn_frames, before=use_has) as r:
        await until(lambda: r.view.use == "used", 60)
        assert r.sim.setting("CFG-NAVCOR-ENABLE_HOST") == 1
        assert r.sim.setting("CFG-NAVCOR-ENABLE_GAL_HAS") == 0
        use_has(r.sim)  # another program
        await until(lambda: r.sim.setting("CFG-NAVCOR-ENABLE_HOST") == 1, 60)
        (line,) = r.logged("gnss.changed")
        assert "CFG-NAVCOR-ENABLE_HOST" in line
        await until(lambda: r.view.use == "used", 60)


@in_virtual_time
async def test_FR02_galileo_has_that_ztpd_may_not_switch_off_is_named(tmp_path: Path) -> None:
    def configured(sim: SimReceiver) -> None:
        use_has(sim)
        for name in ("CFG-{}INPROT-SPARTN", "CFG-MSGOUT-UBX_NAV_PVT_{}"):
            sim.set(name, 1)
        sim.set("CFG-MSGOUT-UBX_RXM_COR_{}", 1)

    async with running(
        tmp_path, X20P_HAS, frames=spartn_frames, before=configured, receiver={"configure": False}
    ) as r:
        await until(lambda: r.view.use != "unknown", 120)
        assert r.view.use == "not used: it uses Galileo HAS instead"
        assert r.health is Health.DEGRADED
        assert r.sim.setting("CFG-NAVCOR-ENABLE_HOST") == 0
        assert r.view.used == {}, "HAS is not counted as ours"


@in_virtual_time
async def test_FR03_old_firmware_is_judged_by_its_older_report(tmp_path: Path) -> None:
    async with running(tmp_path, F9P_OLD) as r:
        await until(lambda: r.view.use == "used", 30)
        assert r.view.used["1077"] > 0
        r.sim.faults.radio_station = 77
        await until(lambda: "RTCM of station 77" in r.view.use, 120)


SILENT_F9P = replace(F9P_OLD, reports=())


SILENT = {
    "M9N": (replace(M9N, reports=()), "NEO-M9N with SPG 4.04"),
    "F9T": (replace(F9T, reports=()), "ZED-F9T with TIM 2.20"),
    "F9P": (SILENT_F9P, "ZED-F9P with HPG 1.13"),
}
"""Receivers that report no use, and their names in sentences."""


def ignore(sim: SimReceiver) -> None:
    sim.faults.ignores_corrections = True


def ignore_and_use_sbas(sim: SimReceiver) -> None:
    sim.faults.ignores_corrections = sim.faults.sbas = True


@pytest.mark.parametrize("name", SILENT)
@in_virtual_time
@pytest.mark.slow
async def test_FR03_without_reports_a_position_without_effect_shows_that_there_is_no_use(
    tmp_path: Path, name: str
) -> None:
    model, product = SILENT[name]
    async with running(tmp_path, model, before=ignore) as r:
        await until(lambda: r.view.use_event, 90)
        assert r.view.use_event == "gnss.use_not_reported"
        assert r.view.use == f"unknown: {product} does not report it"
        event = "gnss.not_used.no_rtk" if not model.rtk else "gnss.not_used.no_carrier"
        await until(lambda: r.view.use_event == event, 160)
        assert r.view.fix == "3D"
        assert "its position has shown no effect of them for 3 minutes" in r.view.use
        assert product in r.view.use
        assert r.health is Health.DEGRADED
        await asyncio.sleep(600)
        assert len(r.logged(event)) == len(r.logged("gnss.use_not_reported")) == 1


@pytest.mark.parametrize("name", SILENT)
@in_virtual_time
@pytest.mark.slow
async def test_FR03_without_reports_sbas_leaves_the_use_unknown(tmp_path: Path, name: str) -> None:
    model, product = SILENT[name]
    async with running(tmp_path, model, before=ignore_and_use_sbas) as r:
        await until(lambda: r.view.use_event, 90)
        assert r.view.fix == "DGNSS"
        await asyncio.sleep(600)
        assert r.view.use_event == "gnss.use_like_sbas"
        assert r.view.use.startswith(f"unknown: {product} does not report it")
        assert "would look the same with SBAS alone" in r.view.use
        assert r.health is (Health.UNKNOWN if model.rtk else Health.DEGRADED)
        if not model.rtk:
            assert r.cause.text == f"{product} has no RTK: DGNSS is the best it reaches"
        assert len(r.logged("gnss.use_like_sbas")) == 1
        assert not [line for line in r.log if "not_used" in line]


@in_virtual_time
@pytest.mark.slow
async def test_FR03_without_reports_use_by_a_receiver_without_rtk_looks_like_sbas(
    tmp_path: Path,
) -> None:
    model, product = SILENT["M9N"]
    async with running(tmp_path, model) as r:
        await until(lambda: r.view.use_event == "gnss.use_like_sbas", 90)
        assert r.view.fix == "DGNSS"
        assert r.health is Health.DEGRADED
        assert r.cause.text == f"{product} has no RTK: DGNSS is the best it reaches"


@pytest.mark.parametrize("sbas", [False, True], ids=["SBAS off", "SBAS on"])
@in_virtual_time
@pytest.mark.slow
async def test_FR03_without_reports_the_end_of_use_is_noticed(tmp_path: Path, sbas: bool) -> None:
    async with running(tmp_path, SILENT_F9P) as r:
        await until(lambda: r.health is Health.HEALTHY, 90)
        r.sim.faults.sbas = sbas
        await asyncio.sleep(60)
        assert r.health is Health.HEALTHY
        ignore(r.sim)
        await until(lambda: r.view.use != "used", 60)
        assert r.view.fix.startswith("RTK"), "it goes on with old corrections"
        event = "gnss.use_like_sbas" if sbas else "gnss.not_used.no_carrier"
        await until(lambda: r.view.use_event == event, 200)
        assert r.health is (Health.UNKNOWN if sbas else Health.DEGRADED)
        assert not r.logged("gnss.reception.late")
        r.sim.faults.ignores_corrections = False
        await until(lambda: r.health is Health.HEALTHY, 90)


@pytest.mark.parametrize("model", [M9N, F9T], ids=["M9N", "F9T"])
@in_virtual_time
async def test_FR03_a_receiver_without_rtk_is_named_although_it_reports_use(
    tmp_path: Path, model: Model
) -> None:
    async with running(tmp_path, model) as r:
        await until(lambda: r.view.use == "used" and r.view.fix == "DGNSS", 60)
        assert r.health is Health.DEGRADED
        product = f"{model.module} with {model.firmware}"
        assert r.cause.event == "gnss.fix_without_rtk"
        assert f"{product} has no RTK: DGNSS is the best it reaches" in r.cause.text
        await asyncio.sleep(20)
        assert len(r.logged("gnss.fix_without_rtk")) == 1
        assert not [line for line in r.log if "firmware if" in line], "no firmware helps"


@in_virtual_time
@pytest.mark.slow
async def test_FR03_a_product_of_unknown_line_has_to_show_a_carrier_solution(
    tmp_path: Path,
) -> None:
    unknown = replace(F9P, firmware="XYZ 1.00", rtk=False)
    async with running(tmp_path, unknown, frames=spartn_frames) as r:
        await until(lambda: r.view.use == "used", 60)
        await until(lambda: r.health is Health.DEGRADED, 700)
        assert r.cause.text == "no RTK float for 10 min: the fix is DGNSS"


@in_virtual_time
async def test_FR03_a_carrier_solution_proves_use(tmp_path: Path) -> None:
    async with running(tmp_path, SILENT_F9P) as r:
        await until(lambda: r.view.use == "used", 60)
        assert r.view.fix.startswith("RTK")
        await until(lambda: r.view.fix == "RTK fixed", 60)
        assert r.health is Health.HEALTHY


@in_virtual_time
async def test_FR04_a_wire_that_breaks_in_operation_is_named(tmp_path: Path) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.faults.hears_nothing = True
        await until(lambda: r.logged("gnss.deaf"), 180)
        assert r.cause.event == "gnss.deaf"
        assert "a u-blox receiver sends, and does not hear ztpd" in r.cause.text
        assert "RX" in r.cause.advice
        await asyncio.sleep(120)
        assert not r.logged("gnss.unknown")
        r.sim.faults.hears_nothing = False
        await until(lambda: r.view.use == "used", 180)


@in_virtual_time
async def test_FR04_a_receiver_that_answers_no_configuration_is_named_apart_from_a_deaf_one(
    tmp_path: Path,
) -> None:
    def answers_little(sim: SimReceiver) -> None:
        sim.faults.answers_no_settings = True

    async with running(tmp_path, before=answers_little) as r:
        await until(lambda: r.logged("gnss.unconfigurable"), 60)
        assert "answers MON-VER, but no question about its settings" in r.cause.text
        assert not r.logged("gnss.deaf")
        assert r.health is not Health.HEALTHY
        r.sim.faults.answers_no_settings = False
        await until(lambda: r.view.use == "used", 180)


@in_virtual_time
@pytest.mark.slow
async def test_FR05_time_mode_set_by_another_program_is_ended_within_a_minute(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.view.use == "used", 30)
        await asyncio.sleep(30)
        for mode in (2, 1):
            r.sim.set("CFG-TMODE-MODE", mode)
            await until(lambda: r.view.fix == "time only", 30)
            await until(lambda: r.sim.setting("CFG-TMODE-MODE") == 0, 60)
            await until(lambda: r.view.fix == "RTK fixed", 60)
        assert len(r.logged("gnss.changed")) == 2
        assert "CFG-TMODE-MODE" in r.logged("gnss.changed")[0]
        await until(lambda: r.health is Health.HEALTHY, 60)


@in_virtual_time
async def test_FR05_time_mode_that_ztpd_may_not_end_is_named(tmp_path: Path) -> None:
    def configured(sim: SimReceiver) -> None:
        for name in ("CFG-MSGOUT-UBX_RXM_COR_{}", "CFG-MSGOUT-UBX_NAV_PVT_{}"):
            sim.set(name, 1)

    async with running(tmp_path, before=configured, receiver={"configure": False}) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.set("CFG-TMODE-MODE", 2)
        await until(lambda: r.view.use_event == "gnss.not_used.time_only", 120)
        assert "base station (TMODE)" in r.cause.text
        assert "sky" not in r.cause.advice
        assert r.health is Health.DEGRADED


@pytest.mark.parametrize("strict", [1, 2])
@in_virtual_time
async def test_FR06_a_filter_of_reference_stations_is_named_with_both(
    tmp_path: Path, strict: int
) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.view.use == "used", 30)
        r.sim.set("CFG-RTCM-DF003_IN", 1234)
        r.sim.set("CFG-RTCM-DF003_IN_FILTER", strict)
        await until(lambda: r.view.use_event == "gnss.not_used.station_filter", 180)
        assert f"takes reference station 1234 only, and they are of station {OURS}" in r.view.use
        assert "CFG-RTCM-DF003_IN_FILTER" in r.cause.advice
        assert r.health is Health.DEGRADED
        assert r.sim.setting("CFG-RTCM-DF003_IN_FILTER") == strict, "it is the owner's"


@in_virtual_time
async def test_FR06_a_filter_for_our_own_station_is_no_trouble(tmp_path: Path) -> None:
    async with running(tmp_path) as r:
        r.sim.set("CFG-RTCM-DF003_IN", OURS)
        r.sim.set("CFG-RTCM-DF003_IN_FILTER", 2)
        await until(lambda: r.view.use == "used", 60)
        assert r.health is Health.HEALTHY


@in_virtual_time
async def test_FR07_dead_reckoning_is_no_fix_from_satellites(tmp_path: Path) -> None:
    def tunnel(sim: SimReceiver) -> None:
        sim.faults.tunnel = True

    async with running(tmp_path, F9R, before=tunnel) as r:
        await until(lambda: r.view.fix == "dead reckoning", 30)
        await asyncio.sleep(30)
        assert r.view.first_fix_s is None
        assert r.view.accuracy_m == 38
        r.sim.faults.tunnel = False
        await until(lambda: r.view.fix == "RTK fixed", 60)
        assert r.view.first_fix_s is not None


@pytest.mark.parametrize("model", [M9N, F9T], ids=["M9N", "F9T"])
@in_virtual_time
async def test_FR08_spartn_for_a_product_without_rtk_is_no_matter_of_its_firmware(
    tmp_path: Path, model: Model
) -> None:
    async with running(tmp_path, model, frames=spartn_frames) as r:
        await until(lambda: r.health is Health.BLOCKED, 60)
        assert r.cause.event == "gnss.unsuitable"
        assert f"{model.module} with {model.firmware} has no RTK" in r.cause.text
        assert "firmware" not in r.cause.advice


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (M8P, "NEO-M8P-2: generation 8 and older have no such settings"),
        (replace(M8P, sign=" "), "NEO-M8P-2: generation 8 and older have no such settings"),
        (replace(M8P, module="LEA-M8T", firmware="TIM 1.10"), "LEA-M8T: generation 8 and older"),
        (D9S, "a NEO-D9S is no positioning receiver"),
        (replace(D9S, sign=" "), "a NEO-D9S is no positioning receiver"),
    ],
    ids=["M8P", "M8P blank", "M8T", "D9S", "D9S blank"],
)
@in_virtual_time
async def test_FR08_a_product_that_cannot_be_used_is_named(
    tmp_path: Path, model: Model, words: str
) -> None:
    async with running(tmp_path, model) as r:
        await until(lambda: r.health is Health.BLOCKED, 30)
        assert words in r.cause.text
        assert r.view.model == model.module
        assert "CFG-" not in r.cause.text
        assert "firmware" not in r.cause.advice
        await asyncio.sleep(300)
        assert len(r.logged("gnss.unsuitable")) == 1


@in_virtual_time
async def test_FR11_reports_that_come_after_half_a_minute_raise_no_alarm(tmp_path: Path) -> None:
    async with running(tmp_path) as r:
        sent, r.sim.faults.lost_answers = r.sim.send, 0

        def without_reports(data: bytes) -> None:
            if data[2:4] != b"\x02\x34":
                sent(data)

        r.sim.send = without_reports  # type: ignore[method-assign]
        await until(lambda: r.view.delivered_frames > 0, 30)
        await asyncio.sleep(30)
        r.sim.send = sent  # type: ignore[method-assign]
        await until(lambda: r.view.use == "used", 10)
        assert not [line for line in r.log if "not_used" in line]
        assert r.health is Health.HEALTHY


def lose_position(sim: SimReceiver) -> None:
    sim.faults.unsolved = True


def stay_float(sim: SimReceiver) -> None:
    sim.faults.never_fixed = True


def recover(sim: SimReceiver) -> None:
    sim.faults.unsolved = sim.faults.never_fixed = False


@pytest.mark.parametrize(
    ("strike", "event", "end"),
    [
        (lose_position, "gnss.no_fix", "the receiver has a fix again, after"),
        (stay_float, "gnss.fix_low", "the receiver has its best fix again, after"),
    ],
    ids=["no fix", "float"],
)
@in_virtual_time
@pytest.mark.slow
async def test_what_lasts_has_a_line_at_its_end(
    tmp_path: Path, strike: Callable[[SimReceiver], None], event: str, end: str
) -> None:
    async with running(tmp_path) as r:
        await until(lambda: r.health is Health.HEALTHY, 60)
        strike(r.sim)
        await until(lambda: r.logged(event), 900)
        assert not r.logged("quality.over")
        recover(r.sim)
        await until(lambda: r.logged("quality.over"), 900)
        await until(lambda: r.health is Health.HEALTHY, 60)
        await asyncio.sleep(60)
        (line,) = r.logged("quality.over")
        assert line.startswith(f"quality.over {end}")
        assert len(r.logged(event)) == 1


@in_virtual_time
@pytest.mark.slow
async def test_a_line_that_was_too_slow_has_a_line_at_its_end(tmp_path: Path) -> None:
    epochs = 1

    async def frames() -> AsyncIterator[bytes]:
        while True:
            yield EPOCH * epochs
            await asyncio.sleep(1)

    async with running(tmp_path, frames=frames, wired="UART1") as r:
        await until(lambda: r.health is Health.HEALTHY, 60)
        epochs = 100
        await until(lambda: r.logged("stream.dropped_share"), 300)
        epochs = 1
        await until(lambda: r.logged("quality.over"), 600)
        await asyncio.sleep(60)
        assert r.health is Health.HEALTHY
        (line,) = r.logged("quality.over")
        assert line.startswith("quality.over the line takes the corrections again, after")
        assert len(r.logged("stream.dropped_share")) == 1
