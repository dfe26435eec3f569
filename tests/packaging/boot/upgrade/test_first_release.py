"""A gateway that was provisioned by 0.1.0 gets this version, goes back, and gets it again.

Its modem, its receiver and its services are simulated by this version's code at all times.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.conftest import tree
from tests.packaging.boot.container import Container
from tests.packaging.boot.upgrade.conftest import equip
from tests.packaging.boot.upgrade.kit import APT, KEEP, Kept, set_up_as_operator, settings_in_force
from ztpd import events

Layers = tuple[Path, ...]

OF_THIS_VERSION = """\
[[backup]]
host = "127.0.0.1"
port = 2101
mountpoint = "NEAR"
tls = false

[budget]
megabytes_per_month = 1000

[output]
udp = ["127.0.0.1:10110"]
"""


@pytest.fixture
def old_gateway(
    suite: str, place: Path, payload: Path, first_release: Path, world: None
) -> Container:
    """Switched off, without a token."""
    machine = Container([tree(suite, "boot") / "root"], place / "gateway", payload)
    machine.once(*APT, "install", f"/payload/{first_release.name}")
    equip(machine)
    return machine


def install(machine: Container, package: str) -> None:
    machine.run(f"{' '.join((*APT, *KEEP))} --allow-downgrades install /payload/{package}")
    bench.streams(machine, within_s=60)


def test_an_upgrade_from_the_first_release_and_the_way_back_lose_nothing(
    old_gateway: Container, suite: str
) -> None:
    lines = []
    with old_gateway as machine:
        set_up_as_operator(machine)
        bench.give_token(machine)
        bench.streams(machine)
        kept, settings = Kept.of(machine), settings_in_force(machine)
        lines.append(f"{version(machine)}: provisioned, {bench.calls(machine)} call, {kept}")

        install(machine, "ztpd.deb")
        lines.append(judged(machine, kept))
        assert settings <= settings_in_force(machine)
        assert machine.run("ztpd config check").endswith("all is well")
        assert machine.run("timeout 20 head --bytes=500 /run/ztpd/gnss | wc --bytes") == "500"
        bench.fixed(machine)

        # settings that 0.1.0 does not know
        machine.run("cat >/etc/ztpd/ztpd.toml.d/70-new.toml", input=OF_THIS_VERSION)
        machine.run("systemctl reload ztpd")
        bench.streams(machine)
        used_s = bench.status(machine)["traffic"]["month_session_s"]

        install(machine, "ztpd-0.1.0.deb")
        lines.append(judged(machine, kept))
        assert settings_in_force(machine) == settings
        assert events.UNKNOWN_KEY.name in bench.said(machine), "named, and ignored"

        install(machine, "ztpd.deb")
        lines.append(judged(machine, kept))
        assert settings <= settings_in_force(machine)
        assert bench.status(machine)["traffic"]["month_session_s"] >= int(used_s)

    with old_gateway as machine:  # a boot
        bench.streams(machine)
        lines.append(f"after a boot: {judged(machine, kept)}")
        told = bench.said(machine)
        assert events.TASK_DIED.name not in told
        assert events.ZTP_CALL.name not in told
    bench.measured.extend(f"{suite}: {line}" for line in lines)


def version(machine: Container) -> str:
    shown = machine.run("ztpd --version")
    assert re.fullmatch(r"ztpd [0-9.]+", shown)
    return shown


def judged(machine: Container, kept: Kept) -> str:
    """The line of the report; fails if something was lost."""
    assert Kept.of(machine) == kept
    assert bench.calls(machine) == 1
    assert bench.status(machine)["state"] == "streaming"
    return f"{version(machine)}: streaming, {bench.calls(machine)} call, the same files"
