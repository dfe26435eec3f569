"""Ending background tasks."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

_cancelled: WeakSet[asyncio.Task[Any]] = WeakSet()


async def end(*tasks: asyncio.Task[Any], within_s: float | None = None) -> None:
    """Cancel ``tasks`` and wait until they have ended, at most ``within_s``.

    Exceptions of the tasks are dropped: their results are no longer needed.
    """
    for task in tasks:
        cancel(task)
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=within_s)
        for task in done:
            if not task.cancelled():
                task.exception()  # retrieved, or asyncio reports it as forgotten


def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel ``task`` once: a second time would interrupt its clean-up.

    ``Task.cancelling()`` does not say whether that was done: a time-out of the task that has just
    passed counts there too, and ends nothing.
    """
    if task not in _cancelled:
        _cancelled.add(task)
        task.cancel()
