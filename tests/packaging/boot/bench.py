"""Actions and queries of the boot tests on a gateway, in a container or in QEMU."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from ztpd import events

TOKEN = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1"
STREAMS_WITHIN_S = 30.0

measured: list[str] = []
journals: dict[str, str] = {}
"""Lines for the end of the report, and the journal of one first boot for each suite."""

_UNIT_STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"  # message ids of systemd
_UNIT_STARTED = "39f53479d3a045ac8e11786248231fbf"

_BOOK = "/var/lib/simulators/book.json"
_FAULT = "/var/lib/simulators/fault"

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


def last_words(machine: Machine) -> str:
    """The last journal lines of the unit and its surroundings, for the report of a failed test."""
    units = "--unit=ztpd --unit=ztpd-settime --unit=simulators --unit=plug"
    return machine.run(f"journalctl --boot --no-hostname {units} | tail -n 40", check=False)


def equip(builder: Builder) -> None:
    """Put the simulators around a gateway."""
    builder.once("apt-get", "--quiet", "--yes", "install", "mosquitto", "python3-trustme")
    builder.once("systemctl", "disable", "mosquitto.service")
    script = f"""
        cp /payload/simulators.py /opt/
        mkdir --mode=700 /var/lib/simulators
        cat >/etc/systemd/system/simulators.service <<'UNIT'\n{_SIMULATORS}UNIT
        systemctl enable simulators.service
    """
    builder.once("/bin/sh", "-euc", script)


_BOARD = """\
[Unit]
Description=Serial number in the device tree
Before=ztpd.service

[Service]
Type=oneshot
ExecStart=/bin/sh -euc 'mount -o remount,rw /sys; d=/sys/firmware/devicetree/base; mkdir -p $d; \
    cp /etc/board-number $d/serial-number'

[Install]
WantedBy=multi-user.target
"""


def put_on_board(builder: Builder, serial: str, *, imei: str = "") -> None:
    """Let the gateway be on the board ``serial`` from its next boot on, with a modem ``imei``."""
    script = f"""
        echo {serial} >/etc/board-number
        cat >/etc/systemd/system/board.service <<'UNIT'\n{_BOARD}UNIT
        systemctl enable board.service
        [ -z "{imei}" ] || echo {imei} >/var/lib/simulators/imei
    """
    builder.once("/bin/sh", "-euc", script)


def put_on_uart(builder: Builder) -> None:
    """Let the receiver be on a UART, with a parser that holds half a frame as real ones do."""
    builder.once("/bin/sh", "-euc", "touch /var/lib/simulators/uart")


_RESTARTS = """\
import json, random, subprocess, time

def is_ready():
    try:
        with open("/run/ztpd/status.json") as file:
            return json.load(file)["receiver"]["ready"]
    except (OSError, ValueError, KeyError):
        return False

dice = random.Random(80)
for _ in range({times}):
    time.sleep(dice.uniform(0, 2))
    subprocess.run(["systemctl", "stop", "ztpd"], check=True)
    subprocess.run(["rm", "-f", "/run/ztpd/status.json"], check=True)
    subprocess.run(["systemctl", "start", "ztpd"], check=True)
    began = time.monotonic()
    while not is_ready() and time.monotonic() - began < 60:
        time.sleep(0.05)
    print(round(time.monotonic() - began, 2))
"""


def restart_at_random(machine: Machine, times: int) -> list[float]:
    """Stop and start the unit at random moments; each time the seconds from its READY=1 until its
    receiver has answered and is configured."""
    shown = machine.run("python3 -", input=_RESTARTS.format(times=times))
    return [float(line) for line in shown.split()]


def from_now_on(machine: Machine, fault: str) -> None:
    """Set the fault of every provisioning call; "" for a normal answer."""
    machine.run(f"echo {fault} >{_FAULT}; sync {_FAULT}; sleep 1")


def give_token(machine: Machine) -> None:
    machine.run("ztpd token set", input=f"{TOKEN}\n")


def streams(machine: Machine, *, within_s: float = STREAMS_WITHIN_S) -> float:
    """Wait until corrections flow and are used; the seconds that took."""
    return machine.eventually("ztpd status", within_s=within_s)


def fixed(machine: Machine) -> float:
    """Wait until the receiver has reached the best there is; the seconds that took."""
    return machine.eventually("ztpd status | grep -q 'RTK fixed'", within_s=STREAMS_WITHIN_S)


def upgrade(machine: Machine) -> None:
    """Install the later version as an administrator does who keeps his configuration."""
    options = "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
    machine.run(f"apt-get --quiet --yes {options} install /payload/ztpd-newer.deb")


def calls(machine: Machine) -> int:
    """How often the provisioning service was ever called."""
    book = machine.run(f"cat {_BOOK} 2>/dev/null || echo '{{}}'")
    return int(json.loads(book).get("calls", 0))


def called(machine: Machine, count: int, *, within_s: float) -> None:
    """Wait until the provisioning service was called so often."""
    machine.eventually(f"grep -q '\"calls\": {count},' {_BOOK}", within_s=within_s)


def things(machine: Machine) -> dict[str, Any]:
    """The Things that the service has made."""
    book = json.loads(machine.run(f"cat {_BOOK}"))
    made: dict[str, Any] = book["things"]
    return made


def secrets(machine: Machine) -> list[str]:
    """Everything that may stand nowhere but in the credentials: also parts of the private key."""
    (thing,) = things(machine).values()
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
    only = " ".join(arguments)
    text = machine.run(
        "journalctl --sync 2>/dev/null || true;"  # a file that is just growing is left out
        f"journalctl --boot --unit=ztpd --output=json {only} 2>/dev/null"
    )
    return [json.loads(line) for line in text.splitlines()]


def said(machine: Machine) -> list[str]:
    """The names of the events of the unit since boot."""
    return [line["ZTPD_EVENT"] for line in journal(machine) if "ZTPD_EVENT" in line]


def reported(machine: Machine) -> str:
    """The journal of the unit since boot, as a person reads it."""
    return machine.run("journalctl --boot --unit=ztpd --output=short-precise --no-hostname")


def story(machine: Machine) -> str:
    """How long each step took, from the start of the unit."""
    steps = {
        "READY": ("MESSAGE_ID", _UNIT_STARTED),
        "provisioned": ("ZTPD_EVENT", events.PROVISIONED.name),
        "first frame": ("ZTPD_EVENT", events.STREAMING.name),
        "RTK fixed": ("ZTPD_FIX", "RTK fixed"),
    }
    began: float = 0
    reported = []
    for line in journal(machine):
        moment = int(line["__MONOTONIC_TIMESTAMP"]) / 1e6
        if line.get("MESSAGE_ID") == _UNIT_STARTING:
            began = moment
        for name, (key, value) in steps.items():
            if line.get(key) == value:
                reported.append(f"{name} {moment - began:.1f} s")
    return ", ".join(reported)


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
