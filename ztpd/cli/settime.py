"""``python3 -m ztpd.cli.settime``: set a clock that lies in the past from the receiver, once.

For a gateway without clock chip and without NTP, which could otherwise not check a certificate.
The opt-in unit ``ztpd-settime.service`` runs it with CAP_SYS_TIME and nothing else; the daemon,
which alone talks to the receiver, tells it the time and cannot set the clock itself.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ztpd import RELEASED_UNIX_S, config
from ztpd.errors import NotRunning
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

_EVERY_S = 10.0
_AGREE_WITHIN_S = 2.0
_LATEST_UNIX_S = RELEASED_UNIX_S + 20 * 365 * 86_400  # a receiver that has lost its week count

Ask = Callable[[], dict[str, Any]]


def _set_clock(unix_s: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, unix_s)


async def run(
    ask: Ask,
    *,
    now: Callable[[], float] = time.time,
    set_clock: Callable[[float], None] = _set_clock,
) -> str:
    """What was done, in words; returns as soon as the clock does not lie in the past any more.

    The clock is set, forward only, when two answers that are seconds apart agree and are later
    than the release of this program. Raises OSError where it may not be set.
    """
    offset_s: float | None = None  # of the receiver's time to the loop's, by the answer before
    while now() < RELEASED_UNIX_S:
        unix_s, loop_s = await _receiver_time(ask), asyncio.get_running_loop().time()
        if unix_s is None or not RELEASED_UNIX_S <= unix_s < _LATEST_UNIX_S:
            offset_s = None
        elif offset_s is None or abs(unix_s - loop_s - offset_s) > _AGREE_WITHIN_S:
            offset_s = unix_s - loop_s
        elif now() < RELEASED_UNIX_S:  # nobody else has set it meanwhile
            set_clock(unix_s)
            return f"the clock is set to {unix_s:.0f} s by the GNSS receiver"
        await asyncio.sleep(_EVERY_S)
    return "the clock is later than this program: nothing to do"


async def _receiver_time(ask: Ask) -> float | None:
    """Seconds since the Unix epoch; None while the receiver, or the daemon, cannot tell."""
    try:
        answer = await offload(ask)
        return datetime.fromisoformat(answer["utc"]).timestamp()
    except (NotRunning, KeyError, TypeError, ValueError):
        return None


def main(runtime_dir: Path | None = None) -> int:
    directory = runtime_dir or config.runtime_dir({})  # the daemon's, not this unit's
    try:
        done = asyncio.run(run(lambda: control.ask(directory, {"do": Verb.TIME})))
    except OSError as error:
        print(f"ztpd-settime: the clock cannot be set: {error.strerror}", file=sys.stderr)
        return 1
    print(f"ztpd-settime: {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
