"""Writes ztpd/wire/ubxkeys.py from pyubx2's database: ``python tools/ubxkeys_table.py``.

Names and ids are facts of u-blox's interface descriptions; pyubx2 (BSD-3-Clause) has collected
those of all its generations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyubx2
from pyubx2.ubxtypes_configdb import UBX_CONFIG_DATABASE

FILE = Path(__file__).parents[1] / "ztpd/wire/ubxkeys.py"
PORTS = ("I2C", "UART1", "UART2", "USB", "SPI")

_HEAD = '''\
"""The configuration keys of all u-blox receivers: ids by name.

Produced by tools/ubxkeys_table.py from the database of pyubx2 {version}; loaded only for
such a name. Below a group and its number are its items, each with the first and the last digits of
its id. "*" is I2C, UART1, UART2, USB, SPI, with ids in that order.

One module because it is a table.
"""

from __future__ import annotations

_PORTS = {ports}


def _keys() -> dict[str, int]:
    keys = {{}}
    group = number = ""
    for line in _TABLE.splitlines():
        item, digits = line.split()
        if line[0] != " ":
            group, number = item, digits
            continue
        first = int(digits[0] + number + digits[1:].zfill(4), 16)
        ports = _PORTS if item.endswith("*") else ("",)
        for place, port in enumerate(ports):
            keys[f"CFG-{{group}}-{{item.rstrip('*')}}{{port}}"] = first + place
    return keys


_TABLE = """\\
'''


_TAIL = '''
"""

KEYS = _keys()
"""Id by u-blox name, "CFG-GROUP-ITEM"."""
'''


def ublox_name(name: str) -> str:
    """pyubx2 writes "CFG_MSGOUT_UBX_NAV_PVT_USB" for u-blox's "CFG-MSGOUT-UBX_NAV_PVT_USB"."""
    return name.replace("_", "-", 2)


def keys() -> dict[str, int]:
    """All names and ids of the database."""
    return {ublox_name(name): key for name, (key, _) in UBX_CONFIG_DATABASE.items()}


def module() -> str:
    """The text of ztpd/wire/ubxkeys.py."""
    left, lines = keys(), []
    for name, key in sorted(left.copy().items()):
        stem = name.removesuffix("I2C")
        family = {stem + port: key + place for place, port in enumerate(PORTS)}
        if stem != name and family.items() <= left.items():
            lines.append(f"{stem[4:]}* {key:08x}")
            for member in family:
                del left[member]
    lines += [f"{name[4:]} {key:08x}" for name, key in left.items()]
    head = _HEAD.format(version=pyubx2.version, ports=str(PORTS).replace("'", '"'))
    return head + "\n".join(_grouped(sorted(lines))) + _TAIL


def _grouped(lines: list[str]) -> Iterator[str]:
    """A line for each group, and the rest of each of ``lines`` below it."""
    before = ""
    for line in lines:
        name, key = line.split()
        group, item = name.split("-")
        if (heading := f"{group} {key[1:4]}") != before:
            yield (before := heading)
        yield f" {item} {key[0]}{key[4:].lstrip('0')}"


if __name__ == "__main__":
    FILE.write_text(module())
