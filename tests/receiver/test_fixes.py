"""How good the position is, and for how long it has been so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receiver_bench import bench, in_virtual_time
from tests.support.until import until
from ztpd.model import Carrier, Fix
from ztpd.receiver.fixes import FixHistory
from ztpd.sim.receiver import F9P, F9P_OLD, F9R, X20P, Model
from ztpd.wire.ubx import NavPvt


def test_the_label_lasts_from_its_first_fix_on() -> None:
    history = FixHistory()
    assert history.label_for_s(0) is None
    for second in range(10):
        history.add(NavPvt(fix_type=3, fix_ok=True).to_fix(), second)
    assert history.label_for_s(9.5) == 9.5
    history.add(NavPvt(fix_type=3, fix_ok=True, carrier=Carrier.FLOAT).to_fix(), 10)
    assert history.label_for_s(11) == 1
    assert history.label_for_s(60) is None, "no present fix"
    history.add(NavPvt(fix_type=3, fix_ok=True, carrier=Carrier.FLOAT).to_fix(), 100)
    assert history.label_for_s(100) == 0


FLOAT, FIXED = (
    NavPvt(fix_type=3, fix_ok=True, carrier=each).to_fix()
    for each in (Carrier.FLOAT, Carrier.FIXED)
)


def test_the_time_with_each_fix_is_counted_and_a_pause_is_unknown() -> None:
    history = FixHistory()
    assert history.seconds(10) == {"unknown": 0}
    for second in range(12, 20):
        history.add(FLOAT, second)
    for second in range(20, 30):
        history.add(FIXED, second)
    assert history.seconds(30) == {"unknown": 2, "RTK float": 8, "RTK fixed": 10}
    assert history.seconds(100) == {"unknown": 2 + 66, "RTK float": 8, "RTK fixed": 14}
    history.add(FLOAT, 100)
    assert history.seconds(101) == {"unknown": 68, "RTK float": 9, "RTK fixed": 14}


@given(st.lists(st.tuples(st.sampled_from([FLOAT, FIXED, None]), st.floats(0, 100))))
def test_the_times_add_up_and_never_fall(steps: list[tuple[Fix | None, float]]) -> None:
    history, now_s = FixHistory(), 1000.0
    before = history.seconds(now_s)
    for fix, pause_s in steps:
        now_s += pause_s
        if fix:
            history.add(fix, now_s)
        found = history.seconds(now_s)
        assert all(found[label] >= seconds for label, seconds in before.items())
        assert sum(found.values()) == pytest.approx(now_s - 1000)
        before = found


@pytest.mark.parametrize("model", [F9P, F9P_OLD, F9R, X20P], ids=lambda model: model.firmware)
@in_virtual_time
async def test_the_best_fix_in_reach_is_published(tmp_path: Path, model: Model) -> None:
    async with bench(tmp_path, model) as b:
        assert b.receiver.view.best_fix == ""
        await b.receiver.wait_ready()
        assert b.receiver.view.best_fix == "RTK fixed"


@in_virtual_time
async def test_a_receiver_kept_at_float_reaches_no_more(tmp_path: Path) -> None:
    async with bench(tmp_path, settings={"keys": {"CFG-NAVHPG-DGNSSMODE": 2}}) as b:
        await b.receiver.wait_ready()
        assert b.receiver.view.best_fix == "RTK float"


@in_virtual_time
async def test_a_fix_has_the_time_since_its_last_change(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await until(lambda: b.receiver.view.fix == "3D", 10)
        await b.stream(40, b.spartn)
        view = b.receiver.view
        assert view.fix == "RTK fixed"
        assert view.fix_for_s is not None
        assert view.first_fixed_s is not None
        assert 20 < view.fix_for_s < 40
        b.pty.unplug()
        await until(lambda: b.receiver.view.fix == "unknown", 5)
        assert b.receiver.view.fix_for_s is None
