"""Finds the ports of modems and GNSS receivers in sysfs, without opening them.

A port is a modem's only by its USB id and interface number (:mod:`ztpd.serialport.usbids`), or by
a udev rule: ModemManager's rules and those of a user set ``ID_MM_PORT_TYPE_AT_PRIMARY`` and the
like. All functions read small files and block for milliseconds. ``root`` is the folder of ``sys``,
``dev`` and ``run``.

A modem on PCI Express has its AT port in the class wwan: no tty, though it takes the calls that
set one (Linux, drivers/net/wwan/wwan_core.c).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ztpd.errors import ModemAbsent, ModemAmbiguous, NotAnAtPort
from ztpd.sanitize import quoted
from ztpd.serialport import holders, sysfs, usbdevices, usbids
from ztpd.serialport.usbdevices import Portless

ROOT = Path("/")

_AT_HINTS = tuple(f"ID_MM_PORT_TYPE_AT_{name}" for name in ("PRIMARY", "SECONDARY", "PPP"))
_LINKS_LIMIT = 8
_WWAN_AT = re.compile(r"(wwan\d+)at\d+")
_PRODUCT_LIMIT = 40
_SERIAL_CORE = frozenset({"port", "ctrl"})  # drivers above that of a UART, from Linux 6.5 on


class Tty(NamedTuple):
    """A serial port with hardware behind it."""

    name: str  # the kernel's: "ttyUSB2"
    path: str  # the stable name if there is one, else that of the kernel
    by_path: str  # the stable name of the USB socket
    device: str = ""  # the USB device, "1-1.2", or "wwan0"; "" for a UART of the board
    usb: usbids.Id = (0, 0)
    interface: int | None = None
    serial_number: str = ""
    product: str = ""  # the device's own text on USB: "EG25-G"
    driver: str = ""  # of the USB interface: "option", "cdc_acm", "ftdi_sio"
    hints: Mapping[str, str] = {}  # udev's, of port and device

    @property
    def is_gnss(self) -> bool:
        """A u-blox receiver: it never receives AT text."""
        return self.usb in usbids.GNSS

    @property
    def is_bridge(self) -> bool:
        """An adapter from USB to a UART, with an unknown device behind it."""
        by_make = self.driver in usbids.BRIDGE_DRIVERS or self.usb[0] in usbids.BRIDGE_VENDORS
        return by_make and not self.is_gnss

    @property
    def has_speed(self) -> bool:
        """Whether the line speed has an effect: not if the device itself is on USB."""
        return not self.device or self.is_bridge

    @property
    def may_be_modemmanagers(self) -> bool:
        """Whether ModemManager may use the port; its usual policy leaves UARTs alone."""
        if "1" in (self.hints.get("ID_MM_DEVICE_IGNORE"), self.hints.get("ID_MM_PORT_IGNORE")):
            return False
        return not self.has_speed or self.hints.get("ID_MM_DEVICE_PROCESS") == "1"

    @property
    def at_rank(self) -> int | None:
        """The rank among AT ports, 0 best; None if it is not known as an AT port."""
        if self.is_gnss or self.usb in usbids.NEVER:
            return None
        if _WWAN_AT.fullmatch(self.name):
            return 0
        for rank, hint in enumerate(_AT_HINTS):
            if self.hints.get(hint) == "1":
                return rank
        known = usbids.AT_INTERFACES.get(self.usb, ())
        return len(_AT_HINTS) + known.index(self.interface) if self.interface in known else None

    def __str__(self) -> str:
        kind = "{:04x}:{:04x}".format(*self.usb) if any(self.usb) else self.driver or "not on USB"
        words = (kind, self.product, "u-blox GNSS" if self.is_gnss else "")
        return f"{self.name} ({', '.join(filter(None, words))})"


def ttys(root: Path = ROOT) -> list[Tty]:
    """All serial ports that have hardware behind them, by name."""
    sys = (root / "sys").resolve()
    places = [*sorted(sys.glob("class/tty/*")), *sorted(sys.glob("class/wwan/wwan*at*"))]
    found = [tty for place in places if (tty := _tty(place, sys, root))]
    by_id, by_path = _links(root / "dev/serial/by-id"), _links(root / "dev/serial/by-path")
    twins = Counter(map(_identity, found))
    named = []
    for tty in found:
        device = str(root / "dev" / tty.name)
        place = by_path.get(tty.name, device)
        # of two equal devices without a serial number, udev names the last one by-id
        is_unique = twins[_identity(tty)] == 1
        path = by_id.get(tty.name, place) if is_unique else place
        named.append(tty._replace(path=path, by_path=place))
    return named


def names(root: Path = ROOT) -> frozenset[str]:
    """The kernel's names of all serial ports, including those without hardware: cheap enough
    for the event loop."""
    try:
        return frozenset(place.name for place in (root / "sys/class/tty").iterdir())
    except OSError:
        return frozenset()


def resolve(path: str, root: Path = ROOT) -> Tty | None:
    """The serial port that ``path`` leads to, itself or over links; None if sysfs has none."""
    known, devices = {tty.name: tty for tty in ttys(root)}, root.resolve() / "dev"
    place = Path(path)
    for _ in range(_LINKS_LIMIT):
        folder = Path(os.path.realpath(place.parent))
        if folder == devices and place.name in known:  # elsewhere a name says nothing
            return known[place.name]
        try:
            place = folder / (folder / place.name).readlink()
        except OSError:  # no link, or in a folder that this user may not enter
            return None
    return None


def same_name(tty: Tty, root: Path = ROOT) -> list[Tty]:
    """All ports for which udev makes the by-id name of ``tty``, if there are several: equal
    adapters without serial numbers, of which the last one gets the name."""
    others = [each for each in ttys(root) if tty.device and _identity(each) == _identity(tty)]
    return others if len(others) > 1 else []


def _identity(tty: Tty) -> tuple[object, ...]:
    return tty.usb, tty.serial_number, tty.interface


def reject_non_modem(tty: Tty) -> None:
    """Raises :class:`NotAnAtPort` for devices that must never receive AT text."""
    if tty.is_gnss:
        raise NotAnAtPort(f"{tty.path} is a u-blox GNSS receiver, {tty}")
    if tty.usb in usbids.NEVER:
        raise NotAnAtPort(f"{tty.path} is a modem in recovery mode, {tty}")


def modem_ports(root: Path = ROOT, *, allowed: Callable[[Tty], bool] = lambda _: True) -> list[Tty]:
    """The AT ports of the only modem that ``allowed`` accepts, the best first.

    Raises :class:`ModemAbsent` and :class:`ModemAmbiguous`, which name the ports found.
    """
    here = ttys(root)
    usable = [tty for tty in here if tty.at_rank is not None and allowed(tty)]
    usable.sort(key=lambda tty: (tty.at_rank, tty.path))
    if not usable:
        words, others = inventory(here, root)
        detail = f"no modem known by its USB id; {words}"
        raise ModemAbsent(detail, advice=usbdevices.advice_for_modem(others))
    modems = {tty.device or tty.name: tty for tty in reversed(usable)}
    if len(modems) > 1:
        best = sorted(modems.values(), key=lambda tty: tty.by_path)
        raise ModemAmbiguous(", ".join(f"{tty} at {tty.by_path}" for tty in best))
    return usable


def inventory(here: list[Tty], root: Path = ROOT) -> tuple[str, list[Portless]]:
    """The devices on USB as text, and those without a serial port; ``here`` are all ports."""
    with_ports = [tty for tty in here if any(tty.usb)]
    others = usbdevices.portless(root, {tty.device for tty in with_ports})
    parts = [f"on USB there are {usbdevices.listed(with_ports)}"] if with_ports else []
    if others:
        parts.append(f"on USB without a serial port: {usbdevices.listed(others)}")
    return "; ".join(parts) or "nothing on USB", others


def gnss_candidates(root: Path = ROOT) -> list[Tty]:
    """The ports that may be a u-blox receiver's: those known by their USB id, or if there are
    none, the bridges (:attr:`Tty.is_bridge`).

    Any device may be behind a bridge: the caller listens before it writes, and accepts a port only
    if it answers UBX-MON-VER. Ports of modems are left out.
    """
    here = [tty for tty in ttys(root) if tty.at_rank is None]
    return [tty for tty in here if tty.is_gnss] or [tty for tty in here if tty.is_bridge]


def holder(tty: Tty, root: Path = ROOT) -> str:
    """The programs that use the port, as text; "" if this user sees none."""
    lock = root / "var/lock" / f"LCK..{tty.name}"
    device = os.path.realpath(tty.path)
    pid = holders.locked_by(lock, device)
    if pid is not None and holders.may_hold(pid, device):
        return f"{holders.describe([pid])} according to {lock}"
    if words := holders.console(tty.name, device, root):
        return words
    others = [pid for pid in holders.pids_of(device) if pid != os.getpid()]
    return holders.describe(others) if others else ""


def _tty(place: Path, sys: Path, root: Path) -> Tty | None:
    """``place`` is a folder of /sys/class/tty; its ``device`` links to the hardware.

    With cdc_acm that is the USB interface, with usb-serial a folder below it, so the search goes
    upwards until it finds the attributes.
    """
    if not (place / "device").exists():
        return None
    hardware = (place / "device").resolve()
    path = str(root / "dev" / place.name)
    tty = Tty(place.name, path, path, driver=sysfs.driver(hardware), hints=_hints(place, root))
    if wwan := _WWAN_AT.fullmatch(place.name):
        return tty._replace(device=wwan[1], driver="WWAN")
    for folder in _upwards(hardware, sys):
        if (folder / "bInterfaceNumber").exists():
            number = sysfs.hexadecimal(folder / "bInterfaceNumber")  # "0a" is 10
            tty = tty._replace(interface=number, driver=sysfs.driver(folder))
        if tty.driver in _SERIAL_CORE:
            tty = tty._replace(driver=sysfs.driver(folder) or tty.driver)
        vendor, product = (sysfs.hexadecimal(folder / name) for name in ("idVendor", "idProduct"))
        if vendor is not None and product is not None:
            return tty._replace(
                device=folder.name,
                usb=(vendor, product),
                serial_number=sysfs.text(folder / "serial"),
                product=quoted(sysfs.text(folder / "product"), _PRODUCT_LIMIT),
                hints={**_hints(folder, root), **tty.hints},
            )
    return tty._replace(interface=None)


def _upwards(folder: Path, top: Path) -> Iterator[Path]:
    while folder != top and top in folder.parents:
        yield folder
        folder = folder.parent


def _hints(device: Path, root: Path) -> dict[str, str]:
    """The udev properties of a device: the lines "E:NAME=VALUE" of its record."""
    number = sysfs.text(device / "dev")
    lines = sysfs.text(root / "run/udev/data" / f"c{number}").splitlines() if number else []
    pairs = (line[2:].partition("=") for line in lines if line.startswith("E:"))
    return {name: value for name, _, value in pairs}


def _links(folder: Path) -> dict[str, str]:
    """The stable name for each kernel name, from udev's links in ``folder``."""
    found = {}
    for link in sorted(folder.glob("*"), reverse=True):
        try:
            found[link.readlink().name] = str(link)
        except OSError:
            continue
    return found
