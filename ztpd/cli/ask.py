"""Requests of the verbs to the running daemon."""

from __future__ import annotations

import os
from contextlib import suppress

from ztpd import status
from ztpd.errors import DaemonSilent, NotPermitted, NotRunning
from ztpd.status import Status
from ztpd.system import control, directories
from ztpd.system.control import Verb
from ztpd.system.runlock import is_running

_WITHIN_S = 3.0
_NICE = 10


def yield_to_daemon() -> None:
    """For a verb that has much to do: the daemon comes first, on a board with one core too."""
    with suppress(OSError):
        os.nice(_NICE)


def daemon_runs() -> bool:
    """Raises :class:`NotPermitted` where this user may not know."""
    directory = directories.runtime_dir()
    running = is_running(directory)
    if running is None:
        raise NotPermitted(f"{directory} cannot be looked into, so whether ztpd runs is unknown")
    return running


def daemon_status() -> Status | None:
    """The running daemon's status; None where none runs.

    It is asked of the daemon, and read from its file where that does not answer this user.
    Raises :class:`NotPermitted` where this user may not know.
    """
    directory = directories.runtime_dir()
    if not daemon_runs():
        return None
    try:
        answer = control.ask(directory, {"do": Verb.STATUS}, timeout_s=_WITHIN_S)
    except (NotRunning, NotPermitted, DaemonSilent):
        answer = {}
    published = status.from_json(answer.get("status"))
    return published if published.schema else status.read(directory)
