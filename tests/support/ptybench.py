"""Virtual time for ptys, and other users at a port, played by the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import selectors
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.support import virtualtime

T = TypeVar("T")


def _threads() -> list[threading.Thread]:
    """The offloaded calls that run now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("ztpd-")]


def finish_threads() -> None:
    """Wait for calls that were given up."""
    for thread in _threads():
        thread.join(5)


class _PtyLoop(virtualtime.VirtualLoop):
    """Time does not run ahead of the kernel, however busy the machine is.

    A pty's bytes are moved by a kernel thread, some time later; poll(2), unlike epoll(7), has
    them moved at once. Calls in threads are waited for.
    """

    def __init__(self) -> None:
        super().__init__(grace_s=0)

    def _run_once(self) -> None:
        poll = select.poll()
        for key in (self._virtual.get_map() or {}).values():
            reads = select.POLLIN if key.events & selectors.EVENT_READ else 0
            writes = select.POLLOUT if key.events & selectors.EVENT_WRITE else 0
            poll.register(key.fd, reads | writes)
        if not poll.poll(0) and not self._ready:  # type: ignore[attr-defined]
            for thread in _threads():
                thread.join(0.8)  # one that hangs is not waited for very long
        super()._run_once()  # type: ignore[misc]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """In virtual time, for a coroutine that waits for ptys, timers and threads only."""
    with asyncio.Runner(loop_factory=_PtyLoop) as runner:
        return runner.run(coroutine)


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Become the user nobody for a while: permissions and TIOCEXCL do not bind root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def another_user(path: str | Path, *, locks: bool = False) -> Iterator[int]:
    """A descriptor of another program that opened the port before ztpd."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        if locks:
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)
