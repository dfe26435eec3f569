"""The serial number of this board, which detects a copied card."""

from __future__ import annotations

import re
from pathlib import Path

_PLACEHOLDERS = frozenset(
    (
        *("default string", "none", "not specified", "unknown", "to be filled by o.e.m."),
        *("0123456789abcdef", "0123456789", "123456789"),
        *("03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009"),
    )
)
"""Of boards whose maker left the number out: all of a kind have the same."""

_MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)


def serial(sys: Path = Path("/sys")) -> str:
    """The board's serial number, else the built-in Ethernet's MAC address, else "".

    The serial number is the device tree's (Raspberry Pi and most ARM boards). A placeholder, or one
    digit repeated, is none. A MAC address
    counts only if the hardware owns it (``addr_assign_type`` 0) and the adapter is no USB stick,
    which may move from board to board.
    """
    for name in ("firmware/devicetree/base/serial-number", "class/dmi/id/product_uuid"):
        text = _read(sys / name)
        if len(set(text.replace("-", ""))) > 1 and text.lower() not in _PLACEHOLDERS:
            return text
    for adapter in sorted((sys / "class/net").glob("e*")):
        if _read(adapter / "addr_assign_type") != "0" or not (adapter / "device").exists():
            continue
        if "/usb" in str((adapter / "device").resolve()):
            continue
        return _read(adapter / "address")
    return ""


def is_another(stored: str, present: str) -> bool:
    """Whether credentials of board ``stored`` are on another board now, ``present``.

    Only numbers of one kind are compared: a serial number that cannot be read this time (in a
    container without /sys/firmware) leaves a MAC address or nothing, and that is the same board.
    """
    same_kind = bool(_MAC.fullmatch(stored)) == bool(_MAC.fullmatch(present))
    return bool(stored and present) and same_kind and stored != present


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip(" \n\0")
    except OSError:
        return ""
