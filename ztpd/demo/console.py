"""The screen of the demonstration."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from typing import TextIO


class Console:
    """Prints each step on a line; on a terminal it updates the last line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began_s = time.monotonic()
        self._living = stream.isatty()
        self._shown = False
        self.on_closed_output: Callable[[], object] = lambda: None  # after the output was closed

    def teller(self, who: str) -> Callable[[str], None]:
        """Print a message of a simulator, which may begin with its own name."""
        return lambda what: self.tell(who, what.removeprefix(f"{who}: ").removeprefix(f"{who} "))

    def tell(self, who: str, what: str) -> None:
        seconds = time.monotonic() - self._began_s
        try:
            self._clear()
            print(f"{seconds:6.1f} s  {who:<9} {what}", file=self._stream, flush=True)
        except OSError:  # the reader of the pipe ended, or the terminal was closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self.on_closed_output()

    def live(self, what: str) -> None:
        if self._living:
            self._clear()
            width = shutil.get_terminal_size().columns - 1
            print(f"\033[2m{what[:width]}\033[0m", end="", file=self._stream, flush=True)
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=self._stream)
            self._shown = False
