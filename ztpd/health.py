"""The whole status in one word, and the cause that a person should know first."""

from __future__ import annotations

from enum import Enum

from ztpd import events
from ztpd.status import Cause, ReceiverView, Status

EXIT_STREAMING, EXIT_FAILED, EXIT_DEGRADED, EXIT_NOT_RUNNING = 0, 1, 2, 3


class Health(Enum):
    """The value is the word that people read; :attr:`exit_status` is for scripts."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    STARTING = "starting"
    WAITING = "waiting"
    BLOCKED = "blocked"
    NOT_RUNNING = "not running"

    @property
    def exit_status(self) -> int:
        """0 streaming, 1 failed (a person is needed), 2 degraded or waiting, 3 down."""
        return {
            Health.HEALTHY: EXIT_STREAMING,
            Health.BLOCKED: EXIT_FAILED,
            Health.NOT_RUNNING: EXIT_NOT_RUNNING,
        }.get(self, EXIT_DEGRADED)


def health(status: Status, *, is_running: bool) -> Health:
    """The word for ``status``."""
    if not is_running:
        return Health.NOT_RUNNING
    match status.state:
        case "blocked":
            return Health.BLOCKED
        case "waiting":
            return Health.WAITING
        case "streaming":
            return Health.DEGRADED if trouble(status) else Health.HEALTHY
    return Health.STARTING


def cause(status: Status) -> Cause | None:
    """The first thing that a person should know; None where all is well."""
    return trouble(status) or status.config_problem


def trouble(status: Status) -> Cause | None:
    """The reason why corrections are not used, or not as well as they could be."""
    reason, problem = status.reason, status.receiver_problem
    if status.state != "streaming":
        is_named = reason.advice or status.state != "waiting"
        return reason if is_named else problem or reason
    return problem or not_used(status.receiver)


def not_used(view: ReceiverView) -> Cause | None:
    """The cause that the receiver gives for corrections that it does not use."""
    if not view.use_event:
        return None
    event = events.named(view.use_event)
    return Cause(event.name, event.text, event.remedy) if event else Cause(view.use_event, view.use)
