"""``ztpd demo --once`` under every fault: each story ends in RTK fixed again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ztpd.demo import FAULTS
from ztpd.sim.broker import find_mosquitto

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("via", ["mqtt", "ntrip"])
def test_the_demo_ends_in_rtk_fixed(via: str, fault: str) -> None:
    if via == "mqtt" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    command = ["-m", "ztpd", "demo", "--once", "--via", via, "--fault", fault]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "RTK fixed, by corrections that the receiver used" in done.stdout
    assert "internal error" not in done.stdout
