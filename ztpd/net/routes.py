"""The kernel's routes that lead out of this machine."""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc/net")

_UP, _REJECT = 0x1, 0x200  # linux/route.h: RTF_UP, RTF_REJECT


class Route(NamedTuple):
    network: str
    interface: str
    gateway: str = ""

    @property
    def is_default(self) -> bool:
        return self.network in ("0.0.0.0/0", "::/0")

    def __str__(self) -> str:
        name = "default" if self.is_default else self.network
        via = f" via {self.gateway}" if self.gateway else ""
        return f"{name}{via} on {self.interface}"


def read(proc: Path = PROC) -> list[Route]:
    """The routes that lead out of this machine, IPv4 first (proc(5), route and ipv6_route)."""
    return _of_ipv4(_lines(proc / "route")[1:]) + _of_ipv6(_lines(proc / "ipv6_route"))


def are_known(proc: Path = PROC) -> bool:
    """Whether :func:`read` can tell that there is none."""
    return (proc / "route").exists()


def _of_ipv4(lines: list[list[str]]) -> list[Route]:
    found = []
    for interface, destination, gateway, flags, _, _, _, mask, *_ in lines:
        if not int(flags, 16) & _UP or int(flags, 16) & _REJECT or interface == "lo":
            continue
        network = ipaddress.ip_network(f"{_address(destination)}/{_address(mask)}", strict=False)
        via = _address(gateway)
        found.append(Route(str(network), interface, "" if via == "0.0.0.0" else via))
    return found


def _address(text: str) -> str:
    return socket.inet_ntoa(struct.pack("=L", int(text, 16)))


def _of_ipv6(lines: list[list[str]]) -> list[Route]:
    found = []
    for destination, length, _, _, gateway, _, _, _, flags, interface in lines:
        network = ipaddress.ip_network((int(destination, 16).to_bytes(16, "big"), int(length, 16)))
        inner = network.is_link_local or network.is_multicast or network.prefixlen == 128
        if not int(flags, 16) & _UP or int(flags, 16) & _REJECT or interface == "lo" or inner:
            continue
        via = ipaddress.ip_address(int(gateway, 16).to_bytes(16, "big"))
        found.append(Route(str(network), interface, str(via) if int(via) else ""))
    return found


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
