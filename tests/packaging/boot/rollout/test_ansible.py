"""The role of packaging/ansible on a gateway that runs: twice, then removal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container
from tests.packaging.boot.rollout import kit

ANSIBLE = kit.TOP / "packaging/ansible"
PROGRAMS = kit.TOP / ".venv-ansible/bin"

DEPENDENCIES = (
    "ca-certificates procps python3-aiohttp python3-paho-mqtt python3-serial python3-systemd"
    " python3-tenacity"
)


def ansible(program: str, *arguments: str | Path, cwd: Path = ANSIBLE) -> str:
    done = subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=cwd,
        env=os.environ
        | {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
            "ANSIBLE_NOCOLOR": "1",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        },
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


class Controller:
    """Runs the role on a container, with the connection plug-in that enters its namespaces."""

    def __init__(self, machine: Container, place: Path, vault: dict[str, str]) -> None:
        self._machine = machine
        self._place = place
        place.mkdir(parents=True)
        (place / "password").write_text("secret of the test\n")
        (place / "vault.yml").write_text(json.dumps(vault))
        ansible(
            "ansible-vault", "encrypt", "--vault-password-file=password", "vault.yml", cwd=place
        )

    def play(self, **variables: Any) -> dict[str, int]:
        """The counts of the last line, as {"ok": 12, "changed": 0, ...}."""
        place = self._place
        host = {
            "ansible_become": False,
            "ansible_connection": "community.docker.nsenter",
            "ansible_nsenter_pid": self._machine.leader,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ztpd_token": "{{ vault_ztpd_token }}",
            **variables,
        }
        inventory = {"gateways": {"hosts": {"gateway": host}}}
        (place / "inventory.yml").write_text(json.dumps(inventory))
        self.output = ansible(
            "ansible-playbook",
            "--inventory=inventory.yml",
            "--extra-vars=@vault.yml",
            "--vault-password-file=password",
            "-vv",
            ANSIBLE / "site.yml",
            cwd=place,
        )
        (counts,) = re.findall(r"^gateway +: (.*)$", self.output, re.MULTILINE)
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)}


@pytest.fixture
def gateway(
    equipped: tuple[Path, ...], place: Path, payload: Path, publish: Callable[..., None]
) -> Iterator[Container]:
    """Simulated devices and services, a repository, and no ztpd; APT knows no other source."""
    shutil.rmtree(payload / "repository", ignore_errors=True)
    publish("put", "stable", payload / "ztpd.deb")
    machine = Container(equipped, place / "machine", payload)
    kit.serve_repository(machine)
    machine.once("apt-get", "--quiet", "--yes", "install", *DEPENDENCIES.split())
    bench.equip(machine)
    machine.once(
        "/bin/sh",
        "-euc",
        "systemctl disable simulators.service;"
        "find /etc/apt -name '*.list' -o -name '*.sources' | xargs rm; rm -rf /var/lib/apt/lists/*",
    )
    with machine:
        yield machine


def recap(counts: dict[str, int]) -> str:
    return " ".join(f"{name}={count}" for name, count in counts.items())


def test_ansible_lint_has_nothing_to_say() -> None:
    ansible("ansible-lint", "--offline", "--profile=production", ".")


def test_a_second_run_changes_nothing_and_removal_leaves_the_secrets_until_a_purge(
    gateway: Container, place: Path, suite: str, payload: Path
) -> None:
    controller = Controller(gateway, place / "controller", {"vault_ztpd_token": bench.TOKEN})
    settings: dict[str, Any] = {
        "ztpd_repository_url": "http://127.0.0.1:8000",
        "ztpd_repository_key": str(payload / "repository/public/ztpd.asc"),
        "ztpd_tags": ["tractor", "spring-2027"],
        "ztpd_unit_settings": {"50-memory": "[Service]\nMemoryMax=200M\n"},
        "ztpd_check": False,
    }
    first = controller.play(**settings)
    bench.measured.append(f"{suite}: ansible, first run: {recap(first)}")
    assert gateway.run("stat --format='%a %U' /etc/ztpd/token") == "600 root"
    assert gateway.run("cat /etc/ztpd/token") == bench.TOKEN
    assert bench.TOKEN not in controller.output
    assert '"spring-2027"' in gateway.run("ztpd config show | grep tags")
    assert bench.unit(gateway, "MemoryMax") == str(200 * 1024 * 1024)

    gateway.run("systemctl start simulators.service; systemctl restart ztpd.service")
    bench.streams(gateway)
    second = controller.play(**settings)
    assert second["changed"] == 0, controller.output
    assert bench.calls(gateway) == 1

    # a change is checked through the whole chain
    settings |= {"ztpd_check": True, "ztpd_settings": {"70-log": '[log]\nlevel = "debug"\n'}}
    third = controller.play(**settings)
    assert third["changed"] == 2, "the file, and the reload"
    assert "TASK [ztpd : Set the facts]" in controller.output
    assert '"health": "healthy"' in controller.output or '"state": "streaming"' in controller.output
    fourth = controller.play(**settings)
    assert fourth["changed"] == 0

    from_file = settings | {"ztpd_install_from": "file", "ztpd_package": "/payload/none"}
    from_file["ztpd_package"] = str(payload / "ztpd-newer.deb")
    controller.play(**from_file)
    assert gateway.run("dpkg-query --showformat='${Version}' --show ztpd").endswith("+later")
    assert controller.play(**from_file)["changed"] == 0
    assert bench.calls(gateway) == 1

    controller.play(ztpd_state="absent")
    assert gateway.ask("test -e /etc/ztpd/token").returncode == 0
    assert gateway.ask("command -v ztpd").returncode != 0
    assert controller.play(ztpd_state="absent")["changed"] == 0
    controller.play(ztpd_state="absent", ztpd_purge=True)
    gateway.run("systemctl stop simulators.service")
    left = gateway.run(
        "find /etc /var/lib /var/cache -xdev -name '*ztpd*' -not -path '*/dpkg/*'"
        " -not -path '*/apt/archives/*'"
    )
    assert left == ""
    bench.measured.append(f"{suite}: ansible, second run: {recap(second)}")
