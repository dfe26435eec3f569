"""The daemon's states and its table of transitions.

Rules:

* Nothing outside :func:`step` decides the next state, and only the daemon assigns it.
* An activity (see :class:`Activity`) reports events; :data:`REPORTS` lists those that it may
  report. The same state can occur in several activities (all of them wait), so the activity
  decides, not the state, which events can follow.
* An order comes from outside, in any state: :data:`ORDERS`. An activity that finds one in force,
  as the first one finds a pause after a restart, may give it itself.
* Any other event is a programming error: :class:`ImpossibleEvent`.
* STOPPING is final.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

from ztpd.errors import ZtpdError


class State(Enum):
    """The value is the word that a person reads; :attr:`meaning` explains it."""

    STARTING = "starting"
    IDENTIFYING = "identifying"
    PROVISIONING = "provisioning"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    REFRESHING = "refreshing"
    WAITING = "waiting"
    BLOCKED = "blocked"
    PAUSED = "paused"
    STOPPING = "stopping"

    @property
    def meaning(self) -> str:
        return _MEANING[self]


_MEANING = {
    State.STARTING: "loading the stored credentials",
    State.IDENTIFYING: "reading the IMEI from the modem",
    State.PROVISIONING: "asking the provisioning service for credentials",
    State.CONNECTING: "opening a session with the correction service",
    State.STREAMING: "checked corrections go to the receiver",
    State.REFRESHING: "asking for new credentials, keeping the old ones",
    State.WAITING: "waiting for the next try, which needs no person",
    State.BLOCKED: "a person must do something; ztpd looks again slowly meanwhile",
    State.PAUSED: "no session, by request; the status has who asked for it, and how it ends",
    State.STOPPING: "stopping on request",
}


class Event(Enum):
    """Reports of activities, and orders. The comment names the sender."""

    HAVE_CREDENTIALS = "have credentials"  # load, refresh: a session can be opened
    UNPROVISIONED = "unprovisioned"  # load: there are no credentials
    IDENTIFY = "identify"  # load, provision: begins to read the identity
    PROVISION = "provision"  # provision: calls the service
    PROVISIONED = "provisioned"  # provision, refresh: credentials are stored
    CONNECT = "connect"  # relay: opens a session
    FIRST_FRAME = "first frame"  # relay: the first corrections went to the receiver
    ENDED = "ended"  # relay: the session is over
    REFUSED = "refused"  # relay: every channel refuses the credentials
    BACKOFF = "backoff"  # any activity: waits for its next try
    BLOCKED = "blocked"  # any activity: waits for a person, and looks again slowly
    RESTART = "restart"  # order: load again (retry, reload, import, renewed credentials, resume)
    REPLACE = "replace"  # order: get other credentials (`ztpd provision --force`)
    PAUSE = "pause"  # order: no session until the next order (a person, the budget, standing still)
    STOP = "stop"  # order: a signal


def waiting_event(error: ZtpdError | None) -> Event:
    """How a wait because of ``error`` is reported: by whether it needs a person."""
    return Event.BLOCKED if error is not None and error.needs_person else Event.BACKOFF


class Activity(Enum):
    """The work of a state; there is never more than one at a time."""

    LOAD = "load"  # stored credentials, and whether they belong to this gateway
    PROVISION = "provision"  # identity and call, until there are credentials
    RELAY = "relay"  # sessions, one after another
    REFRESH = "refresh"  # other credentials in place of refused ones
    PAUSE = "pause"  # none, until an order ends it
    NONE = "none"


class Next(NamedTuple):
    """``start`` is None where the running activity continues."""

    state: State
    start: Activity | None = None


class Dispatch(Protocol):
    """How an activity reports to the daemon.

    ``why`` is for a person; ``error`` the cause of a wait and ``wait_s`` its length.
    """

    def __call__(
        self,
        event: Event,
        why: str = "",
        *,
        error: ZtpdError | None = None,
        wait_s: float | None = None,
    ) -> None: ...


class ImpossibleEvent(Exception):
    """The running activity cannot report this event: a mistake in the daemon."""


_RELAY = Next(State.CONNECTING, Activity.RELAY)
_BACKOFF = {Event.BACKOFF: Next(State.WAITING)}
_WAITS = {**_BACKOFF, Event.BLOCKED: Next(State.BLOCKED)}

REPORTS: dict[Activity, dict[Event, Next]] = {
    Activity.LOAD: {
        Event.HAVE_CREDENTIALS: _RELAY,
        Event.UNPROVISIONED: Next(State.IDENTIFYING, Activity.PROVISION),
        Event.IDENTIFY: Next(State.IDENTIFYING),
        **_WAITS,
    },
    Activity.PROVISION: {
        Event.IDENTIFY: Next(State.IDENTIFYING),
        Event.PROVISION: Next(State.PROVISIONING),
        Event.PROVISIONED: _RELAY,
        **_WAITS,
    },
    Activity.RELAY: {
        Event.CONNECT: Next(State.CONNECTING),
        Event.FIRST_FRAME: Next(State.STREAMING),
        Event.ENDED: Next(State.CONNECTING),
        Event.REFUSED: Next(State.REFRESHING, Activity.REFRESH),
        **_WAITS,
    },
    Activity.REFRESH: {
        Event.PROVISION: Next(State.REFRESHING),
        Event.PROVISIONED: _RELAY,
        Event.HAVE_CREDENTIALS: _RELAY,  # the old ones: they may be accepted again one day
        **_BACKOFF,
    },
    Activity.PAUSE: {},
    Activity.NONE: {},
}

ORDERS = {
    Event.RESTART: Next(State.STARTING, Activity.LOAD),
    Event.REPLACE: Next(State.REFRESHING, Activity.REFRESH),
    Event.PAUSE: Next(State.PAUSED, Activity.PAUSE),
    Event.STOP: Next(State.STOPPING, Activity.NONE),
}


def step(state: State, activity: Activity, event: Event) -> Next:
    """The next state after ``event`` in ``state`` while ``activity`` runs.

    Raises :class:`ImpossibleEvent`.
    """
    following = ORDERS.get(event) or REPORTS[activity].get(event)
    if following is None:
        raise ImpossibleEvent(f"{event.value} from {activity.value} in state {state.value}")
    return Next(State.STOPPING) if state is State.STOPPING else following
