"""How often the relay connects to a caster that misbehaves; ``python -m tests.support.politeness``
writes the table of docs/faults.md."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from tests.support.ntrip_bench import FIX, FRAMES, endpoint
from tests.support.relay_bench import DispatchLog, Receiver
from tests.support.virtualtime import run
from ztpd.model import Fix, SourceEndpoint
from ztpd.relay import Relay
from ztpd.sim.caster import Caster
from ztpd.sim.caster_answers import FAULTS
from ztpd.sources import Session
from ztpd.sources.casters import CasterVersions, GgaPolicy
from ztpd.sources.ntrip import NtripSession

BAN = 1000
"""Failed connections in a row. RTK2go's page on bans calls one a second for an hour or two abuse,
and hundreds without a success in between the threshold, which is the operator's to set."""

SERVED = frozenset(
    {
        "bad-crc",
        "noise",
        "nmea-between",
        "no-accept",
        "no-version",
        "gp-only",
        "loose-head",
        "raw-chunks",
    }
    | {"version-1-400", "version-1-reset", "table-for-password", "gga-first"}
)
"""Faults of :data:`FAULTS` through which corrections flow: one connection for good."""

_HOURS = 24
_PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \| .* \| (\d+) \| (\d+) \|$", re.MULTILINE)


class Asked(NamedTuple):
    """Connections made in the first hour, and in each later hour."""

    first: int
    later: float
    most_failed_in_a_row: int


async def _frames() -> AsyncIterator[bytes]:
    while True:
        yield FRAMES[0]
        await asyncio.sleep(5)


async def _asked(fault: str) -> Asked:
    async with Caster({"NEAR-RTCM": _frames}, fault=fault, ban=BAN) as caster:
        gga, versions = GgaPolicy(), CasterVersions()

        def position() -> Fix:
            return FIX

        def open_it(_: SourceEndpoint) -> AbstractAsyncContextManager[Session]:
            mine = endpoint(caster.port)
            return NtripSession(mine, position=position, gga=gga, versions=versions)

        relay = Relay(
            [endpoint(caster.port)],
            Receiver(fix=FIX),
            open_session=open_it,
            dispatch=DispatchLog(),
            rng=random.Random(3),
        )
        began_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_HOURS * 3600):
                await relay.run()
        except TimeoutError:
            pass
        first = sum(at_s - began_s <= 3600 for at_s in caster.connected_s)
        later = (caster.connections - first) / (_HOURS - 1)
        return Asked(first, later, caster.most_failed_in_a_row)


def asked(fault: str) -> Asked:
    """24 hours of ``fault``, in virtual time."""
    return run(_asked(fault))


def faults() -> list[str]:
    return [fault for fault in FAULTS if fault not in SERVED]


def listed() -> dict[str, tuple[int, int]]:
    """The page's rows: fault, connections in the first hour and in each later one."""
    rows = _ROW.findall(_PAGE.read_text())
    return {name: (int(first), int(later)) for name, first, later in rows}


def main() -> None:
    rows = []
    for fault in faults():
        found = asked(fault)
        rows.append(f"| `{fault}` | {FAULTS[fault]} | {found.first} | {round(found.later)} |")
    text = _PAGE.read_text()
    head = "| caster | behaviour | first hour | each later hour |\n| --- | --- | --- | --- |\n"
    begin = text.index(head) + len(head)
    end = text.index("\n\n", begin)
    _PAGE.write_text(text[:begin] + "\n".join(rows) + text[end:])


if __name__ == "__main__":
    main()
