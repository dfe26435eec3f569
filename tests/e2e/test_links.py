"""The figures promised for bad links, for both transports: whole daemons, real time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import links
from bench.sources import Via
from ztpd.sim.broker import find_mosquitto

pytestmark = pytest.mark.slow

VIAS = [
    "ntrip",
    pytest.param(
        "mqtt",
        marks=pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed"),
    ),
]


@pytest.mark.parametrize("via", VIAS)
async def test_corrections_flow_again_within_1500_ms_after_an_outage(
    tmp_path: Path, via: Via
) -> None:
    found = await links.repeated(links.outage, via, tmp_path, gateways=20, rounds=2)

    assert len(found) == 40
    assert links.within(found, 1.5) >= 95, sorted(found)[-5:]


@pytest.mark.parametrize("via", VIAS)
async def test_a_silent_link_is_noticed_within_20_s(tmp_path: Path, via: Via) -> None:
    found = await links.repeated(links.silence, via, tmp_path, gateways=20, rounds=2)

    assert len(found) == 40
    assert links.within(found, 20) >= 95, sorted(found)[-5:]


@pytest.mark.parametrize("via", VIAS)
async def test_messages_on_a_line_that_is_too_slow_are_younger_than_6_s(
    tmp_path: Path, via: Via
) -> None:
    found = await links.overload(via, tmp_path, for_s=40)

    assert found.oldest_s < 6
    assert found.damaged_bytes == 0, "whole frames only"
    assert found.bytes_per_s > 3500, "the line is used to the full"
