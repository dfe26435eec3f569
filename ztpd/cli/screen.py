"""How the verbs print: rows of a name and a text, errors with their advice, screens that stay."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from ztpd.errors import ZtpdError
from ztpd.sanitize import quoted

_LONGEST = 2000


def line(text: object) -> str:
    """``text`` as one line that a terminal can show: it may come from another program."""
    return quoted(str(text), _LONGEST)


def row(name: str, text: object, width: int = 12) -> str:
    """A line of a screen; "" where there is no ``text``."""
    return f"{name:>{width}}  {line(text)}\n" if text else ""


def joined(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def complain(error: ZtpdError) -> int:
    """Print ``error`` with its advice on standard error; its exit status."""
    print(f"ztpd: {line(error)}", file=sys.stderr)
    if error.advice:
        print(f"      {error.advice}", file=sys.stderr)
    return error.exit_status


def show(render: Callable[[], tuple[str, int]], *, again: bool, still: bool = True) -> int:
    """Print ``render``'s text, every second if ``again``; its exit status.

    ``still``: a terminal shows it at one place.
    """
    still = still and again and sys.stdout.isatty()
    while True:
        text, status = render()
        if still:
            text = "\033[H" + text.replace("\n", "\033[K\n") + "\033[J"  # no flicker
        print(text, end="", flush=True)
        if not again:
            return status
        time.sleep(1)
