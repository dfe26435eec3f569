"""Whether the gateway stands still: positions in, seconds out."""

from __future__ import annotations

import math
import random

import pytest

from tests.support.relay_bench import FIX
from ztpd.daemon.standstill import Standstill, distance_m
from ztpd.model import Fix

_DEGREE_M = 111_195.0


def at(
    north_m: float = 0.0, east_m: float = 0.0, *, sigma_m: float = 0.014, speed_mps: float = 0.0
) -> Fix:
    east_deg = east_m / _DEGREE_M / math.cos(math.radians(FIX.lat_deg))
    return FIX._replace(
        lat_deg=FIX.lat_deg + north_m / _DEGREE_M,
        lon_deg=FIX.lon_deg + east_deg,
        accuracy_m=sigma_m,
        speed_mps=speed_mps,
    )


@pytest.mark.parametrize(("north_m", "east_m"), [(5.0, 0.0), (0.0, 5.0), (-3.0, 4.0), (300, 400)])
def test_distances_are_metres(north_m: float, east_m: float) -> None:
    wanted = math.hypot(north_m, east_m)
    assert distance_m(at(), at(north_m, east_m)) == pytest.approx(wanted, rel=0.001)


def test_the_date_line_is_no_distance() -> None:
    east, west = FIX._replace(lat_deg=0, lon_deg=179.99999), FIX._replace(lat_deg=0, lon_deg=-180)
    assert distance_m(east, west) == pytest.approx(1.11, rel=0.01)


def test_it_stands_still_since_the_first_position_with_the_scatter_of_its_accuracy() -> None:
    dice, still = random.Random(1), Standstill()
    for second in range(601):
        north_m, east_m = dice.gauss(0, 0.006), dice.gauss(0, 0.006)
        still_s = still.still_for_s(at(north_m, east_m, speed_mps=0.02), float(second))
    assert still_s == 600.0


def test_a_speed_begins_anew_also_where_the_position_is_the_same() -> None:
    still = Standstill()
    still.still_for_s(at(), 0.0)
    assert still.still_for_s(at(), 100.0) == 100.0
    assert still.still_for_s(at(speed_mps=0.3), 101.0) == 0.0
    assert still.still_for_s(at(speed_mps=0.29), 111.0) == 10.0


def test_a_creep_below_the_speed_is_no_standstill() -> None:
    still = Standstill()
    longest_s = max(
        still.still_for_s(at(0.2 * second, speed_mps=0.2), float(second)) for second in range(600)
    )
    assert longest_s < 10.0


def test_the_accuracy_of_both_positions_decides() -> None:
    still = Standstill()
    still.still_for_s(at(sigma_m=1.2), 0.0)
    assert still.still_for_s(at(3.0, sigma_m=0.014), 60.0) == 60.0
    assert still.still_for_s(at(4.0, sigma_m=0.014), 61.0) == 0.0


@pytest.mark.parametrize(
    "nothing", [at(500.0)._replace(ok=False), at(500.0)._replace(dead_reckoning=True)]
)
def test_a_report_without_a_position_says_nothing(nothing: Fix) -> None:
    still = Standstill()
    still.still_for_s(at(), 0.0)
    assert still.still_for_s(nothing, 300.0) == 0.0
    assert not still.has_moved(nothing)
    assert still.still_for_s(at(), 600.0) == 600.0


@pytest.mark.parametrize(
    ("north_m", "sigma_m", "moved"),
    [
        (4.9, 0.014, False),
        (5.1, 0.014, True),
        (5.1, 2.0, False),
        (6.1, 2.0, True),
        (50.0, 20.0, False),
    ],
)
def test_a_move_is_five_metres_and_beyond_three_sigma(
    north_m: float, sigma_m: float, moved: bool
) -> None:
    still = Standstill()
    still.still_for_s(at(sigma_m=0.014), 0.0)
    assert still.has_moved(at(north_m, sigma_m=sigma_m)) is moved


def test_after_a_restart_the_first_position_is_the_place() -> None:
    still = Standstill()
    assert not still.has_moved(at())
    assert still.has_moved(at(6.0))
