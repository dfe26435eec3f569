"""How the verbs print: rows of a name and a text, errors with their advice, screens that stay."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from ztpd.cli.livepage import LivePage, can_show_page
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


class Shown(NamedTuple):
    """A screen, and the exit status that goes with it."""

    text: str
    exit_status: int
    below: str = ""  # the part that a small terminal keeps


def show(render: Callable[[], Shown], *, again: bool, still: bool = True) -> int:
    """Print ``render``'s text, every second if ``again``; its exit status.

    ``still``: a terminal shows it at one place.
    """
    shown = render()
    if again and still and can_show_page(sys.stdout):
        with LivePage(sys.stdout) as page:
            while True:
                page.draw(shown.text, shown.below)
                page.wait(1.0)
                shown = render()
    print(shown.text + shown.below, end="", flush=True)
    while again:
        time.sleep(1)
        shown = render()
        print(("\n" if still else "") + shown.text + shown.below, end="", flush=True)
    return shown.exit_status
