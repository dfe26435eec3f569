"""Gateways install and upgrade from the signed repository, as docs/fleet.md says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container
from tests.packaging.boot.rollout import kit

Layers = tuple[Path, ...]
Publish = Callable[..., None]

# Debian's own lists are those of the tree: the machine has no network
UPDATE = "apt-get --quiet update -o Dir::Etc::SourceList=/dev/null -o APT::Get::List-Cleanup=0"


@pytest.fixture
def repository(publish: Publish, payload: Path) -> None:
    """The repository with one version in both suites."""
    shutil.rmtree(payload / "repository", ignore_errors=True)
    publish("put", "candidate", payload / "ztpd.deb")
    publish("promote")


@pytest.fixture
def machine(equipped: Layers, place: Path, payload: Path) -> Container:
    made = Container(equipped, place, payload)
    kit.serve_repository(made)
    return made


def take_from(machine: bench.Machine, suite: str) -> None:
    """The recipe of docs/fleet.md, with the address of the test's server."""
    machine.run(
        "mkdir -p /etc/apt/keyrings;"
        "cp /payload/repository/public/ztpd.asc /etc/apt/keyrings/ztpd.asc"
    )
    line = kit.documented("fleet.md", "/etc/apt/sources.list.d/ztpd.list")
    line = line.replace("https://packages.example", "http://127.0.0.1:8000")
    kit.write(machine, "/etc/apt/sources.list.d/ztpd.list", line.replace(" stable ", f" {suite} "))
    for file in ("/etc/apt/preferences.d/ztpd", "/etc/apt/apt.conf.d/52ztpd"):
        kit.write(machine, file, kit.documented("fleet.md", file))


def version(machine: bench.Machine) -> str:
    return machine.run("dpkg-query --showformat='${Version}' --show ztpd")


def nightly(machine: bench.Machine) -> None:
    """The two steps of apt-daily.timer and apt-daily-upgrade.timer."""
    machine.run(UPDATE)
    machine.run("unattended-upgrade --verbose")


def test_one_sources_line_installs_it_and_a_changed_file_is_refused(
    machine: Container, repository: None, payload: Path
) -> None:
    with machine:
        take_from(machine, "stable")
        machine.run(UPDATE)
        assert "127.0.0.1:8000" in machine.run("apt-cache policy ztpd")
        machine.run("apt-get --quiet --yes install ztpd")
        assert bench.unit(machine, "ActiveState") == "active"

        (release,) = (payload / "repository/public/dists/stable").glob("InRelease")
        release.write_text(release.read_text().replace("Suite: stable", "Suite: stabbe"))
        refused = machine.ask(f"{UPDATE} --error-on=any")
        assert refused.returncode != 0
        assert "signature" in refused.stdout.lower()


def test_a_version_goes_to_the_candidates_first_then_to_all_and_can_be_taken_back(
    machine: Container,
    repository: None,
    publish: Publish,
    place: Path,
    payload: Path,
    suite: str,
) -> None:
    """A provisioned gateway of each kind; none of the four changes of version makes a call."""

    def report(gateway: bench.Machine, step: str) -> None:
        counted = f"{version(gateway)}, {bench.calls(gateway)} provisioning call"
        bench.measured.append(f"{suite}: repository: {step}: {counted}")

    with machine:
        take_from(machine, "stable")
        machine.run(UPDATE)
        machine.run("apt-get --quiet --yes install ztpd")
    bench.equip(machine)
    with Container(machine.layers, place / "provisioned", payload) as provisioned:
        bench.give_token(provisioned)
        bench.streams(provisioned)
        old = version(provisioned)
        report(provisioned, "installed from stable")
    publish("put", "candidate", payload / "ztpd-newer.deb")

    with Container(provisioned.layers, place / "first", payload) as first:
        take_from(first, "candidate")
        nightly(first)
        assert version(first) == f"{old}+later"
        bench.streams(first)
        report(first, "candidate, unattended-upgrade")
        assert bench.calls(first) == 1

    with Container(provisioned.layers, place / "other", payload) as other:
        nightly(other)
        assert version(other) == old
        report(other, "stable, unattended-upgrade before it is promoted")
        publish("promote")
        nightly(other)
        assert version(other) == f"{old}+later"
        bench.streams(other)
        report(other, "stable, unattended-upgrade once it is promoted")

        publish("put", "stable", payload / "ztpd.deb")
        nightly(other)
        assert version(other) == old
        bench.streams(other)
        report(other, "stable, unattended-upgrade once it is taken back")
        assert bench.calls(other) == 1
