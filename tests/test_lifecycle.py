import pytest

from ztpd import lifecycle
from ztpd.errors import ResolveFailed, ZtpTokenMissing
from ztpd.lifecycle import TABLE, Activity, Event, ImpossibleEvent, State, step, waiting_event


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_pair_is_listed_or_refused(state: State, event: Event) -> None:
    if event in TABLE[state]:
        assert step(state, event) == TABLE[state][event]
    else:
        with pytest.raises(ImpossibleEvent, match=event.value):
            step(state, event)


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_stopped(state: State) -> None:
    assert step(state, Event.STOP).state is State.STOPPING


def test_nothing_leads_out_of_stopping() -> None:
    assert {following.state for following in TABLE[State.STOPPING].values()} == {State.STOPPING}


@pytest.mark.parametrize("state", [state for state in State if state is not State.STOPPING])
def test_a_person_can_begin_anew_from_every_state(state: State) -> None:
    assert step(state, Event.RESTART) == (State.STARTING, Activity.LOAD)


@pytest.mark.parametrize("state", [state for state in State if state is not State.STOPPING])
def test_every_state_can_wait_and_be_blocked(state: State) -> None:
    assert step(state, Event.BACKOFF).state is State.WAITING
    assert step(state, Event.BLOCKED).state is State.BLOCKED


@pytest.mark.parametrize("state", [state for state in State if state is not State.STARTING])
def test_every_state_can_be_reached(state: State) -> None:
    assert any(following.state is state for row in TABLE.values() for following in row.values())


def test_streaming_is_reached_only_from_a_session() -> None:
    sources = {state for state, row in TABLE.items() if Event.FIRST_FRAME in row}

    assert sources == {State.CONNECTING, State.STREAMING, State.WAITING, State.BLOCKED}


def test_a_provisioned_gateway_makes_no_provisioning_call() -> None:
    assert step(State.STARTING, Event.HAVE_CREDENTIALS) == (State.CONNECTING, Activity.RELAY)


def test_refused_credentials_are_refreshed_and_the_old_ones_can_be_used_again() -> None:
    assert step(State.CONNECTING, Event.REFUSED) == (State.REFRESHING, Activity.REFRESH)
    assert step(State.REFRESHING, Event.HAVE_CREDENTIALS) == (State.CONNECTING, Activity.RELAY)


def test_every_state_says_what_it_means() -> None:
    assert all(state.meaning for state in State)


def test_the_diagram_has_every_state() -> None:
    assert all(state.name in lifecycle.diagram() for state in State)


def test_a_wait_is_blocked_if_a_person_is_needed_and_only_then() -> None:
    assert waiting_event(None) is Event.BACKOFF
    assert waiting_event(ResolveFailed()) is Event.BACKOFF
    assert waiting_event(ZtpTokenMissing()) is Event.BLOCKED
