"""How background tasks are ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest

from tests.support.virtualtime import run
from ztpd.system.tasks import cancel, end


async def test_tasks_have_ended_when_this_returns() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(0)
    await end(*tasks)
    assert all(task.cancelled() for task in tasks)
    assert len(cleaned) == 3


async def test_there_may_be_nothing_to_end() -> None:
    await end()


def test_a_task_that_does_not_end_is_waited_for_no_longer_than_the_limit() -> None:
    async def stubborn(over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    async def main() -> float:
        over = asyncio.Event()
        task = asyncio.create_task(stubborn(over))
        await asyncio.sleep(0)
        await end(task, within_s=4)
        took_s = asyncio.get_running_loop().time()
        assert not task.done()
        over.set()
        await task
        return took_s

    assert run(main()) == 4


async def test_a_task_exception_is_not_reported_as_never_retrieved() -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def work() -> None:
        raise OSError("no longer of interest")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end(task)
    del task
    gc.collect()
    assert not reported


async def test_a_cancellation_of_the_caller_is_not_swallowed() -> None:
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end(task))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await asyncio.wait([task])


def test_a_time_out_at_the_same_moment_does_not_take_the_cancellation_for_its_own() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        times_out_s = loop.create_future()

        async def reads_again_and_again() -> None:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.5) as limit:
                        if not times_out_s.done():
                            times_out_s.set_result(limit.when())
                        await loop.create_future()

        task = asyncio.create_task(reads_again_and_again())
        loop.call_at(await times_out_s, cancel, task)  # in the same turn, behind the time-out
        await asyncio.wait([task], timeout=60)
        assert task.cancelled()

    run(scenario())
