"""The receiver's time, as ztpd-settime gets it from the daemon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time
from tests.support.until import until
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload
from ztpd.wire.ubx import NavPvt

AHEAD = datetime.now(UTC) + timedelta(days=3 * 365)
NO_SATELLITE = NavPvt(utc=AHEAD, fully_resolved=True)


@pytest.mark.parametrize(
    ("message", "ok"),
    [
        (NO_SATELLITE, False),
        (NO_SATELLITE._replace(fix_type=1, fix_ok=True), False),
        (NO_SATELLITE._replace(fix_type=3), False),
        (NO_SATELLITE._replace(confirmed_time=True), True),
        (NO_SATELLITE._replace(fix_type=3, fix_ok=True, satellites=12), True),
        (NO_SATELLITE._replace(fix_type=5, fix_ok=True, satellites=12), True),
        (NO_SATELLITE._replace(confirmed_time=True, fully_resolved=False), False),
    ],
    ids=["unconfirmed", "dead reckoning", "invalid", "confirmed", "fix", "time fix", "unresolved"],
)
@in_virtual_time
async def test_FR14_only_a_confirmed_time_or_that_of_a_fix_is_given(
    tmp_path: Path, message: NavPvt, ok: bool
) -> None:
    gateway = Gateway(tmp_path)
    gateway.configure(
        ztp={"token_file": tmp_path / "none", "splay_s": 0},
        identity={"source": "fixed", "hardware_id": "gw-1"},
    )
    async with gateway.receiver(speed=1.0) as sim, gateway.running() as daemon:
        await until(lambda: daemon.receiver.ready, 30)
        sim.faults.stuck = True
        sim.send(message.encode())
        await until(lambda: daemon.receiver.fix == message.to_fix(), 5)

        def ask() -> dict[str, Any]:
            return control.ask(gateway.runtime_dir, {"do": Verb.TIME})

        answer = await offload(ask)
    assert answer["ok"] is ok
    assert ("utc" in answer) is ok
