"""Waiting for a condition, in real or virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], within_s: float = 20.0) -> float:
    """Seconds until ``condition`` held. Fails after ``within_s``.

    The pauses between two looks grow with the time waited, so that hours of virtual time take
    few of them.
    """
    now = asyncio.get_running_loop().time
    began_s = now()
    while not condition():
        waited_s = now() - began_s
        assert waited_s < within_s, f"not within {within_s} s"
        await asyncio.sleep(max(0.02, min(waited_s / 50, within_s / 200)))
    return now() - began_s
