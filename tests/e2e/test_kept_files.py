"""The whole daemon: odd contents of the files it keeps, and a clock that is set meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support import virtualtime
from tests.support.clocks import Clocks
from tests.support.services import services, state
from tests.support.until import until

ODD: dict[str, Any] = {
    "400 digits": 10**400,
    "deep nesting": eval("[" * 80 + "]" * 80),
    "not a number": float("nan"),
    "infinite": float("inf"),
    "negative": -1e300,
    "null": None,
    "text": "\x1b[2J" * 100,
}
FILES = ("ztp-schedule.json", "refused.json", "sessions.json")


def spoiled(value: Any, odd: Any) -> Any:
    """``value`` with ``odd`` in place of each number, and of each list but the marks."""
    if isinstance(value, dict):
        return {key: each if key == "marks" else spoiled(each, odd) for key, each in value.items()}
    return odd if isinstance(value, (int, float, list)) else value


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_FR119_a_daemon_with_odd_contents_of_its_files_streams(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        async with services(tmp_path, speed=1.0) as (gateway, service, caster):
            gateway.clock = Clocks().clock
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", 60)
                caster.fault = "unauthorized"
                caster.end_sessions()
                await until(lambda: (gateway.state_dir / "refused.json").exists(), 3600)
            caster.fault = ""
            for file in FILES:
                path = gateway.top / ("run" if file == "sessions.json" else "state") / file
                path.write_text(json.dumps(spoiled(json.loads(path.read_text()), ODD[name])))
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", 60)
            assert service.requests == 1

    virtualtime.run(scenario())
    assert "task.died" not in [getattr(each, "ZTPD_EVENT", "") for each in caplog.records]


@pytest.mark.slow
def test_FR117_a_clock_that_is_set_during_refusals_brings_no_call_before_the_hour(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with services(tmp_path, speed=1.0) as (gateway, service, caster):
            clocks = Clocks()
            gateway.clock = clocks.clock
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", 60)
            clocks.reboot(off_for_s=2 * 86_400)
            clocks.off_s = -7200.0
            caster.fault = "unauthorized"
            async with gateway.running():
                await until(lambda: state(gateway) == "blocked", 60)
                await asyncio.sleep(600)
                clocks.off_s = 0.0
                await asyncio.sleep(2700)
                assert service.requests == 1, "55 minutes are no hour"
                await until(lambda: service.requests == 2, 3600)

    virtualtime.run(scenario())
