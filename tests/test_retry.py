import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.virtualtime import run
from ztpd.errors import (
    ConfigError,
    NoRoute,
    SessionClosed,
    SessionError,
    SessionEvicted,
    SessionRefused,
    ZtpdError,
    ZtpNotListed,
    ZtpServerError,
    ZtpThrottled,
)
from ztpd.retry import SESSION, ZTP, Backoff, Policy, until_done


def waits(policy: Policy, error: ZtpdError, count: int, seed: int = 1) -> list[float]:
    backoff = Backoff(policy, random.Random(seed))
    return [backoff.wait_s(error) for _ in range(count)]


@pytest.mark.parametrize(
    ("policy", "kind"), [(ZTP, NoRoute), (SESSION, NoRoute), (SESSION, SessionEvicted)]
)
def test_hardly_two_gateways_of_a_fleet_wait_for_the_same_time(
    policy: Policy, kind: type[ZtpdError]
) -> None:
    first = [waits(policy, kind(), 1, seed)[0] for seed in range(1000)]
    assert len(set(first)) > 990


@pytest.mark.parametrize(
    ("policy", "error", "step", "low_s", "high_s"),
    [
        (ZTP, NoRoute(), 0, 1, 2),
        (ZTP, NoRoute(), 20, 1, 60),
        (ZTP, ZtpServerError(), 0, 1, 30),
        (ZTP, ZtpServerError(), 3, 1, 240),
        (ZTP, ZtpServerError(), 20, 1, 3600),
        (ZTP, ZtpNotListed(), 0, 1800, 3600),
        (ZTP, ZtpNotListed(), 1, 43_200, 86_400),
        (ZTP, ZtpNotListed(), 9, 43_200, 86_400),
        (SESSION, SessionClosed(), 0, 1, 2),
        (SESSION, SessionClosed(), 20, 1, 300),
        (SESSION, SessionRefused(), 0, 150, 300),
        (SESSION, SessionRefused(), 9, 1800, 3600),
        (SESSION, SessionEvicted(), 0, 300, 600),
        (SESSION, SessionEvicted(), 9, 300, 1800),
    ],
)
def test_a_wait_lies_within_its_class(
    policy: Policy, error: ZtpdError, step: int, low_s: float, high_s: float
) -> None:
    drawn = [waits(policy, error, step + 1, seed)[step] for seed in range(200)]

    assert min(drawn) >= low_s
    assert max(drawn) <= high_s
    assert max(drawn) > low_s + 0.8 * (high_s - low_s), "the whole range is used"


def test_classes_count_their_own_steps() -> None:
    backoff = Backoff(ZTP, random.Random(1))
    for _ in range(10):
        backoff.wait_s(NoRoute())

    assert backoff.wait_s(ZtpServerError()) <= 30


def test_after_a_stable_session_four_tries_come_at_once() -> None:
    backoff = Backoff(SESSION, random.Random(1))
    for _ in range(10):
        backoff.wait_s(SessionClosed())
    backoff.reset_fast()

    assert all(0.5 <= backoff.wait_s(SessionClosed()) <= 1.5 for _ in range(4))
    assert backoff.dump() == {}
    backoff.wait_s(SessionClosed())
    assert backoff.dump() == {"server": 1}


def test_quick_tries_are_spread_evenly() -> None:
    """Or they would be over before an outage of 3 s is, and the whole fleet back in one instant."""
    drawn = []
    for seed in range(500):
        backoff = Backoff(SESSION, random.Random(seed))
        backoff.reset_fast()
        drawn.append(sum(backoff.wait_s(SessionClosed()) for _ in range(4)))

    assert sum(drawn) / len(drawn) == pytest.approx(4, abs=0.1)
    assert sum(each < 3 for each in drawn) / len(drawn) < 0.06


def test_FR23_a_refusal_after_good_service_is_tried_six_times_within_two_minutes() -> None:
    for seed in range(200):
        backoff = Backoff(SESSION, random.Random(seed))
        backoff.reset_fast()
        short = [backoff.wait_s(SessionRefused()) for _ in range(6)]

        assert 2 <= short[0] <= 4
        assert 50 <= sum(short) <= 120
        assert backoff.recovering
        assert backoff.wait_s(SessionRefused()) >= 150
        assert not backoff.recovering


def test_FR23_a_refusal_is_tried_slowly_where_there_was_no_good_service() -> None:
    assert min(waits(SESSION, SessionRefused(), 5)) >= 150


