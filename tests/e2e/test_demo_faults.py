"""``ztpd demo --once`` under faults: each story ends in RTK fixed again.

The receiver's faults do not depend on the transport, and take long: the demonstration itself runs
two of them, and ``test_receiver_faults`` all in virtual time.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from ztpd.demo.faults import FAULTS, RECEIVER_FAULTS
from ztpd.sim.broker import find_mosquitto

pytestmark = pytest.mark.slow

ASKED_AGAIN_AFTER_A_MINUTE = {
    "wrong-token": "the provisioning service does not accept the token",
    "allowlist": "this gateway's IMEI is not on the profile's allowlist",
}
"""A call that a person asks for waits until a minute after the last one: too long for a test."""

LOGGED = {
    "busy-service": "warning: the provisioning service has an internal problem",
    "lost-answer": "warning: the provisioning service's answer was cut short",
}
"""Lines of the daemon's journal without which the fault was not there."""


OTHERS = FAULTS.keys() - RECEIVER_FAULTS.keys() - ASKED_AGAIN_AFTER_A_MINUTE.keys()
RUNS = [
    *((via, fault) for via in ("mqtt", "ntrip") for fault in OTHERS),
    ("mqtt", "receiver-unplugged"),
    ("ntrip", "generation-8"),
]


@pytest.mark.parametrize(("via", "fault"), sorted(RUNS))
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
    assert LOGGED.get(fault, "") in done.stdout


@pytest.mark.parametrize("fault", ASKED_AGAIN_AFTER_A_MINUTE)
def test_a_refusal_is_named_then_mended_and_a_retry_asked_for(fault: str) -> None:
    command = [sys.executable, "-m", "ztpd", "demo", "--fault", fault]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as demo:
        assert demo.stdout
        said = ""
        while "runs `ztpd retry`" not in said:
            line = demo.stdout.readline()
            assert line, said
            said += line
        demo.terminate()
        demo.stdout.read()
    assert f"ztpd has named it ({ASKED_AGAIN_AFTER_A_MINUTE[fault]}" in said
    assert "asked" in said.splitlines()[-1]
