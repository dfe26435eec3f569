"""Background tasks of a daemon in the test's own event loop, by their names."""

from __future__ import annotations

import asyncio


def make_fail(name: str) -> None:
    """Let the future that the task ``name`` waits for fail with an unexpected error."""
    task = next(each for each in asyncio.all_tasks() if each.get_name() == name)
    waiting: asyncio.Future[object] = task._fut_waiter  # type: ignore[attr-defined]
    if isinstance(waiting, asyncio.Task):
        waiting = waiting._fut_waiter  # type: ignore[attr-defined]
    waiting.set_exception(ZeroDivisionError("injected"))


def is_at_work(name: str) -> bool:
    return any(each.get_name() == name for each in asyncio.all_tasks())
