"""Debian 12 becomes Debian 13 below a gateway that is provisioned and streams."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.conftest import tree
from tests.packaging.boot.container import Container
from tests.packaging.boot.upgrade.conftest import equip
from tests.packaging.boot.upgrade.kit import APT, KEEP, Kept, set_up_as_operator, settings_in_force
from ztpd import events

SWITCH = "sed -i 's/bookworm/trixie/g' /etc/apt/sources.list"
BYTE_CODE = "/usr/lib/python3/dist-packages/ztpd/__pycache__"
OFFLINE = ("--no-download", "-o", "APT::Get::List-Cleanup=0")


@pytest.fixture(scope="module")
def switched_off(top: Path, payload: Path, world: None) -> Container:
    """A provisioned gateway on Debian 12, with the packages of Debian 13 at hand."""
    machine = Container([tree("bookworm", "boot") / "root"], top / "full-upgrade", payload)
    machine.once(*APT, "install", "/payload/ztpd.deb")
    equip(machine)
    with machine:
        set_up_as_operator(machine)
        bench.give_token(machine)
        bench.streams(machine)
    script = f"""
        cp /etc/apt/sources.list /root/
        {SWITCH}
        apt-get --quiet --yes -o APT::Get::List-Cleanup=0 update
        apt-get --quiet --yes --download-only full-upgrade
        cp /root/sources.list /etc/apt/
    """
    machine.once("/bin/sh", "-euc", script, online=True)
    return machine


def test_a_gateway_streams_through_an_upgrade_of_debian_and_makes_no_call(
    switched_off: Container,
) -> None:
    apt = f"DEBIAN_FRONTEND=noninteractive {' '.join((*APT, *KEEP, *OFFLINE))}"
    lines: list[str] = []

    def judge(when: str, kept: Kept, calls: int = 1) -> None:
        bench.streams(machine, within_s=60)
        assert Kept.of(machine) == kept
        assert settings_in_force(machine) == settings
        assert bench.calls(machine) == calls
        assert events.TASK_DIED.name not in bench.said(machine)
        lines.append(
            f"{when}: Debian {machine.run('cat /etc/debian_version')}, "
            f"{machine.run('python3 --version')}, daemon on {interpreter(machine)}, streaming, "
            f"{calls} call{'s' * (calls > 1)}, files and settings as before"
        )

    with switched_off as machine:
        bench.streams(machine)
        first, settings = Kept.of(machine), settings_in_force(machine)
        judge("before", first)
        daemon = bench.unit(machine, "MainPID")

        machine.run(SWITCH)
        began = time.monotonic()
        machine.run(f"{apt} upgrade --without-new-pkgs")
        judge("apt upgrade --without-new-pkgs", first)
        machine.run(f"{apt} full-upgrade")
        took_s = time.monotonic() - began
        assert machine.run("cat /etc/debian_version").startswith("13")
        judge("apt full-upgrade", first)
        (minor,) = re.findall(r"Python 3\.(\d+)", machine.run("python3 --version"))
        assert bench.unit(machine, "MainPID") != daemon
        assert interpreter(machine) == f"python3.{minor}"
        assert machine.run(f"ls {BYTE_CODE}/lifecycle.cpython-3{minor}.pyc")
        machine.run(f"{apt} --purge autoremove")
        judge("apt autoremove", first)
        assert machine.run("dpkg --audit") == ""

        # what only a call loads is there
        machine.run("ztpd provision --force --wait")
        second = Kept.of(machine)
        judge("a call that a person asked for", second, calls=2)

    with switched_off as machine:
        judge("after a boot", second, calls=2)
        assert events.ZTP_CALL.name not in bench.said(machine)
    bench.measured.append(f"bookworm to trixie in {took_s:.0f} s")
    bench.measured.extend(lines)


def interpreter(machine: Container) -> str:
    """Of the daemon's process."""
    pid = bench.unit(machine, "MainPID")
    path = machine.run(f"readlink /proc/{pid}/exe")
    return path.removeprefix("/usr/bin/")
