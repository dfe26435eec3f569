"""An event loop on which hours pass in milliseconds.

Timers fire in their order without waiting: when nothing else can run, the loop's clock jumps to
the next timer. Before a jump the loop looks for I/O for a moment of real time, so pipes, ptys
and loopback sockets inside one process keep working.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
GRACE_S = 0.002


class _Selector(selectors.PollSelector):
    """Each poll looks at every file again, and a look at a pty makes the kernel deliver pending
    bytes, so that virtual time does not overtake them on a busy machine."""

    def __init__(self, grace_s: float) -> None:
        super().__init__()
        self._grace_s = grace_s
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        if timeout <= 0:
            return super().select(0)
        ready = super().select(min(timeout, self._grace_s))
        for _ in range(30):
            if ready or not _offloaded_calls():
                break
            ready = super().select(min(timeout, 0.003))
        if not ready:
            self.now_s += timeout
        return ready


def _offloaded_calls() -> bool:
    """Whether a thread is at work for the loop; one that hangs is not waited for very long."""
    return any(thread.name.startswith("ztpd-") for thread in threading.enumerate())


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` starts at 0 and moves only by jumps."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._virtual = _Selector(grace_s)
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def run(coroutine: Coroutine[Any, Any, T], *, grace_s: float = GRACE_S) -> T:
    """Like :func:`asyncio.run`, in virtual time; ``grace_s`` is 0 where there is no I/O."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(grace_s)) as runner:
        return runner.run(coroutine)
