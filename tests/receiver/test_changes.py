"""The settings that differ from the firmware's defaults, read beside the corrections."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.receiver_bench import bench, in_virtual_time, rtcm
from ztpd.receiver.settings import ChangedSetting
from ztpd.sim.receiver import F9P, X20P, Model
from ztpd.wire import ubxcfg
from ztpd.wire.ubx import EVERY_KEY, CfgValget, CfgValgetPoll, parse

PVT, PERIOD = "CFG-MSGOUT-UBX_NAV_PVT_USB", "CFG-RATE-MEAS"


@pytest.mark.parametrize("model", [F9P, X20P], ids=lambda model: model.module)
@in_virtual_time
async def test_all_settings_that_differ_are_read_and_corrections_go_on(
    tmp_path: Path, model: Model
) -> None:
    async with bench(tmp_path, model) as found:
        await found.receiver.wait_ready()
        found.sim.settings |= {0x2099_0000 + number: number % 250 for number in range(200)}
        assert len(found.sim.settings) > 3 * ubxcfg.MAX_ITEMS, "they take several answers"
        await found.stream(20, lambda: found.spartn() if model.spartn else rtcm())
        inspection = await found.receiver.inspect(every=True)
        defaults = model.defaults()
        wanted = {
            key: ChangedSetting(key, value, defaults.get(key))
            for key, value in found.sim.settings.items()
            if value != defaults.get(key)
        }
        assert {each.key: each for each in inspection.changed} == wanted
        assert ubxcfg.KEYS[PVT] in wanted
        assert found.receiver.ready
        assert (await found.receiver.inspect()).changed == (), "only where they are asked for"


@in_virtual_time
async def test_a_receiver_that_does_not_know_the_question_has_the_rest(tmp_path: Path) -> None:
    async with bench(tmp_path, F9P) as found:
        await found.receiver.wait_ready()
        found.sim.faults.refused.add(EVERY_KEY)
        inspection = await found.receiver.inspect(every=True)
        assert inspection.changed == ()
        assert inspection.settings


def test_the_position_of_a_poll_and_of_its_answer_is_kept() -> None:
    poll = CfgValgetPoll((EVERY_KEY,), 7, 640)
    assert parse(poll.encode()) == poll
    answer = CfgValget({ubxcfg.KEYS[PERIOD]: 1000}, 7, 640)
    assert parse(answer.encode()) == answer
