"""Background tasks of a daemon in the test's own event loop, by their names."""

from __future__ import annotations

import asyncio
from typing import Any


def make_fail(name: str) -> None:
    """Let the future that the task ``name`` waits for fail with an unexpected error."""
    task = next(each for each in asyncio.all_tasks() if each.get_name() == name)
    waiting: asyncio.Future[object] = task._fut_waiter  # type: ignore[attr-defined]
    if isinstance(waiting, asyncio.Task):
        waiting = waiting._fut_waiter  # type: ignore[attr-defined]
    waiting.set_exception(ZeroDivisionError("injected"))


def is_at_work(name: str) -> bool:
    return any(each.get_name() == name for each in asyncio.all_tasks())


def next_time_out_s(coroutine: str) -> float | None:
    """The loop's time at which the next time-out passes in the task of ``coroutine``."""
    loop: Any = asyncio.get_running_loop()
    found = []
    for handle in loop._scheduled:
        limit = getattr(handle._callback, "__self__", None)
        if isinstance(limit, asyncio.Timeout) and not handle.cancelled():
            task: asyncio.Task[Any] = limit._task  # type: ignore[attr-defined]
            if getattr(task.get_coro(), "__qualname__", "") == coroutine:
                found.append(handle.when())
    return min(found, default=None)
