"""An event loop on which hours pass in milliseconds.

Timers fire in their order without waiting: when nothing else can run, the loop's clock jumps to
the next timer. Bytes in the pipes, ptys and loopback sockets of this process are seen before a
jump, and calls in threads are waited for, with the programs that they run.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
_LOOK_S = 0.003
_LOOKS = 500
"""For one call in a thread: one that hangs is waited for 1.5 s in all. Looks at a thread, or at its
program, that waits for the processor or the disk do not count: the machine is busy."""
_MORE_LOOKS = 10  # between two at its program, which take 10 ms each


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
                if looks == _LOOKS and is_program_busy(call):
                    looks -= _MORE_LOOKS
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
    """Whether the kernel has nothing to do for it."""
    return _state_of(Path(f"/proc/self/task/{thread.native_id}"))[0] not in _BUSY


def is_program_busy(thread: threading.Thread) -> bool:
    """Whether it waits for a program for which the kernel has something to do."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame and frame.f_code.co_filename != subprocess.__file__:
        frame = frame.f_back
    if frame is None:
        return False
    states = [_state_of(process) for process in Path("/proc").glob("[0-9]*")]
    return any(parent == os.getpid() and state in _BUSY for state, parent in states)


_BUSY = ("R", "D", "")  # the last one: it has ended


def _state_of(task: Path) -> tuple[str, int]:
    """Its state, and the process that started it: proc(5)."""
    try:
        stat = (task / "stat").read_text()
    except OSError:  # it has ended
        return "", 0
    state, parent = stat.rpartition(")")[2].split()[:2]
    return state, int(parent)


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
