"""Ending background tasks."""

from __future__ import annotations

import asyncio
from typing import Any


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
    """Cancel ``task`` once: a second time would interrupt its clean-up."""
    if not task.cancelling():
        task.cancel()
