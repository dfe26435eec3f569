"""The table of states; tests/daemon/test_activities.py has the real activities report."""

import pytest

from tools.transitions import diagram, reachable
from ztpd.errors import ResolveFailed, ZtpTokenMissing
from ztpd.lifecycle import (
    ORDERS,
    REPORTS,
    Activity,
    Event,
    ImpossibleEvent,
    State,
    step,
    waiting_event,
)

PAIRS = [pair for pair in reachable() if pair[0] is not State.STOPPING]


@pytest.mark.parametrize("pair", reachable(), ids=lambda pair: f"{pair[0].value}-{pair[1].value}")
@pytest.mark.parametrize("event", Event)
def test_the_running_activity_decides_the_possible_events(
    pair: tuple[State, Activity], event: Event
) -> None:
    state, activity = pair
    if event in REPORTS[activity] or event in ORDERS:
        step(state, activity, event)
    else:
        with pytest.raises(ImpossibleEvent, match=event.value):
            step(state, activity, event)


@pytest.mark.parametrize("state", [State.WAITING, State.BLOCKED])
def test_a_wait_accepts_nothing_that_another_activity_reports(state: State) -> None:
    with pytest.raises(ImpossibleEvent):
        step(state, Activity.PROVISION, Event.FIRST_FRAME)
    with pytest.raises(ImpossibleEvent):
        step(state, Activity.RELAY, Event.PROVISIONED)
    with pytest.raises(ImpossibleEvent):
        step(state, Activity.LOAD, Event.CONNECT)


@pytest.mark.parametrize(("state", "activity"), PAIRS)
def test_every_state_can_be_stopped(state: State, activity: Activity) -> None:
    assert step(state, activity, Event.STOP) == (State.STOPPING, Activity.NONE)


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_while_stopping_changes_nothing(order: Event) -> None:
    assert step(State.STOPPING, Activity.NONE, order) == (State.STOPPING, None)


@pytest.mark.parametrize(("state", "activity"), PAIRS)
def test_a_restart_loads_again_from_every_state(state: State, activity: Activity) -> None:
    assert step(state, activity, Event.RESTART) == (State.STARTING, Activity.LOAD)


@pytest.mark.parametrize(("state", "activity"), PAIRS)
def test_every_state_can_be_paused_and_only_an_order_ends_that(
    state: State, activity: Activity
) -> None:
    assert step(state, activity, Event.PAUSE) == (State.PAUSED, Activity.PAUSE)
    assert REPORTS[Activity.PAUSE] == {}


def test_every_state_can_be_reached() -> None:
    assert {state for state, _ in reachable()} == set(State)


def test_every_event_is_a_report_or_an_order() -> None:
    reports = {event for row in REPORTS.values() for event in row}
    assert not reports & set(ORDERS)
    assert reports | set(ORDERS) == set(Event)


def test_only_a_session_leads_to_streaming() -> None:
    sources = {
        activity
        for (_, activity), row in reachable().items()
        for event, following in row.items()
        if following.state is State.STREAMING
    }
    assert sources == {Activity.RELAY}


def test_FR40_the_identity_can_be_read_while_loading() -> None:
    assert step(State.STARTING, Activity.LOAD, Event.IDENTIFY).state is State.IDENTIFYING
    for event, state in (
        (Event.HAVE_CREDENTIALS, State.CONNECTING),
        (Event.UNPROVISIONED, State.IDENTIFYING),
    ):
        assert step(State.IDENTIFYING, Activity.LOAD, event).state is state


def test_a_provisioned_gateway_makes_no_provisioning_call() -> None:
    after = step(State.STARTING, Activity.LOAD, Event.HAVE_CREDENTIALS)
    assert after == (State.CONNECTING, Activity.RELAY)


def test_refused_credentials_are_refreshed_and_the_old_ones_can_be_used_again() -> None:
    refused = step(State.CONNECTING, Activity.RELAY, Event.REFUSED)
    assert refused == (State.REFRESHING, Activity.REFRESH)
    again = step(State.REFRESHING, Activity.REFRESH, Event.HAVE_CREDENTIALS)
    assert again == (State.CONNECTING, Activity.RELAY)


def test_every_state_has_a_meaning() -> None:
    assert all(state.meaning for state in State)


def test_the_diagram_has_every_state() -> None:
    assert all(state.name in diagram() for state in State)


def test_a_wait_is_blocked_if_a_person_is_needed_and_only_then() -> None:
    assert waiting_event(None) is Event.BACKOFF
    assert waiting_event(ResolveFailed()) is Event.BACKOFF
    assert waiting_event(ZtpTokenMissing()) is Event.BLOCKED
