"""The clock that waits are measured by."""

from __future__ import annotations

import asyncio


def loop_time() -> float:
    """Seconds on the clock of the running event loop, which nobody sets."""
    return asyncio.get_running_loop().time()
