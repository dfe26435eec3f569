"""The last failure stays in the status until its step succeeds, whatever comes between."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ztpd.cli.status import render
from ztpd.daemon.failures import FailureMemory
from ztpd.daemon.present import PresentState
from ztpd.errors import (
    ModemAbsent,
    MountpointUnknown,
    ResolveFailed,
    SessionStale,
    StoreUnsafe,
    ZtpdError,
    ZtpNotListed,
    ZtpServerError,
)
from ztpd.health import Health, cause, health
from ztpd.lifecycle import ORDERS, REPORTS, Activity, Event, waiting_event
from ztpd.status import Cause, Status

FAILURES = (
    (Activity.LOAD, StoreUnsafe("mode 0644")),
    (Activity.PROVISION, ModemAbsent("/dev/ttyUSB2")),
    (Activity.PROVISION, ZtpNotListed("status 403")),
    (Activity.PROVISION, ZtpServerError("status 503")),
    (Activity.RELAY, ResolveFailed("caster.example")),
    (Activity.RELAY, MountpointUnknown("NEAR")),
    (Activity.RELAY, SessionStale("15 s")),
)
SUCCESSES = (Event.FIRST_FRAME, Event.PROVISIONED, Event.HAVE_CREDENTIALS, Event.UNPROVISIONED)
RESTS = (Event.PAUSE, Event.STOP)  # nothing is tried then
BETWEEN = [event for event in Event if event not in (*SUCCESSES, Event.PROVISION, *RESTS)]
START = {
    Activity.LOAD: (),
    Activity.PROVISION: (Event.UNPROVISIONED,),
    Activity.RELAY: (Event.HAVE_CREDENTIALS,),
}


def published(present: PresentState) -> Status:
    reason = present.reason
    return Status(
        schema=1,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        state=present.state.value,
        reason=Cause(reason.event, reason.text, reason.advice),
        last_failure=present.failures.last,
    )


@given(st.sampled_from(FAILURES), st.lists(st.sampled_from(BETWEEN), max_size=8))
def test_FR62_at_every_moment_after_a_failure_the_headline_names_it(
    failure: tuple[Activity, ZtpdError], between: list[Event]
) -> None:
    """``between`` are the tries, waits and orders that follow, as far as they are possible."""
    activity, error = failure

    def dispatch(event: Event, error: ZtpdError | None = None) -> None:
        wait_s = 60.0 if event in (Event.BACKOFF, Event.BLOCKED) else None
        present.follow(event, "", error, wait_s, stale_after_s=15)

    async def scenario() -> None:
        dispatch(Event.RESTART)
        for event in (*START[activity], waiting_event(error)):
            dispatch(event, error if event is waiting_event(error) else None)
        for follower in [None, *between]:
            if follower and (follower in REPORTS[present.activity] or follower in ORDERS):
                dispatch(follower)
            shown = published(present)
            known = cause(shown)
            assert known, present.state
            assert known.event == error.code
            assert str(error) in known.text
            assert known.advice == error.advice
            screen = render(shown, is_running=True)
            assert str(error) in screen.splitlines()[0]
            assert error.advice in screen
            word = health(shown, is_running=True)
            assert word in (Health.WAITING, Health.BLOCKED)

    present = PresentState()
    asyncio.run(scenario())


def test_FR62_the_first_corrections_end_every_failure() -> None:
    for _, error in FAILURES:
        memory = FailureMemory()
        memory.follow(Event.BACKOFF, error)
        memory.follow(Event.CONNECT, None)
        assert memory.last
        memory.follow(Event.FIRST_FRAME, None)
        assert memory.last is None


def test_FR64_the_failure_of_an_earlier_run_keeps_its_time() -> None:
    error = ZtpNotListed("status 403")
    error.age_s = 3600.0
    memory = FailureMemory()
    memory.follow(Event.BLOCKED, error)
    assert memory.last
    age = datetime.now(UTC) - datetime.fromisoformat(memory.last.at)
    assert timedelta(minutes=59) < age < timedelta(minutes=61)


def test_FR64_an_age_that_a_wrong_clock_has_made_is_left_out() -> None:
    error = ZtpNotListed("status 403")
    error.age_s = 1e15
    memory = FailureMemory()
    memory.follow(Event.BLOCKED, error)
    assert memory.last
    assert datetime.fromisoformat(memory.last.at).year >= 2026