@pytest.mark.parametrize("asked_s", [3600, 90_000, 1e18])
def test_FR86_a_session_waits_an_hour_at_most_at_any_retry_after(asked_s: float) -> None:
    drawn = [waits(SESSION, SessionError(retry_after_s=asked_s), 1, seed)[0] for seed in range(200)]
    assert 1800 <= min(drawn) <= max(drawn) <= 3600


def test_FR86_a_reasonable_retry_after_of_a_caster_is_a_floor_with_jitter() -> None:
    drawn = [waits(SESSION, SessionError(retry_after_s=120), 1, seed)[0] for seed in range(200)]
    assert 120 <= min(drawn) < 150
    assert 200 < max(drawn) <= 240


def test_N24_retry_after_is_a_floor_with_jitter_on_top() -> None:
    drawn = [waits(ZTP, ZtpThrottled(retry_after_s=120), 1, seed)[0] for seed in range(200)]

    assert min(drawn) >= 120
    assert max(drawn) - min(drawn) > 60, "a fleet that obeys exactly comes back as one"


def test_N24_retry_after_is_cut_at_a_day_and_does_not_bring_the_fleet_back_at_one_instant() -> None:
    reported = [
        Backoff(ZTP, random.Random(n)).wait_s(ZtpThrottled(retry_after_s=1e9)) for n in range(99)
    ]

    assert 86_400 <= min(reported) < max(reported) <= 172_800
    assert len(set(reported)) == 99


def test_a_retry_after_overrides_the_fast_tries() -> None:
    backoff = Backoff(SESSION, random.Random(1))
    backoff.reset_fast()

    assert backoff.wait_s(SessionError(retry_after_s=600)) >= 600


@given(st.one_of(st.none(), st.integers(), st.text(), st.dictionaries(st.text(), st.integers())))
def test_steps_from_a_damaged_file_do_no_harm(steps: object) -> None:
    backoff = Backoff(ZTP, random.Random(1))
    backoff.restore(steps)

    assert 1 <= backoff.wait_s(ZtpServerError()) <= 3600


@pytest.mark.parametrize("failures", [999, 1000, 5000])
def test_D08_after_an_outage_of_weeks_a_restart_does_not_begin_at_the_first_step(
    failures: int,
) -> None:
    before, after = Backoff(ZTP, random.Random(1)), Backoff(ZTP, random.Random(1))
    for _ in range(failures):
        before.wait_s(ZtpServerError())
    after.restore(before.dump())

    assert max(after.wait_s(ZtpServerError()) for _ in range(5)) > 600


def test_steps_survive_a_restart() -> None:
    before = Backoff(ZTP, random.Random(1))
    for _ in range(3):
        before.wait_s(ZtpServerError())
    after = Backoff(ZTP, random.Random(1))
    after.restore(before.dump())

    assert after.dump() == {"server": 3}


def test_a_failed_attempt_is_repeated_after_its_wait() -> None:
    reported: list[tuple[str, float]] = []
    outcomes: list[ZtpdError | None] = [NoRoute(), ZtpServerError(), None]

    async def attempt() -> float:
        error = outcomes.pop(0)
        if error:
            raise error
        return asyncio.get_running_loop().time()

    ended_s = run(
        until_done(
            attempt,
            Backoff(ZTP, random.Random(1)),
            waiting=lambda error, wait_s: reported.append((error.code, wait_s)),
        )
    )

    assert [code for code, _ in reported] == ["net.no_route", "ztp.server"]
    assert ended_s == pytest.approx(sum(wait_s for _, wait_s in reported))


@pytest.mark.parametrize("error", [ConfigError("x"), ValueError("a bug")])
def test_an_error_that_no_wait_can_remedy_is_raised_at_once(error: Exception) -> None:
    async def attempt() -> None:
        raise error

    with pytest.raises(type(error)):
        run(until_done(attempt, Backoff(ZTP), waiting=lambda *_: None))


@pytest.mark.parametrize("error", [ZtpServerError(), ZtpNotListed()])
def test_P5_a_dead_service_is_asked_at_most_13_times_an_hour_and_65_a_day(
    error: ZtpdError,
) -> None:
    for seed in range(50):
        backoff, clock_s, calls = Backoff(ZTP, random.Random(seed)), 0.0, [0.0]
        while clock_s < 86_400:
            clock_s += backoff.wait_s(error)
            calls.append(clock_s)
        assert sum(call < 3600 for call in calls) <= 13
        assert sum(call < 86_400 for call in calls) <= 65


def test_every_class_of_a_policy_has_a_longest_wait() -> None:
    assert Backoff(ZTP).longest_s() == 86_400
    assert Backoff(SESSION).longest_s() == 3600
