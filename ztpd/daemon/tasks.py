"""The daemon's background tasks: each has a name, a line in the journal when it fails, and an end.

No other module of the daemon creates tasks; relay and sources await those that they create.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from ztpd import log
from ztpd.system.tasks import cancel, end

RESTART_S = 10.0

Work = Callable[[], Awaitable[None]]


class Task(Enum):
    """Every background task there is; the value is its name in the journal."""

    ACTIVITY = "activity"  # one of :class:`ztpd.lifecycle.Activity`
    CONTROL = "control"  # the control socket
    RECEIVER = "receiver"
    HEARTBEAT = "heartbeat"
    RELOAD = "reload"  # waits for the end of a provisioning call, then loads again
    SAVE = "save"  # beside the relay, or a pause: credentials that the disk refused
    TRAFFIC = "traffic"  # reads what was counted before
    UPKEEP = "upkeep"  # beside the relay, see :mod:`ztpd.daemon.upkeep`; in a pause the renewal


class Tasks:
    """At most one of each kind works at a time."""

    def __init__(self) -> None:
        self._running: dict[Task, set[asyncio.Task[None]]] = {kind: set() for kind in Task}

    def start(self, kind: Task, work: Work, *, name: str = "", recover: Work | None = None) -> None:
        """Run ``work`` once the one before of this kind, which is cancelled, has ended.

        Where it fails, the journal says so under ``name``, and after :data:`RESTART_S` ``recover``
        runs in its place, or ``work`` again. A task may start its own successor as its last act.
        """
        before = set(self._running[kind])
        for task in before - {asyncio.current_task()}:
            cancel(task)
        name = name or kind.value
        started = asyncio.create_task(_supervised(name, work, recover, before), name=name)
        self._running[kind].add(started)
        started.add_done_callback(self._running[kind].discard)

    async def end(self, *kinds: Task, within_s: float | None = None) -> None:
        """Cancel the tasks of ``kinds`` and wait for their end, at most ``within_s``."""
        await end(*(task for kind in kinds for task in self._running[kind]), within_s=within_s)


async def _supervised(
    name: str, work: Work, recover: Work | None, before: set[asyncio.Task[None]]
) -> None:
    if before:
        await asyncio.wait(before)
    before.clear()  # they hold on to all that they worked with
    while True:
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - the process stays up after any error
            log.crash(name, error)
        await asyncio.sleep(RESTART_S)
        work = recover or work
