"""The changes of an operator on a gateway, and the files that no upgrade may change."""

from __future__ import annotations

from dataclasses import dataclass

from tests.packaging.boot import bench

APT = ("apt-get", "--quiet", "--yes")
KEEP = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")

_SETTINGS = """\
[ztp]
given_name = "tractor-7"
tags = ["spring-2027"]
timeout_s = 25

[corrections]
max_age_s = 9
stale_after_s = 20

[mqtt]
keepalive_s = 30

[output]
pty = "/run/ztpd/gnss"

[log]
level = "debug"
"""

# the right that the pseudo-terminal needs (docs/sharing.md)
_DROP_IN = "[Service]\nSystemCallFilter=fchown fchown32\n"

_SIMULATED = "/50-simulated.toml"

_FILES = (
    "/etc/ztpd/token",
    "/etc/ztpd/ztpd.toml",
    "/etc/ztpd/ztpd.toml.d/60-ours.toml",
    "/etc/systemd/system/ztpd.service.d/ours.conf",
    "/var/lib/ztpd/credentials.json",
)


def set_up_as_operator(machine: bench.Machine) -> None:
    """A changed configuration file, settings in a file of their own, a drop-in of the unit."""
    machine.run("echo '# ours' >>/etc/ztpd/ztpd.toml")
    machine.run("cat >/etc/ztpd/ztpd.toml.d/60-ours.toml", input=_SETTINGS)
    machine.run("mkdir -p /etc/systemd/system/ztpd.service.d")
    machine.run("cat >/etc/systemd/system/ztpd.service.d/ours.conf", input=_DROP_IN)
    machine.run("systemctl daemon-reload; systemctl restart ztpd")


@dataclass(frozen=True)
class Kept:
    """Owner, mode and sum of every file that is the operator's or the gateway's own."""

    files: str

    @staticmethod
    def of(machine: bench.Machine) -> Kept:
        names = " ".join(_FILES)
        return Kept(machine.run(f"stat --format='%a %U:%G %n' {names}; sha256sum {names}"))

    def __str__(self) -> str:
        credentials = self.files.splitlines()[-1].split()
        return f"{len(_FILES)} files kept, {credentials[1]} {credentials[0][:12]}"


def settings_in_force(machine: bench.Machine) -> frozenset[str]:
    """Each setting with its table, value and origin, but for the addresses of the simulators, which
    change with each boot."""
    table, found = "", set()
    for line in machine.run("ztpd config show").splitlines():
        if line.startswith("["):
            table = line
        elif line and not line.endswith(_SIMULATED):
            found.add(f"{table} {' '.join(line.split())}")
    return frozenset(found)
