"""The daemon's last ten minutes for a screen: asked for when there is a new sample."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ztpd.cli import sparklines
from ztpd.cli.screen import row
from ztpd.cli.sparklines import BarGlyphs, Series
from ztpd.errors import DaemonSilent, NotPermitted, NotRunning
from ztpd.history import transfer
from ztpd.history.columns import EVERY_S
from ztpd.system import control, directories
from ztpd.system.control import Verb

_WITHIN_S = 2.0  # for each answer
_MARGIN_S = 0.5  # after the next sample


class Recent:
    """Small lines of the running daemon's history, in the glyphs of this terminal."""

    def __init__(self, glyphs: BarGlyphs, *, colour: bool) -> None:
        self._glyphs, self._colour = glyphs, colour
        self._pid = 0
        self._ask_at_s = 0.0
        self._series: Sequence[Series] = ()
        self._problem = ""

    def text(self, pid: int, columns: int) -> str:
        """The lines of the daemon ``pid``, or why there are none."""
        if pid != self._pid or time.monotonic() >= self._ask_at_s:
            self._pid, self._problem = pid, ""
            self._ask_at_s = time.monotonic() + EVERY_S
            try:
                self._ask()
            except NotPermitted:
                self._problem = "root sees it: `sudo ztpd status --watch`"
            except (NotRunning, DaemonSilent):
                self._problem = "the daemon does not answer"
        if self._problem:
            return "\n" + row("last 10 min", self._problem)
        drawn = sparklines.lines(self._series, columns, self._glyphs, colour=self._colour)
        return "\n" + drawn

    def _ask(self) -> None:
        directory = directories.runtime_dir()

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            return control.ask(directory, {"do": Verb.HISTORY} | request, timeout_s=_WITHIN_S)

        found = transfer.fetch(ask, only=sparklines.COLUMNS, last=sparklines.SAMPLES + 1)
        unix_s = time.time()
        self._series = sparklines.recent(found, unix_s)
        if len(found):
            until_next_s = EVERY_S - (unix_s - found.unix_s[-1]) + _MARGIN_S
            self._ask_at_s = time.monotonic() + min(max(until_next_s, 1.0), EVERY_S)
