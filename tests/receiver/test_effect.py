"""The effect of corrections on positions, second by second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ztpd.model import Carrier, Fix
from ztpd.receiver.effect import CorrectionAge, CorrectionEffect
from ztpd.wire.ubx import NavPvt

BOUNDS_S = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120)
NONE, FLOAT, FIXED = Carrier


def age_class(age_s: float | None) -> int:
    return 0 if age_s is None else 1 + sum(age_s >= bound for bound in BOUNDS_S)


def position(
    age_s: float | None = None,
    *,
    carrier: Carrier = NONE,
    differential: bool = True,
    fix_ok: bool = True,
    fix_type: int = 3,
) -> Fix:
    return NavPvt(
        utc=datetime(2026, 11, 29, tzinfo=UTC),
        fully_resolved=True,
        fix_ok=fix_ok,
        fix_type=fix_type,
        differential=differential,
        carrier=carrier,
        correction_age_class=age_class(age_s),
    ).to_fix()


@dataclass
class Seen:
    """The state after the last of the positions."""

    used: bool
    without_s: float
    like_sbas: bool
    is_of_others: bool


def seen(positions: Sequence[Fix], *, delivering: Sequence[bool] = ()) -> Seen:
    """A position a second; without ``delivering`` there is a delivery in each second, too."""
    effect, used, now_s = CorrectionEffect(), False, 1000.0
    for number, each in enumerate(positions):
        now_s = 1000.0 + number
        if not delivering or delivering[number]:
            effect.on_delivered(now_s)
        used = effect.on_fix(each, now_s)
    return Seen(used, effect.without_s, effect.is_like_sbas(now_s), effect.is_of_others)


@pytest.mark.parametrize("carrier", [NONE, FLOAT, FIXED], ids=["no carrier", "float", "fixed"])
@pytest.mark.parametrize("differential", [False, True], ids=["not differential", "differential"])
@pytest.mark.parametrize("age", ["none", "young", "old and renewed", "growing"])
def test_a_position_shows_use_or_none_or_leaves_it_open(
    carrier: Carrier, differential: bool, age: str
) -> None:
    ages: dict[str, list[float | None]] = {
        "none": [None] * 60,
        "young": [1.0] * 60,
        "old and renewed": [40.0] * 60,
        "growing": [1.0 * second for second in range(60)],
    }
    found = seen([position(each, carrier=carrier, differential=differential) for each in ages[age]])
    has_carrier = carrier is not NONE
    if age == "growing":
        expected = "none"
    elif has_carrier:
        expected = "used" if differential else "open"
    else:
        expected = "like SBAS" if differential else "none"
    assert found.used == (expected == "used")
    assert found.like_sbas == (expected == "like SBAS")
    assert (found.without_s > 40) == (expected == "none")


@pytest.mark.parametrize(
    "silent",
    [
        position(fix_ok=False, differential=False),
        position(fix_ok=False, fix_type=5, differential=False),
        position(fix_type=1, differential=False),
    ],
    ids=["no fix", "time only", "dead reckoning"],
)
def test_what_is_no_position_of_satellites_says_nothing(silent: Fix) -> None:
    assert seen([silent] * 600) == Seen(False, 0.0, like_sbas=False, is_of_others=False)


def test_a_gap_in_the_positions_neither_adds_to_the_time_without_effect_nor_ends_it() -> None:
    without, no_fix = position(differential=False), position(fix_ok=False, differential=False)
    assert seen([without] * 101 + [no_fix] * 500 + [without] * 100).without_s == 200


def test_the_age_grows_when_the_corrections_stop_and_that_is_no_fault() -> None:
    """A tunnel without network: nothing was delivered that could have been used."""
    ages = [0.5] * 60 + [1.0 * second for second in range(50)] + [0.5] * 10
    found = seen(
        [position(each, carrier=FIXED) for each in ages],
        delivering=[True] * 60 + [False] * 50 + [True] * 10,
    )
    assert found == Seen(True, 0.0, like_sbas=False, is_of_others=False)


def test_corrections_that_stay_young_while_none_are_sent_are_of_another_source() -> None:
    steady = [position(0.5, carrier=FIXED)] * 120
    gap = [True] * 60 + [False] * 20 + [True] * 40
    assert seen(steady[:64], delivering=gap).used, "4 s prove nothing"
    assert seen(steady, delivering=gap) == Seen(False, 0.0, like_sbas=False, is_of_others=True)


def test_the_other_source_is_gone_when_the_age_grows_in_the_next_gap() -> None:
    ages = [0.5] * 100 + [1.0 * second for second in range(20)] + [0.5] * 5
    gaps = [True] * 60 + [False] * 20 + [True] * 20 + [False] * 20 + [True] * 5
    found = seen([position(each, carrier=FIXED) for each in ages], delivering=gaps)
    assert found.used
    assert not found.is_of_others


def test_corrections_that_an_earlier_run_sent_are_not_of_another_source() -> None:
    """The daemon was restarted, and opens its session."""
    ages = [1.0 * second for second in range(20)] + [0.5] * 5
    found = seen(
        [position(each, carrier=FIXED) for each in ages], delivering=[False] * 20 + [True] * 5
    )
    assert found == Seen(True, 0.0, like_sbas=False, is_of_others=False)


@given(
    lag_s=st.floats(0, 100),
    every_s=st.integers(1, 10),
    jitter_s=st.lists(st.floats(0, 0.9), min_size=300, max_size=300),
)
def test_the_age_of_a_service_that_delivers_never_counts_as_growing(
    lag_s: float, every_s: int, jitter_s: list[float]
) -> None:
    """However late it is, and whenever within the class."""
    age, growing_s = CorrectionAge(), 0
    for second in range(300):
        now_s = 1000.0 + second + jitter_s[second]
        age.add(position(lag_s + second % every_s), now_s)
        growing_s = growing_s + 1 if age.is_growing else 0
        assert second < 60 or growing_s <= 15, "use counts for half a minute"


@given(start_s=st.floats(0, 5), jitter_s=st.lists(st.floats(0, 0.9), min_size=115, max_size=115))
@example(start_s=5.0, jitter_s=[0.0] * 4 + [0.5] + [0.0] * 110)
def test_corrections_that_end_are_noticed_before_half_a_minute(
    start_s: float, jitter_s: list[float]
) -> None:
    age = CorrectionAge()
    for second in range(60):
        age.add(position(start_s), 1000.0 + second)
    for second, late_s in enumerate(jitter_s):
        now_s = 1060.0 + second + late_s
        age.add(position(start_s + second), now_s)
        assert age.is_growing or second < 25
