"""An event loop on which hours pass in milliseconds.

Timers fire in their order without waiting: when nothing else can run, the loop's clock jumps to
the next timer. Bytes in the pipes, ptys and loopback sockets of this process are seen before a
jump, and calls in threads are waited for.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
_LOOK_S = 0.003
_LOOKS = 500
"""For one call in a thread: one that hangs is waited for 1.5 s in all. Looks at a thread that waits
for the processor or the disk do not count: the machine is busy."""


class _Selector(selectors.PollSelector):
    """poll(2), unlike epoll(7), makes the kernel move the bytes that a pty holds, so virtual time
    does not overtake them on a busy machine."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._looks: WeakKeyDictionary[threading.Thread, int] = WeakKeyDictionary()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        calls = offloaded_calls()  # before the look: one that ends after it has its result seen
        ready = super().select(0)
        if timeout <= 0:
            return ready
        for call in calls:
            looks = self._looks.get(call, 0)
            while not ready and call.is_alive() and looks < _LOOKS:
                ready, looks = super().select(_LOOK_S), looks + is_asleep(call)
            self._looks[call] = looks
        if calls and not ready:
            ready = super().select(0)
        if not ready:
            self.now_s += timeout
        return ready


def offloaded_calls() -> list[threading.Thread]:
    """The calls that the daemon has in threads now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("ztpd-")]


def is_asleep(thread: threading.Thread) -> bool:
    """Whether the kernel has nothing to do for it: proc(5), the state of a task."""
    try:
        stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
    except OSError:  # it has ended
        return False
    return stat.rpartition(")")[2].split()[0] not in ("R", "D")


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` starts at 0 and moves only by jumps."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Like :func:`asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
