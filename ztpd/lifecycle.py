"""What the daemon is doing, as one table.

Rules:

* Nothing outside :func:`step` decides the next state, and only the daemon assigns it.
* An event that is not in a state's row is a programming error and says so.
* The activities (see :class:`Activity`) report what happened to them; which activity runs is
  decided here and nowhere else.
* Every state has a way to STOPPING.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

from ztpd.errors import ZtpdError


class State(Enum):
    """The value is what a person reads; :attr:`meaning` says what is true in it."""

    STARTING = "starting"
    IDENTIFYING = "identifying"
    PROVISIONING = "provisioning"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    REFRESHING = "refreshing"
    WAITING = "waiting"
    BLOCKED = "blocked"
    STOPPING = "stopping"

    @property
    def meaning(self) -> str:
        return _MEANING[self]


_MEANING = {
    State.STARTING: "looking at what is on disk",
    State.IDENTIFYING: "reading the IMEI from the modem",
    State.PROVISIONING: "asking the provisioning service for credentials",
    State.CONNECTING: "opening a session with the correction service",
    State.STREAMING: "checked corrections go to the receiver",
    State.REFRESHING: "asking for new credentials, keeping the old ones",
    State.WAITING: "nothing can be done until the next try, which comes by itself",
    State.BLOCKED: "a person must do something; looked at again slowly meanwhile",
    State.STOPPING: "told to stop",
}


class Event(Enum):
    """What can happen. The comment names who reports it."""

    HAVE_CREDENTIALS = (
        "have credentials"  # load, refresh: there is something to open a session with
    )
    UNPROVISIONED = "unprovisioned"  # load: there are no credentials
    REPLACE = "replace"  # load: a person wants other credentials than there are
    IDENTIFY = "identify"  # provision: begins to read the identity
    PROVISION = "provision"  # provision: calls the service
    PROVISIONED = "provisioned"  # provision, refresh: credentials are stored
    CONNECT = "connect"  # relay: opens a session
    FIRST_FRAME = "first frame"  # relay: the first corrections went to the receiver
    ENDED = "ended"  # relay: the session is over
    REFUSED = "refused"  # relay: every way refuses the credentials
    BACKOFF = "backoff"  # any activity: waits for its next try
    BLOCKED = "blocked"  # any activity: waits for a person, and looks again slowly
    RESTART = "restart"  # control, signals: begin anew (retry, reload, import)
    STOP = "stop"  # signals


def waiting_event(error: ZtpdError | None) -> Event:
    """How a wait because of ``error`` is reported: by whether it needs a person."""
    return Event.BLOCKED if error is not None and error.needs_person else Event.BACKOFF


class Activity(Enum):
    """What runs in a state; entering a state with another activity ends the one before."""

    LOAD = "load"
    PROVISION = "provision"
    RELAY = "relay"
    REFRESH = "refresh"
    NONE = "none"


class Next(NamedTuple):
    """``start`` is None where the running activity goes on."""

    state: State
    start: Activity | None = None


class Dispatch(Protocol):
    """How an activity tells the daemon what happened.

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
    """An event came in a state that has no row for it: a mistake in the daemon."""


_ANYWHERE = {
    Event.RESTART: Next(State.STARTING, Activity.LOAD),
    Event.STOP: Next(State.STOPPING, Activity.NONE),
}
_WAITS = {
    Event.BACKOFF: Next(State.WAITING),
    Event.BLOCKED: Next(State.BLOCKED),
}
_PROVISIONED = {Event.PROVISIONED: Next(State.CONNECTING, Activity.RELAY)}
_IDENTITY = {
    Event.IDENTIFY: Next(State.IDENTIFYING),
    Event.PROVISION: Next(State.PROVISIONING),
}
_RELAYING = {
    Event.CONNECT: Next(State.CONNECTING),
    Event.FIRST_FRAME: Next(State.STREAMING),
    Event.ENDED: Next(State.CONNECTING),
    Event.REFUSED: Next(State.REFRESHING, Activity.REFRESH),
}

TABLE: dict[State, dict[Event, Next]] = {
    State.STARTING: {
        Event.HAVE_CREDENTIALS: Next(State.CONNECTING, Activity.RELAY),
        Event.UNPROVISIONED: Next(State.IDENTIFYING, Activity.PROVISION),
        Event.REPLACE: Next(State.REFRESHING, Activity.REFRESH),
        **_IDENTITY,
        **_WAITS,
        **_ANYWHERE,
    },
    State.IDENTIFYING: _IDENTITY | _PROVISIONED | _WAITS | _ANYWHERE,
    State.PROVISIONING: _IDENTITY | _PROVISIONED | _WAITS | _ANYWHERE,
    State.CONNECTING: _RELAYING | _WAITS | _ANYWHERE,
    State.STREAMING: _RELAYING | _WAITS | _ANYWHERE,
    State.REFRESHING: _IDENTITY
    | _PROVISIONED
    | _WAITS
    | _ANYWHERE
    | {Event.HAVE_CREDENTIALS: Next(State.CONNECTING, Activity.RELAY)},
    State.WAITING: _IDENTITY
    | _PROVISIONED
    | _RELAYING
    | _WAITS
    | _ANYWHERE
    | {
        Event.HAVE_CREDENTIALS: Next(State.CONNECTING, Activity.RELAY),
        Event.UNPROVISIONED: Next(State.IDENTIFYING, Activity.PROVISION),
        Event.REPLACE: Next(State.REFRESHING, Activity.REFRESH),
    },
    State.STOPPING: {Event.STOP: Next(State.STOPPING)},
}
TABLE[State.BLOCKED] = TABLE[State.WAITING]
"""BLOCKED differs from WAITING in what a person is told, not in what can follow."""


def step(state: State, event: Event) -> Next:
    """Where ``event`` leads from ``state``. Raises :class:`ImpossibleEvent`."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise ImpossibleEvent(f"{event.value} in state {state.value}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.STARTING.name}"]
    for state, row in TABLE.items():
        by_target: dict[State, list[str]] = {}
        for event, following in row.items():
            if following.state is not state:
                by_target.setdefault(following.state, []).append(event.value)
        lines += [
            f"    {state.name} --> {target.name}: {', '.join(names)}"
            for target, names in by_target.items()
        ]
    return "\n".join([*lines, f"    {State.STOPPING.name} --> [*]", ""])
