import asyncio
from datetime import UTC, datetime

import pytest

from tests.support.virtualtime import run
from ztpd import RELEASED_UNIX_S
from ztpd.errors import ClockError
from ztpd.system.clock import SYNC_WAIT_S, Clock


class Time:
    def __init__(self, now_s: float, synchronised: bool | None) -> None:
        self.now_s, self.synchronised = now_s, synchronised
        self.up_s = 0.0

    def clock(self, noted_unix_s: int = 0) -> Clock:
        clock = Clock(
            now=lambda: self.now_s,
            monotonic=lambda: self.up_s,
            synchronised=lambda: self.synchronised,
        )
        clock.note_past(noted_unix_s)
        return clock


async def settled_after_s(clock: Clock) -> float:
    await clock.wait_usable()
    return asyncio.get_running_loop().time()


def test_C01_a_clock_before_the_release_of_ztpd_is_not_used() -> None:
    with pytest.raises(ClockError, match="1970-01-01"):
        run(settled_after_s(Time(0, False).clock()))


def test_a_clock_before_the_credentials_were_stored_is_not_used() -> None:
    stored_s = RELEASED_UNIX_S + 86_400
    day = datetime.fromtimestamp(stored_s, UTC).date()

    for known in (False, None):
        with pytest.raises(ClockError, match=f"before {day}"):
            run(settled_after_s(Time(RELEASED_UNIX_S + 60, known).clock(stored_s)))


def test_a_synchronised_clock_knows_better_than_a_date_noted_while_it_was_ahead() -> None:
    ahead_s = RELEASED_UNIX_S + 90 * 86_400

    assert run(settled_after_s(Time(RELEASED_UNIX_S + 60, True).clock(ahead_s))) == 0
    with pytest.raises(ClockError):
        run(settled_after_s(Time(RELEASED_UNIX_S - 60, True).clock(ahead_s)))


def test_FR53_a_date_that_was_noted_in_2035_holds_for_an_hour() -> None:
    """Nothing synchronises: ``ztpd import`` had noted a date that was ahead by years."""
    time = Time(RELEASED_UNIX_S + 60, None)
    clock = time.clock(RELEASED_UNIX_S + 9 * 365 * 86_400)
    assert clock.is_past

    time.up_s = 3601.0
    clock.note_past(RELEASED_UNIX_S + 9 * 365 * 86_400)  # read from the disk once more
    assert not clock.is_past
    assert run(settled_after_s(clock)) == 0


def test_the_date_of_the_release_holds_for_good() -> None:
    time = Time(RELEASED_UNIX_S - 60, None)
    clock = time.clock(RELEASED_UNIX_S + 86_400)
    time.up_s = 1e9
    assert clock.is_past


def test_a_synchronised_clock_is_used_at_once() -> None:
    assert run(settled_after_s(Time(RELEASED_UNIX_S + 60, True).clock())) == 0


def test_without_a_source_of_its_state_the_clock_is_used_at_once() -> None:
    assert run(settled_after_s(Time(RELEASED_UNIX_S + 60, None).clock())) == 0


def test_C05_without_synchronisation_tls_may_judge_after_two_minutes() -> None:
    waited_s = run(settled_after_s(Time(RELEASED_UNIX_S + 60, False).clock()))

    assert SYNC_WAIT_S <= waited_s <= SYNC_WAIT_S + 2


def test_C06_the_clock_is_used_as_soon_as_it_is_synchronised() -> None:
    time = Time(RELEASED_UNIX_S + 60, False)

    async def scenario() -> float:
        asyncio.get_running_loop().call_later(20, setattr, time, "synchronised", True)
        return await settled_after_s(time.clock())

    assert 20 <= run(scenario()) <= 23


def test_a_clock_that_falls_back_during_the_wait_is_not_used() -> None:
    time = Time(RELEASED_UNIX_S + 60, False)

    async def scenario() -> None:
        asyncio.get_running_loop().call_later(10, setattr, time, "now_s", 0.0)
        await time.clock().wait_usable()

    with pytest.raises(ClockError):
        run(scenario())


@pytest.mark.parametrize(
    ("now_s", "synchronised", "word"),
    [
        (0, True, "behind"),
        (RELEASED_UNIX_S, True, "synchronised"),
        (RELEASED_UNIX_S, False, "not synchronised"),
        (RELEASED_UNIX_S, None, "unknown"),
    ],
)
def test_the_status_has_a_word_for_it(now_s: float, synchronised: bool | None, word: str) -> None:
    assert Time(now_s, synchronised).clock().describe() == word
