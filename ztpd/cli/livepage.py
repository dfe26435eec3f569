"""A page of the terminal of its own, which is drawn anew each second, at any size."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TextIO

_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"  # without cursor
_HOME, _REST_OF_LINE, _REST = "\033[H", "\033[K", "\033[J"
_COLOURED = re.compile(r"\033\[[0-9;]*m(.*?)\033\[0m")
_LEAST_ABOVE = 8  # lines; with fewer, the part below gives way

_ENDS = {signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_WAITED_FOR = _ENDS | {signal.SIGWINCH, signal.SIGTSTP}


def can_show_page(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether ``stream`` is a terminal that can be drawn on."""
    return stream.isatty() and environ.get("TERM", "dumb") not in ("", "dumb")


def has_colours(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Unless the user wants none (no-color.org)."""
    return can_show_page(stream, environ) and not environ.get("NO_COLOR")


def has_blocks(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether block characters can be shown.

    The console of Linux has no font with all of them. Without a locale Python takes UTF-8 and
    says so in ``LC_CTYPE``, which is no word about the terminal.
    """
    lang = environ.get("LANG") or "C"
    ctype = environ.get("LC_CTYPE", "")
    is_assumed = ctype == "C.UTF-8" and lang in ("C", "POSIX")
    chosen = environ.get("LC_ALL") or (ctype if not is_assumed else "") or lang
    try:
        "▁█│".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return "utf" in chosen.lower() and environ.get("TERM") != "linux"


def width(stream: TextIO) -> int:
    """Columns that can be used: without a terminal's last one, behind which it may wrap."""
    return _size(stream)[0]


def _size(stream: TextIO) -> tuple[int, int]:
    columns, rows = 0, 0
    with suppress(OSError):  # no terminal
        columns, rows = os.get_terminal_size(stream.fileno())
    return max((columns or 80) - 1, 1), rows or 24


class LivePage:
    """Gives the terminal back in any case: at the end, by Ctrl-C, while Ctrl-Z has stopped the
    program, and for a signal that ends it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._mask: set[signal.Signals | int] = set()

    def __enter__(self) -> LivePage:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        self._write(_ENTER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # the terminal may be gone
            self._write(_LEAVE)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def draw(self, text: str, below: str = "") -> None:
        """``below`` is kept whole where not all of ``text`` has room, if that is possible."""
        lines = fitted(text, below, *_size(self._stream))
        drawn = (_REST_OF_LINE + "\r\n").join(lines)
        self._write(_HOME + drawn + _REST_OF_LINE + _REST)

    def wait(self, seconds: float) -> None:
        """Until the next drawing: sooner where the terminal has got another size."""
        found = signal.sigtimedwait(_WAITED_FOR, seconds)
        if found is None:
            return
        if found.si_signo in _ENDS:
            self.__exit__(None, None, None)
            signal.raise_signal(found.si_signo)
        elif found.si_signo == signal.SIGTSTP:
            self._write(_LEAVE)
            os.kill(os.getpid(), signal.SIGSTOP)
            self._write(_ENTER)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def fitted(text: str, below: str, columns: int, rows: int) -> list[str]:
    """The lines of both parts, wrapped and cut to a page."""
    above = [part for line in text.splitlines() for part in _wrapped(line, columns)]
    lower = [part for line in below.splitlines() for part in _wrapped(line, columns)]
    if len(above) + len(lower) <= rows:
        return above + lower
    if rows - len(lower) - 1 < _LEAST_ABOVE:
        above, lower = above + lower, []
    room = max(rows - len(lower) - 1, 0)
    hidden = f"... {len(above) - room} more lines in a larger terminal"
    return [*above[:room], hidden[:columns], *lower]


def _wrapped(line: str, columns: int) -> Iterator[str]:
    """``line`` in pieces, those after the first below its text."""
    plain, coloured = _COLOURED.sub(r"\1", line), _COLOURED.search(line)
    if len(plain) <= columns:
        yield line
        return
    indent = _indent(plain)
    indent = indent if indent <= columns // 2 else 0
    while len(plain) > columns:
        at = plain.rfind(" ", indent + 1, columns + 1)
        at = at if at > 0 and plain[:at].strip() else columns
        piece, plain = plain[:at].rstrip(), " " * indent + plain[at:].lstrip()
        yield piece.replace(coloured[1], coloured[0], 1) if coloured else piece
        coloured = None
    yield plain


def _indent(line: str) -> int:
    """Where the text of a row begins, behind its name."""
    text = line.lstrip()
    name, gap, _ = text.partition("  ")
    return len(line) - len(text) + (len(name + gap) if gap and len(name) <= 14 else 0)
