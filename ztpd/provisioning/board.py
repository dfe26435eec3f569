"""Which board this is: what tells a card's own gateway from another that got a copy of it."""

from __future__ import annotations

from pathlib import Path


def serial(sys: Path = Path("/sys")) -> str:
    """The board's serial number, else the built-in Ethernet's MAC address, else "".

    The serial number is the device tree's (Raspberry Pi and most ARM boards). A MAC address
    counts only if the hardware owns it (``addr_assign_type`` 0) and the adapter is no USB stick,
    which may move from board to board.
    """
    for name in ("firmware/devicetree/base/serial-number", "class/dmi/id/product_uuid"):
        text = _read(sys / name)
        if text.strip("0"):
            return text
    for adapter in sorted((sys / "class/net").glob("e*")):
        if _read(adapter / "addr_assign_type") != "0" or not (adapter / "device").exists():
            continue
        if "/usb" in str((adapter / "device").resolve()):
            continue
        return _read(adapter / "address")
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip(" \n\0")
    except OSError:
        return ""
