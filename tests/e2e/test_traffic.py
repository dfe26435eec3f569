"""The whole daemon in virtual time: bytes and hours of its sessions, over power cuts."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.clocks import Clocks
from tests.support.gateway import Gateway
from tests.support.rover import FRAME, FRAME_EVERY_S, rare_corrections, rover, streams
from tests.support.services import services
from tests.support.virtualtime import run
from ztpd.relay.metering import FILE
from ztpd.sim.caster import Caster

HOUR_S = 3600.0


def traffic(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = gateway.status["traffic"]
    return found


def test_the_status_counts_by_month_day_and_channel_and_a_restart_goes_on(
    memory_path: Path,
) -> None:
    clocks = Clocks.mid_month()

    async def scenario() -> None:
        budget = {"megabytes_per_month": 1000, "hours_per_month": 730}
        async with Caster({"MP": rare_corrections}) as caster:
            gateway = rover(memory_path, caster, clocks.clock, budget=budget)
            async with gateway.receiver(wall_clock=clocks.utc):
                for end_s in (300.0, 600.0):
                    async with gateway.running():
                        await streams(gateway)
                        await asyncio.sleep(300.0)
                    month_s = traffic(gateway)["month_session_s"]
                    assert month_s == pytest.approx(end_s, abs=15)
        found = traffic(gateway)
        assert (found["limit_megabytes"], found["limit_hours"]) == (1000, 730)
        payload = len(FRAME) * 600.0 / FRAME_EVERY_S
        assert payload * 1.05 < found["month_bytes"] < payload * 1.5, "headers and GGA beside"
        (channel,) = found["channels"]
        assert channel["name"] == f"ntrip 127.0.0.1:{caster.port}"
        assert channel["month_bytes"] == found["month_bytes"]
        assert (gateway.state_dir / FILE).stat().st_mode & 0o777 == 0o600

    run(scenario())


def test_tls_and_its_handshake_count(memory_path: Path) -> None:
    async def scenario() -> None:
        async with services(memory_path) as (gateway, _, _), gateway.running():
            await streams(gateway)
            await asyncio.sleep(25)
            shown = gateway.status
        assert shown["traffic"]["month_bytes"] > 1.2 * shown["source"]["bytes"] + 2000

    run(scenario())


async def _cut(top: Path, times: int, longest_s: float) -> list[tuple[float, float]]:
    """The session's seconds, and those that are left of it, after each power cut."""
    dice, clocks = random.Random(19), Clocks.mid_month()
    found: list[tuple[float, float]] = []
    async with Caster({"MP": rare_corrections}) as caster:
        gateway = rover(top, caster, clocks.clock)
        kept, before_s = top / "kept", 0.0
        async with gateway.receiver(wall_clock=clocks.utc) as receiver:
            for _ in range(times):
                async with gateway.running() as daemon:
                    await streams(gateway)
                    await asyncio.sleep(dice.uniform(60.0, longest_s))
                    await daemon._disk.written()
                    now_s = traffic(gateway)["month_session_s"]
                    shutil.copytree(gateway.state_dir, kept)  # what the disk holds at this moment
                shutil.rmtree(gateway.state_dir)
                kept.rename(gateway.state_dir)
                clocks.reboot(off_for_s=20.0)
                receiver.power_cycle()
                file = gateway.state_dir / FILE
                stored = json.loads(file.read_bytes()) if file.exists() else {"days": {}}
                left_s = sum(
                    channel["session_s"]
                    for channels in stored["days"].values()
                    for channel in channels.values()
                )
                found.append((now_s - before_s, left_s - before_s))
                before_s = left_s
    return found


def _table(cuts: list[tuple[float, float]]) -> str:
    rows = ["cut  session  in the file  lost (minutes)"]
    for number, (on_s, left_s) in enumerate(cuts, 1):
        lost_s = on_s - left_s
        rows.append(f"{number:3}  {on_s / 60:7.1f}  {left_s / 60:11.1f}  {lost_s / 60:4.1f}")
    on_s, left_s = (sum(column) for column in zip(*cuts, strict=True))
    most_s = max(on_s - left_s for on_s, left_s in cuts)
    rows.append(f"all  {on_s / 60:7.1f}  {left_s / 60:11.1f}  {(on_s - left_s) / 60:4.1f}")
    return "\n".join([*rows, f"the most that one cut lost: {most_s / 60:.1f} minutes"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_power_cuts_lose_an_hour_each_at_most(memory_path: Path) -> None:
    cuts = run(_cut(memory_path, 20, 3 * HOUR_S))
    print(_table(cuts))
    assert [each for each in cuts if not 0.0 <= each[0] - each[1] <= HOUR_S] == []
    assert sum(left_s for _, left_s in cuts) > 0.4 * sum(on_s for on_s, _ in cuts)


@pytest.mark.slow
def test_P15_streaming_writes_the_card_once_an_hour(memory_path: Path) -> None:
    async def scenario() -> None:
        async with Caster({"MP": rare_corrections}) as caster:
            gateway = rover(memory_path, caster, Clocks().clock)
            async with gateway.receiver(), gateway.running():
                await streams(gateway)
                seen: set[int] = set()
                for _ in range(60):
                    await asyncio.sleep(120)
                    if (gateway.state_dir / FILE).exists():
                        seen.add((gateway.state_dir / FILE).stat().st_mtime_ns)
                assert gateway.files() == {FILE: 0o600}
                assert len(seen) in (1, 2), "two hours"

    run(scenario())
