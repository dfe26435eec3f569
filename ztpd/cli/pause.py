"""``ztpd pause``, ``resume`` and ``retry``: requests to the running daemon."""

from __future__ import annotations

import argparse

from ztpd.cli.screen import line
from ztpd.system import control, directories
from ztpd.system.control import Verb


def pause(_: argparse.Namespace) -> int:
    return _ask(Verb.PAUSE)


def resume(_: argparse.Namespace) -> int:
    return _ask(Verb.RESUME)


def retry(_: argparse.Namespace) -> int:
    """End its present wait."""
    return _ask(Verb.RETRY)


def _ask(verb: Verb) -> int:
    answer = control.ask(directories.runtime_dir(), {"do": verb})
    print(line(answer.get("text") or f"ztpd: {answer.get('error')}"))
    return 0 if answer.get("ok") else 1
