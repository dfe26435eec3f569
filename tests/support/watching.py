"""A command on a real terminal, whose screen a test reads, while virtual time stands still."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.terminal import Screen

_PAGE_ENDS = b"\033[J"
_UTF_8 = {"LANG": "C.UTF-8", "TERM": "xterm-256color"}


class Terminal:
    """``python -m ztpd`` with ``words`` as the foreground of a pseudo-terminal."""

    def __init__(
        self,
        *words: str | Path,
        environ: Mapping[str, str],
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._device, self.host = os.openpty()
        self.screen = Screen(columns, rows)
        self.written = b""
        self.resize(columns, rows)
        self.modes = termios.tcgetattr(self.host)
        kept = ("LANG", "LC_", "NO_COLOR", "TERM", "PYTHONIOENCODING", "PYTHONUTF8", "COLUMNS")
        inherited = {k: text for k, text in os.environ.items() if not k.startswith(kept)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ztpd", *words],
            env=inherited | _UTF_8 | dict(environ),
            stdin=self.host,
            stdout=self.host,
            stderr=self.host,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # signals come by its keys
        )
        os.set_blocking(self._device, False)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._device, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(columns, rows)

    def press(self, key: str) -> None:
        """A key with Ctrl."""
        os.write(self._device, bytes([ord(key.upper()) - 64]))

    def read(self) -> None:
        """Take what was written; of a page that has begun, all of it."""
        for _ in range(20):
            with contextlib.suppress(OSError):
                while data := os.read(self._device, 65536):
                    self.written += data
                    self.screen.feed(data)
            if not self.screen.on_own_page or self.written.endswith(_PAGE_ENDS):
                return
            time.sleep(0.01)

    @property
    def text(self) -> str:
        self.read()
        return self.screen.text

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.host)
        os.close(self._device)


@contextlib.contextmanager
def on_terminal(*words: str | Path, **options: Any) -> Iterator[Terminal]:
    terminal = Terminal(*words, **options)
    try:
        yield terminal
    finally:
        terminal.close()


async def frozen(condition: Callable[[], object], *, within_s: float = 20.0) -> None:
    """Wait until ``condition`` holds: in real time, while the virtual clock stands still and the
    loop answers other programs."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, condition
        await asyncio.sleep(0)
        time.sleep(0.002)
