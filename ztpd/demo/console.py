"""The output of the demonstration: one picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from ztpd.demo.picture import ASCII, UNICODE, Line, Picture, Style
from ztpd.status import Status

_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"  # its own page, without cursor
_HOME, _REST_OF_LINE, _REST = "\033[H", "\033[K", "\033[J"
_COLOURS = {
    Style.DIM: "2",
    Style.BOLD: "1",
    Style.DONE: "32",
    Style.BUSY: "36",
    Style.WARNING: "33",
    Style.ERROR: "31",
}
_IN_PICTURE = ("ztpd", "demo")  # the simulators' own words would fill it


class Console:
    """Plain lines, each with its time: for a pipe, a log, a terminal without colours."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):  # a terminal of another encoding than UTF-8
            stream.reconfigure(errors="replace")
        self._began_s = time.monotonic()
        self.on_closed_output: Callable[[], object] = lambda: None  # after the output was closed

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_s

    def teller(self, actor: str) -> Callable[[str], None]:
        """Print a message of a simulator, which may begin with its own name."""
        return lambda text: self.tell(
            actor, text.removeprefix(f"{actor}: ").removeprefix(f"{actor} ")
        )

    def tell(self, actor: str, text: str) -> None:
        self._write(f"{self.now_s:6.1f} s  {actor:<9} {text}\n")

    def name_commands(self, commands: tuple[str, ...]) -> None:
        """The commands that show this daemon from a second terminal."""
        for command in commands:
            self.tell("demo", f"in a second terminal: {command}")

    def name_fault(self, about: str) -> None:
        self.tell("demo", f"fault: {about}")

    def show(self, seen: Status) -> None:
        """The daemon's present status."""

    def redraw(self) -> None:
        """The terminal has another size."""

    def pause(self) -> None:
        """Give the terminal back until the next :meth:`redraw`."""

    def close(self) -> None:
        """Give the terminal back; lines may follow."""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # the reader of the pipe ended, or the terminal was closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self.on_closed_output()


class LiveConsole(Console):
    """One picture that fills in place, on a page of its own: a resize spoils nothing."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._picture = Picture(UNICODE if _has_unicode(stream) else ASCII)
        self._entered = self._closed = False

    def tell(self, actor: str, text: str) -> None:
        if self._closed:
            super().tell(actor, text)
        elif actor in _IN_PICTURE:
            self._picture.log(self.now_s, actor, text)
            self.redraw()

    def name_commands(self, commands: tuple[str, ...]) -> None:
        self._picture.commands = commands

    def name_fault(self, about: str) -> None:
        self._picture.fault = about

    def show(self, seen: Status) -> None:
        self._picture.show(seen)
        self.redraw()

    def redraw(self) -> None:
        if self._closed:
            return
        begin = _HOME if self._entered else _ENTER + _HOME
        self._entered = True
        width, height = self._size()
        drawn = self._picture.lines(width, height, self.now_s)
        text = (_REST_OF_LINE + "\r\n").join(map(coloured, drawn))
        self._write(begin + text + _REST_OF_LINE + _REST)

    def pause(self) -> None:
        if self._entered and not self._closed:
            self._entered = False
            self._write(_LEAVE)

    def close(self) -> None:
        if self._entered and not self._closed:
            width, _ = self._size()
            last = self._picture.summary(width, self.now_s)
            self._write(_LEAVE + "".join(f"{coloured(line)}\n" for line in last) + "\n")
        self._closed = True

    def _size(self) -> tuple[int, int]:
        """Without the last column: a terminal may wrap behind it."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return 79, 24
        return max(size.columns - 1, 1) if size.columns else 79, size.lines or 24


def coloured(line: Line) -> str:
    """``line`` with the terminal's colours (ECMA-48 SGR)."""
    return "".join(
        f"\033[{_COLOURS[style]}m{text}\033[0m" if style in _COLOURS else text
        for text, style in line
    )


def open_console(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Console:
    """A picture where ``stream`` is a terminal that can show it, else plain lines."""
    is_plain = environ.get("NO_COLOR") or environ.get("TERM", "dumb") in ("", "dumb")
    return Console(stream) if is_plain or not stream.isatty() else LiveConsole(stream)


def _has_unicode(stream: TextIO) -> bool:
    try:
        "✓▁│→…".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
