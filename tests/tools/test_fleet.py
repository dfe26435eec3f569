"""A fleet that asks one server at the same time, in simulated time."""

from __future__ import annotations

import random

import pytest

from bench import fleet
from bench.fleet import Server, play
from tests.support import TOP
from ztpd.retry import SESSION, ZTP

DOCUMENT = TOP / "docs/fleet.md"


def test_a_server_that_is_asked_too_often_has_no_time_to_serve() -> None:
    server = Server(50)

    assert server.places(50) == (50, 50)
    assert server.places(275) == (25, 275)
    assert server.places(500) == (0, 500)
    assert server.places(6000) == (0, 500)


@pytest.mark.parametrize("retry_after_s", [None, 600.0])
@pytest.mark.parametrize("up_at_s", [0.0, 1800.0])
def test_a_fleet_that_powers_up_at_once_is_served_in_three_times_the_ideal(
    retry_after_s: float | None, up_at_s: float
) -> None:
    rng = random.Random(7)
    starts_s = [rng.uniform(0, 60) for _ in range(20_000)]

    found = play(Server(10, up_at_s, retry_after_s), starts_s, ZTP, rng)

    assert 1.0 <= found.times_ideal < 3.0
    assert found.calls < 12


def test_a_fleet_that_is_spread_is_served_at_its_first_calls() -> None:
    rng = random.Random(7)
    starts_s = [rng.uniform(0, 2200) for _ in range(50_000)]

    found = play(Server(25), starts_s, ZTP, rng)

    assert found.times_ideal < 1.4
    assert found.calls < 1.5


def test_sessions_come_back_in_three_times_the_ideal() -> None:
    rng = random.Random(7)

    found = play(Server(100, up_at_s=1800), [0.0] * 20_000, SESSION, rng, fast=True)

    assert found.times_ideal < 3.0


@pytest.mark.slow
def test_the_published_table_is_the_simulated_one() -> None:
    assert fleet.table() in DOCUMENT.read_text(encoding="utf-8"), "run `make fleet`"
