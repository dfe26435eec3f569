"""Blocking calls in threads, one for each call, which end with it.

The loop's executor would keep its threads, and wait at exit for a call that hangs (some serial
drivers take half a minute to open).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def offload(function: Callable[..., T], *args: object, timeout_s: float | None = None) -> T:
    """The result of ``function(*args)``, run in a short-lived daemon thread.

    Raises the function's exceptions, and TimeoutError after ``timeout_s``; the call then goes on
    and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = function(*args)
        except BaseException as caught:  # noqa: BLE001 - raised by the await below
            error = caught
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop has closed
            return

    threading.Thread(target=work, name=f"ztpd-{function.__name__}", daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await done
