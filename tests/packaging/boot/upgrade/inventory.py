"""Every file, directory and link of a machine, to compare two moments."""

from __future__ import annotations

import re

from tests.packaging.boot.container import Container

Inventory = dict[str, str]
"""Path to kind, mode, owner, and target or sum of the contents."""

# Package data of dpkg and apt, logs, and files that any running system rewrites.
_VOLATILE = """
    /dev /payload /proc /run /sys /tmp
    /etc/resolv.conf /root/.bash_history
    /var/cache/apt /var/cache/debconf /var/lib/apt /var/log /var/tmp
    /var/lib/dpkg/available /var/lib/dpkg/available-old /var/lib/dpkg/lock
    /var/lib/dpkg/lock-frontend /var/lib/dpkg/status /var/lib/dpkg/status-old
    /var/lib/dpkg/triggers/Lock
"""
# A machine that was booted also has the files of its own systemd and of the simulators.
_BOOTED = """
    /etc/.updated /etc/machine-id /var/.updated /var/lib/simulators /var/lib/systemd/random-seed
    /var/lib/systemd/timers /var/lib/private /var/lib/mosquitto /usr/local/share/simulated-ca.crt
    /opt /var/lib/systemd/credential.secret
"""

_SCRIPT = """
find / -xdev \\( {skipped} \\) -prune -o -printf '%y %m %u:%g %l\\t%p\\n'
echo ---
find / -xdev \\( {skipped} \\) -prune -o -type f -print0 |
  xargs -0 sha256sum --zero | tr '\\0' '\\n'
"""


def _script(*, booted: bool) -> str:
    paths = _VOLATILE.split() + (_BOOTED.split() if booted else [])
    return _SCRIPT.format(skipped=" -o ".join(f"-path {path}" for path in paths))


def _parse(text: str) -> Inventory:
    nodes, _, sums = text.partition("---\n")
    found = {}
    for line in nodes.splitlines():
        state, _, path = line.partition("\t")
        found[path] = state
    for checksum, path in re.findall(r"^([0-9a-f]{64})  (/.*)$", sums, re.MULTILINE):
        found[path] += f" {checksum}"
    return found


def of_image(image: Container) -> Inventory:
    return _parse(image.once("/bin/sh", "-euc", _script(booted=False)))


def of_machine(machine: Container) -> Inventory:
    return _parse(machine.run(_script(booted=True)))


def differences(before: Inventory, after: Inventory) -> list[str]:
    """One line for each path: "+" new, "-" gone, "*" changed. Dates of directories do not count."""
    marks = [
        (path, "+" if path not in before else "-" if path not in after else "*")
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    ]
    return [f"{mark} {path}" for path, mark in sorted(marks)]
