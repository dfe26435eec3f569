"""``python3 -m ztpd.cli.settime``: set a clock that shows a past date from the receiver, once.

For a gateway without clock chip and without NTP, which could otherwise not check a certificate:
such a clock starts in 1970, with the image's date, or with that of the last shutdown.
The opt-in unit ``ztpd-settime.service`` runs it with CAP_SYS_TIME only; the daemon, which alone has
the receiver's port, gives it the time and cannot set the clock.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ztpd import RELEASED_UNIX_S
from ztpd.errors import DaemonSilent, NotRunning
from ztpd.model import WEEK_S
from ztpd.system import control, directories
from ztpd.system.control import Verb
from ztpd.system.looptime import loop_time
from ztpd.system.offload import offload

_EVERY_S = 10.0
_LOOK_S = 60.0  # while nothing says that the clock is wrong
_AGREE_WITHIN_S = 2.0
_LATEST_UNIX_S = RELEASED_UNIX_S + 1024 * WEEK_S
"""A receiver that takes the week, which GPS sends modulo 1024, for one of the next era is later."""

Ask = Callable[[], dict[str, Any]]


def _set_clock(unix_s: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, unix_s)


async def run(
    ask: Ask,
    *,
    now: Callable[[], float] = time.time,
    set_clock: Callable[[float], None] = _set_clock,
) -> str:
    """The result, as a sentence; returns when the clock was set, or corrections flow by it.

    The clock is set while it shows a date before the release of this program, or the daemon says
    that the date keeps it from its work: forward only, when two answers that are seconds apart
    agree and are later than the release. Raises OSError where it may not be set.
    """
    offset_s: float | None = None  # of the receiver's time to the loop's, by the answer before
    while True:
        unix_s, clock = await _asked(ask)
        loop_s = loop_time()
        if clock == "right":
            return "corrections flow, so the clock is good enough: nothing to do"
        wrong = clock == "wrong" or now() < RELEASED_UNIX_S
        if unix_s is None or not max(RELEASED_UNIX_S, now()) <= unix_s < _LATEST_UNIX_S:
            offset_s = None
        elif offset_s is None or abs(unix_s - loop_s - offset_s) > _AGREE_WITHIN_S:
            offset_s = unix_s - loop_s
        elif wrong:
            set_clock(unix_s)
            return f"the clock is set to {unix_s:.0f} s by the GNSS receiver"
        await asyncio.sleep(_EVERY_S if wrong else _LOOK_S)


async def _asked(ask: Ask) -> tuple[float | None, str]:
    """The receiver's time in seconds since the Unix epoch, and the daemon's word for the clock.

    None while the receiver does not know the time, "" while there is no daemon that answers.
    """
    try:
        answer = await offload(ask)
    except (NotRunning, DaemonSilent):  # it starts, or ends just now
        return None, ""
    clock = str(answer.get("clock", ""))
    try:
        return datetime.fromisoformat(answer["utc"]).timestamp(), clock
    except (KeyError, TypeError, ValueError):
        return None, clock


def main(runtime_dir: Path | None = None) -> int:
    directory = runtime_dir or directories.runtime_dir({})  # the daemon's, not this unit's
    try:
        done = asyncio.run(run(lambda: control.ask(directory, {"do": Verb.TIME})))
    except OSError as error:
        print(f"ztpd-settime: the clock cannot be set: {error.strerror}", file=sys.stderr)
        return 1
    print(f"ztpd-settime: {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
