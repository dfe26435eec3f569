"""What the boot tests do to a gateway and ask of it, whatever machine it runs on."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

TOKEN = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1"
STREAMS_WITHIN_S = 30.0

measured: list[str] = []
journals: dict[str, str] = {}
"""Lines for the end of the report, and the journal of one first boot for each suite."""

_SIMULATORS = """\
[Unit]
Description=Simulated modem, receiver and services
Before=ztpd.service

[Service]
Type=notify
ExecStart=/usr/bin/python3 /opt/simulators.py

[Install]
WantedBy=multi-user.target
"""


class Machine(Protocol):
    """A gateway that runs."""

    def run(self, script: str, *, check: bool = True, input: str = "") -> str: ...

    def ask(
        self, script: str, *, check: bool = False, input: str = ""
    ) -> subprocess.CompletedProcess[str]: ...

    def eventually(self, script: str, *, within_s: float = 60.0) -> float: ...


class Builder(Protocol):
    """A gateway that does not run yet."""

    def once(self, *command: str) -> str: ...


def equip(builder: Builder) -> None:
    """Put the simulators around a gateway."""
    builder.once("apt-get", "--quiet", "--yes", "install", "mosquitto", "python3-trustme")
    builder.once("systemctl", "disable", "mosquitto.service")
    script = f"""
        cp /payload/simulators.py /opt/
        cat >/etc/systemd/system/simulators.service <<'UNIT'\n{_SIMULATORS}UNIT
        systemctl enable simulators.service
    """
    builder.once("/bin/sh", "-euc", script)


def give_token(machine: Machine) -> None:
    machine.run("ztpd token set", input=f"{TOKEN}\n")


def streams(machine: Machine, *, within_s: float = STREAMS_WITHIN_S) -> float:
    """Wait until corrections flow and are used; the seconds that took."""
    return machine.eventually("ztpd status", within_s=within_s)


def calls(machine: Machine) -> int:
    """How often the provisioning service was ever called."""
    book = machine.run("cat /var/lib/simulators/book.json 2>/dev/null || echo '{}'")
    return int(json.loads(book).get("calls", 0))


def secrets(machine: Machine) -> list[str]:
    """Everything that may stand nowhere but in the credentials: also parts of the private key."""
    (thing,) = json.loads(machine.run("cat /var/lib/simulators/book.json"))["things"].values()
    given = thing["credentials"]
    key_lines = given["privateKey"].strip().splitlines()[1:-1]
    keys = [key["value"] for key in given["dynamickeys"].values()]
    return [TOKEN, *key_lines, *keys]


def status(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.run("ztpd status --json", check=False))
    return found


def unit(machine: Machine, name: str) -> str:
    """A property of the unit."""
    return machine.run(f"systemctl show ztpd.service --property={name} --value")


def journal(machine: Machine, *arguments: str) -> list[dict[str, Any]]:
    """The journal lines of the unit since boot."""
    text = machine.run(f"journalctl --boot --unit=ztpd --output=json {' '.join(arguments)}")
    return [json.loads(line) for line in text.splitlines()]


def events(machine: Machine) -> list[str]:
    return [line["ZTPD_EVENT"] for line in journal(machine) if "ZTPD_EVENT" in line]


def newer(deb: Path, into: Path) -> None:
    """The package of a later version, whose configuration file is another."""
    with tempfile.TemporaryDirectory() as directory:
        parts = Path(directory)
        subprocess.run(["dpkg-deb", "--raw-extract", deb, parts / "ztpd"], check=True)
        control, shipped = parts / "ztpd/DEBIAN/control", parts / "ztpd/etc/ztpd/ztpd.toml"
        text = control.read_text()
        version = next(line for line in text.splitlines() if line.startswith("Version: "))
        control.write_text(text.replace(version, f"{version}+later"))
        shipped.write_text(shipped.read_text() + "\n# a later version says more here\n")
        build = ["dpkg-deb", "--root-owner-group", "--build", str(parts / "ztpd"), str(into)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
