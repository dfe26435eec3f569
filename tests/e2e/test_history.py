"""The whole daemon keeps its last 24 hours, and gives them away without being disturbed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clocks import Clocks
from tests.support.gateway import Gateway
from tests.support.memory import size_bytes
from tests.support.rover import rare_corrections, rover, streams
from tests.support.until import until
from tests.support.virtualtime import run
from ztpd.history import transfer
from ztpd.history.columns import EVERY_S, LENGTH
from ztpd.relay.metering import FILE
from ztpd.sim import corrections
from ztpd.sim.caster import Caster
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload
from ztpd.wire.ubx import Antenna, Jamming


async def rtcm() -> AsyncIterator[bytes]:
    pieces = corrections.coalesce(corrections.rtcm(random.Random(1)))
    async for piece in corrections.paced(pieces):
        yield piece.data


async def history(gateway: Gateway) -> transfer.HistoryData:
    def ask(request: dict[str, Any]) -> dict[str, Any]:
        return control.ask(gateway.runtime_dir, {"do": Verb.HISTORY} | request)

    return await offload(transfer.fetch, ask)


def configure(gateway: Gateway, caster: Caster) -> None:
    gateway.configure(
        ntrip={"host": "127.0.0.1", "port": caster.port, "mountpoint": "MP", "tls": False}
    )


def test_the_history_shows_fix_corrections_signals_and_an_outage(tmp_path: Path) -> None:
    async def scenario() -> None:
        gateway = Gateway(tmp_path)
        async with gateway.receiver() as sim:
            async with Caster({"MP": rtcm}) as caster:
                configure(gateway, caster)
                daemon = gateway.running()
                await daemon.__aenter__()
                await until(lambda: gateway.status.get("state") == "streaming", 60)
                await asyncio.sleep(300)
                before = await history(gateway)
                sim.faults.antenna = Antenna.OPEN
            await asyncio.sleep(120)  # the caster is gone
            after = await history(gateway)
            await daemon.__aexit__(None, None, None)

        steps = {b - a for a, b in zip(before.unix_s, before.unix_s[1:], strict=False)}
        assert steps <= {10.0}
        assert before.texts["fix"][-1] == "RTK fixed"
        assert before.texts["use"][-1] == "used"
        assert before.numbers["session"][-1] == 1
        assert before.texts["channel"][-1] == f"ntrip 127.0.0.1:{caster.port}"
        assert before.numbers["antenna"][-1] == Antenna.OK
        assert before.numbers["jamming"][-1] == Jamming.NONE
        assert (before.numbers["satellites"][-1] or 0) > 10
        assert before.numbers["accuracy_m"][-1] is not None
        assert sum(before.kinds["1077"][-6:]) in range(55, 66), "one a second"
        assert sum(before.numbers["bytes"][-6:]) > 60 * 100  # type: ignore[arg-type]
        assert (before.numbers["frame_age_s"][-1] or 0) < 2

        assert len(after) == len(before) + 12
        assert after.numbers["session"][-1] == 0
        assert after.texts["cause"][-1] != ""
        assert after.kinds["1077"][-1] == 0
        assert after.numbers["antenna"][-1] == Antenna.OPEN

    run(scenario())


def test_a_series_that_there_is_not_is_named(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        gateway = Gateway(tmp_path)
        async with gateway.receiver(), Caster({"MP": rtcm}) as caster:
            configure(gateway, caster)
            async with gateway.running():
                await asyncio.sleep(30)
                request = {"do": Verb.HISTORY, "column": "secrets", "until": "x"}
                answer = await offload(control.ask, gateway.runtime_dir, request)
                assert answer == {"ok": False, "error": "there is no series 'secrets'"}

    run(scenario())


HOUR_S = 3600
MOST_BYTES = 1 << 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_history_of_a_day_and_of_a_month_takes_less_than_a_mebibyte_and_no_write_to_the_card(
    tmp_path: Path,
) -> None:
    """A day of the whole daemon, then the samples of the month's other days, taken of it."""

    async def scenario() -> None:
        async with Caster({"MP": rare_corrections}) as caster:
            gateway = rover(tmp_path, caster, Clocks().clock, position_every_s=30)
            async with gateway.receiver() as receiver, gateway.running() as daemon:
                await streams(gateway)
                ring = daemon.observation.sampler.ring
                sizes, written = [], set[int]()
                for _ in range(25):
                    for _ in range(6):
                        await asyncio.sleep(HOUR_S / 6)
                        written |= {
                            path.stat().st_mtime_ns for path in gateway.state_dir.glob(FILE)
                        }
                    sizes.append(size_bytes(ring))
                    receiver.received.clear()
                    caster.ggas.clear()
                assert gateway.files() == {FILE: 0o600}, "the totals of bytes and hours alone"
                assert len(written) <= 25 + 1, "once an hour"
                assert ring.count == pytest.approx(25 * HOUR_S / EVERY_S, abs=10)
                assert sizes[-1] < MOST_BYTES
                assert sizes[-1] - sizes[-2] < 8192, "full after a day"

                card = writes(gateway)
                shown, progress = daemon.document(), daemon._activities.progress
                for _ in range(29 * LENGTH):
                    daemon.observation.update(shown, daemon.receiver, progress)
                assert writes(gateway) == card
                assert size_bytes(ring) <= sizes[-1] + 8192
                assert len(await history(gateway)) == LENGTH

    run(scenario())


def writes(gateway: Gateway) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in gateway.state_dir.iterdir()}
