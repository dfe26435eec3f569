"""Other users at a port, played by the test's own process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tests.support import virtualtime


def finish_threads() -> None:
    """Wait for calls that were given up."""
    for thread in virtualtime.offloaded_calls():
        thread.join(5)


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
