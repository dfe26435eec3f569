"""Images and first boots: cloud-init, pi-gen's stage, rpi-image-gen's layer, two roots in turn."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container
from tests.packaging.boot.rollout import kit

Layers = tuple[Path, ...]

FIRST_BOOT = kit.TOP / "packaging/first-boot"


@pytest.fixture
def user_data(payload: Path, publish: Callable[..., None]) -> str:
    """packaging/first-boot/user-data with address, key and token of the test."""
    shutil.rmtree(payload / "repository", ignore_errors=True)
    publish("put", "stable", payload / "ztpd.deb")
    text = (FIRST_BOOT / "user-data").read_text()
    begin, end = text.index("        -----BEGIN"), text.index("  - path: /etc/ztpd/token")
    key = textwrap.indent((payload / "repository/public/ztpd.asc").read_text(), " " * 8)
    text = f"{text[:begin]}{key}{text[end:]}"
    text = text.replace("https://packages.example", "http://127.0.0.1:8000")
    text = text.replace("00000000-0000-4000-8000-000000000000", bench.TOKEN)
    (payload / "user-data").write_text(text)
    return text


def test_a_gateway_installs_itself_with_cloud_init_and_streams(
    equipped: Layers, place: Path, payload: Path, user_data: str, suite: str
) -> None:
    machine = Container(equipped, place, payload)
    kit.serve_repository(machine)
    machine.once("apt-get", "--quiet", "--yes", "install", "cloud-init")
    bench.equip(machine)
    said = machine.once("cloud-init", "schema", "--config-file", "/payload/user-data")
    assert "Valid" in said
    machine.once(
        "/bin/sh",
        "-euc",
        "systemctl disable simulators.service;"
        "seed=/var/lib/cloud/seed/nocloud; mkdir -p $seed; cp /payload/user-data $seed/;"
        "echo 'instance-id: gateway' >$seed/meta-data",
    )

    with machine:
        machine.eventually("cloud-init status | grep -q '^status: [de]'", within_s=300)
        machine.run("test -x /usr/bin/ztpd || { cat /var/log/cloud-init-output.log; false; }")
        assert bench.unit(machine, "ActiveState") == "active"
        assert machine.run("stat --format='%a %U' /etc/ztpd/token") == "600 root"
        assert "spring-2027" in machine.run("ztpd config show | grep tags")
        machine.run("systemctl start simulators.service; systemctl restart ztpd.service")
        bench.streams(machine)
        assert bench.calls(machine) == 1
        assert bench.TOKEN not in machine.run("cat /var/log/cloud-init*.log")
    bench.measured.append(f"{suite}: installed by cloud-init, streams")


def flaws(machine: Container) -> list[str]:
    """The problems that `ztpd image-check` finds in the machine's own root."""
    said = machine.once("/bin/sh", "-c", "ztpd image-check / || true")
    assert "ztpd is installed" in said
    return [line for line in said.splitlines() if line.startswith("problem")]


def test_the_stage_of_pi_gen_makes_a_whole_image(
    equipped: Layers, place: Path, payload: Path
) -> None:
    """The stage's own script in a root of Debian, with pi-gen's `on_chroot`."""
    stage = payload / "stage-ztpd"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(FIRST_BOOT / "pi-gen/stage-ztpd", stage)
    files = stage / "00-ztpd/files"
    shutil.copy(payload / "ztpd.deb", files / "ztpd_0_all.deb")
    (files / "token").write_text(f"{bench.TOKEN}\n")
    (files / "60-rollout.toml").write_text('[ztp]\ntags = ["stage"]\n')
    machine = Container(equipped, place, payload)

    machine.once(
        "/bin/bash",
        "-euc",
        "on_chroot() { bash -e; }; export -f on_chroot; export ROOTFS_DIR=;"
        "cd /payload/stage-ztpd/00-ztpd; ./00-run.sh",
    )

    assert flaws(machine) == []
    assert "stage" in machine.once("/bin/sh", "-c", "ztpd config show | grep tags")


def test_the_layer_of_rpi_image_gen_makes_a_whole_image(
    equipped: Layers, place: Path, payload: Path
) -> None:
    """The layer's hooks in a root of Debian, as mmdebstrap runs them."""
    layer = yaml.safe_load((FIRST_BOOT / "rpi-image-gen/layer/ztpd.yaml").read_text())
    source = payload / "image-source"
    shutil.rmtree(source, ignore_errors=True)
    (source / "pkgs").mkdir(parents=True)
    (source / "ztpd").mkdir()
    shutil.copy(payload / "ztpd.deb", source / "pkgs/ztpd_0_all.deb")
    (source / "ztpd/token").write_text(f"{bench.TOKEN}\n")
    (source / "ztpd/60-rollout.toml").write_text('[ztp]\ntags = ["layer"]\n')
    machine = Container(equipped, place, payload)

    for hook in layer["mmdebstrap"]["customize-hooks"]:
        machine.once("/bin/sh", "-c", f"cd /payload/image-source; {hook}", "sh", "/")

    assert flaws(machine) == []
    assert "layer" in machine.once("/bin/sh", "-c", "ztpd config show | grep tags")
    shared = machine.once("/bin/cat", "/etc/rpi-image-gen/slot-shared.d/ztpd.conf")
    assert "Path=/var/lib/ztpd\n" in shared


def test_the_other_root_of_an_update_makes_no_provisioning_call(
    equipped: Layers, place: Path, payload: Path, suite: str
) -> None:
    """Two roots with one data partition; in the second one the daemon's user has another number."""
    image = Container(equipped, place / "image", payload)
    image.once("apt-get", "--quiet", "--yes", "install", "/payload/ztpd.deb")
    bench.equip(image)
    data = {place / "data/ztpd": "/var/lib/ztpd", place / "data/world": "/var/lib/simulators"}
    for folder in data:
        folder.mkdir(parents=True, mode=0o700)

    with Container(image.layers, place / "a", payload, data) as first:
        bench.give_token(first)
        bench.streams(first)
        assert bench.calls(first) == 1

    other = Container(image.layers, place / "b", payload, data)
    other.once("/bin/sh", "-euc", f"usermod --uid 4711 ztpd; echo {bench.TOKEN} >/etc/ztpd/token")
    with other as second:
        bench.streams(second)
        assert bench.calls(second) == 1
        assert second.run("stat --format=%u /var/lib/ztpd/credentials.json") == "4711"
    bench.measured.append(f"{suite}: other root, same data partition: no provisioning call")
