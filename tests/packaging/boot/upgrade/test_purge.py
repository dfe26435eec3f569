"""Installed, upgraded, removed, purged, installed again: each file of the machine is accounted for.

piuparts is Debian's program for this, and runs too where it is installed. Beside it: a gateway that
was in use, and a second life of the package.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.conftest import tree
from tests.packaging.boot.container import Container
from tests.packaging.boot.upgrade import inventory

Layers = tuple[Path, ...]

APT = ("apt-get", "--quiet", "--yes")
KEEP = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")

ACCOUNTS = {
    f"/etc/{name}{copy}" for name in ("passwd", "group", "shadow", "gshadow") for copy in ("", "-")
}
"""The user ztpd stays after a purge, as Debian's users do (docs/fleet.md)."""

OF_A_REMOVED_PACKAGE = (
    "/etc/ztpd",
    "/var/lib/dpkg/info/ztpd.",
    "/var/lib/ztpd",
    # debhelper's memory of enabled units: they are enabled as before when it is installed again
    "/etc/systemd/system/multi-user.target.wants/ztpd.service",
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/lib/systemd/deb-systemd-helper-masked",
)


def path_of(difference: str) -> str:
    return difference.split(" ", 1)[1]


@pytest.fixture(scope="module")
def ready(suite: str, top: Path, payload: Path) -> Layers:
    """All that the package and its simulators need, without the package."""
    machine = Container([tree(suite, "boot") / "root"], top / f"{suite}-ready", payload)
    depends = subprocess.run(
        ["dpkg-deb", "--field", payload / "ztpd.deb", "Depends"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    names = [word.split(":")[0].split()[0] for word in depends.stdout.split(", ")]
    machine.once(*APT, "install", *names)
    bench.equip(machine)
    return machine.layers


def users(machine: Container, *, booted: bool = False) -> set[str]:
    script = "getent passwd; getent group"
    said = machine.run(script) if booted else machine.once("/bin/sh", "-euc", script)
    return {line.strip() for line in said.splitlines() if line.count(":") >= 3}


def test_an_image_is_as_before_after_every_purge(
    ready: Layers, place: Path, payload: Path, suite: str
) -> None:
    """Without a running systemd, as a builder of images works."""
    image = Container(ready, place, payload)
    before, users_before = inventory.of_image(image), users(image)

    image.once(*APT, "install", "/payload/ztpd.deb")
    installed = inventory.of_image(image)
    image.once(*APT, *KEEP, "install", "/payload/ztpd-newer.deb")
    upgraded = inventory.of_image(image)
    of_an_upgrade = [path_of(line) for line in inventory.differences(installed, upgraded)]
    assert [path for path in of_an_upgrade if not path.startswith("/var/lib/dpkg/info/ztpd.")] == [
        "/etc/ztpd/ztpd.toml"
    ]

    image.once(*APT, "remove", "ztpd")
    removed = inventory.differences(before, inventory.of_image(image))
    kept = {path for path in map(path_of, removed) if path not in ACCOUNTS}
    assert "/etc/ztpd/ztpd.toml" in kept, "settings outlive a removal"
    assert [path for path in kept if not path.startswith(OF_A_REMOVED_PACKAGE)] == []

    image.once(*APT, "purge", "ztpd")
    purged = inventory.differences(before, inventory.of_image(image))
    assert {path_of(line) for line in purged} <= ACCOUNTS
    new_users = {line.split(":")[0] for line in users(image) - users_before}
    assert new_users <= {"ztpd", "dialout"}

    image.once(*APT, "install", "/payload/ztpd.deb")
    again = inventory.differences(installed, inventory.of_image(image))
    assert {path_of(line) for line in again} <= ACCOUNTS, "a second life is as the first one"
    users_now = users(image)
    image.once(*APT, "purge", "ztpd")
    assert users(image) == users_now, "the user keeps its number"
    bench.measured.append(
        f"{suite}: install, upgrade, remove, purge, install, purge of an image: of {len(before)} "
        f"files {len(purged)} changed: {' '.join(sorted(map(path_of, purged)))}"
    )


def test_a_gateway_that_was_in_use_is_as_before_after_a_purge(
    ready: Layers, place: Path, payload: Path, suite: str
) -> None:
    """With a token, credentials, settings, a node exporter's link, and the units that a person
    enables."""
    with Container(ready, place, payload) as machine:
        before = inventory.of_machine(machine)
        machine.run(f"{' '.join(APT)} install /payload/ztpd.deb")
        machine.run("systemctl restart simulators.service; systemctl restart ztpd.service")
        bench.give_token(machine)
        bench.streams(machine)
        machine.run("systemctl enable --now ztpd-forget-token.path")
        machine.run("systemctl enable ztpd-settime.service")
        machine.run("printf '[log]\\nlevel = \"debug\"\\n' >/etc/ztpd/ztpd.toml.d/60-ours.toml")
        machine.run("mkdir -p /var/lib/prometheus/node-exporter")
        machine.run("ln -s /run/ztpd/metrics.prom /var/lib/prometheus/node-exporter/ztpd.prom")
        machine.run(f"{' '.join((*APT, *KEEP))} install /payload/ztpd-newer.deb")
        bench.streams(machine)
        assert bench.calls(machine) == 1

        machine.run("systemctl stop simulators.service")
        machine.run(f"{' '.join(APT)} purge ztpd")

        after = inventory.of_machine(machine)
        units = machine.run("systemctl list-units --all --full --no-legend 'ztpd*'").splitlines()
        loaded = [line for line in units if " not-found " not in line]  # named by another unit
        failed = machine.run("systemctl list-units --failed --no-legend")
        run = machine.run("find /sys/fs/cgroup /run -name '*ztpd*'")
    left = inventory.differences(before, after)
    ours = {"/var/lib/prometheus", "/var/lib/prometheus/node-exporter"}
    assert {path_of(line) for line in left} - ours <= ACCOUNTS, left
    assert (loaded, failed) == ([], "")
    assert run == ""
    bench.measured.append(f"{suite}: purge of a gateway in use: {len(left)} of {len(before)} files")


def test_piuparts_has_nothing_to_say(suite: str, place: Path, deb: Path) -> None:
    if shutil.which("piuparts") is None:
        pytest.skip("piuparts is not installed")
    place.mkdir()
    done = subprocess.run(
        [
            "piuparts",
            f"--existing-chroot={tree(suite, 'boot') / 'root'}",
            f"--distribution={suite}",
            "--keep-sources-list",
            "--no-eatmydata",
            "--ignore-regex=/var/cache/debconf/tmp.*",  # debconf's, for the questions of others
            f"--tmpdir={place}",
            deb,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    (passed,) = re.findall(r"^(\S+) INFO: PASS: All tests", done.stdout, re.MULTILINE)
    bench.measured.append(f"{suite}: piuparts: PASS: All tests, after {passed}")
