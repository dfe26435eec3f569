"""USB devices that have no serial port, each with the reason and its remedy.

The reason follows from the drivers of the interfaces in sysfs. Classes of interfaces: USB-IF,
"Defined Class Codes".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from ztpd.sanitize import quoted
from ztpd.serialport import sysfs, usbids

_HUB, _VENDOR_SPECIFIC = 0x09, 0xFF
_NETWORK = frozenset({"cdc_ether", "cdc_ncm", "cdc_eem", "rndis_host", "huawei_cdc_ncm"})
_CONTROL = frozenset({"qmi_wwan", "cdc_mbim"})
_STORAGE = frozenset({"usb-storage", "uas"})
_PROGRAM = "usbfs"  # the driver of an interface that a program uses, not the kernel
_NAME_LIMIT = 32
_LISTED = 6

_BRLTTY = (
    "brltty takes adapters such as CH340, CP210x and FTDI for Braille displays: "
    "`sudo apt remove brltty`, then plug the adapter in again."
)
_TAKEN = "Stop that program (a virtual machine, libusb), then plug the device in again."
_NO_BRIDGE_DRIVER = f"If `dmesg` names no driver, this kernel has none for it. Else: {_BRLTTY}"
_NO_DRIVER = (
    "If it is the modem and this stays, its driver is missing: `sudo modprobe option`, then "
    "`echo {vendor:04x} {product:04x} | sudo tee /sys/bus/usb-serial/drivers/option1/new_id`; "
    "a newer kernel may know it."
)
_NO_CDC_DRIVER = "Load its driver: `sudo modprobe cdc_acm`."
_NO_UART_DRIVER = (
    "Linux has no driver for this UART of the receiver: use the receiver's own USB port."
)
_NO_AT_PORT = (
    "In this mode (HiLink, RNDIS, ECM) the modem has no AT port. Switch its USB mode, or set "
    '[identity] source = "fixed" and hardware_id to the IMEI on its label.'
)
_ASK_MODEMMANAGER = (
    'Install ModemManager, which reads such modems: [identity] source = "modemmanager".'
)
_SWITCH = "Install usb-modeswitch, which turns the drive of such a stick into a modem."


class Portless(NamedTuple):
    """A USB device without a serial port. ``advice`` is "" where no remedy is known."""

    usb: usbids.Id
    name: str
    reason: str
    advice: str = ""

    def __str__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return "{:04x}:{:04x}".format(*self.usb) + f"{name} ({self.reason})"


def portless(root: Path, with_ports: Collection[str]) -> list[Portless]:
    """The USB devices, except hubs and those whose folders are ``with_ports``; those with a known
    remedy first, known modems before all."""
    found = []
    for place in sorted((root / "sys/bus/usb/devices").glob("*-*")):
        vendor, product = (sysfs.hexadecimal(place / name) for name in ("idVendor", "idProduct"))
        is_hub = sysfs.hexadecimal(place / "bDeviceClass") == _HUB
        if vendor is None or product is None or is_hub or place.name in with_ports:
            continue
        reason, advice = _explanation((vendor, product), _drivers(place))
        name = quoted(sysfs.text(place / "product"), _NAME_LIMIT)
        found.append(Portless((vendor, product), name, reason, advice))
    return sorted(found, key=lambda each: (not each.advice, not _may_be_modem(each.usb)))


def advice_for_modem(devices: Iterable[Portless]) -> str:
    """The first cure for a device that may be the modem; "" for none."""
    return next((each.advice for each in devices if each.usb not in usbids.GNSS), "")


def advice_for_receiver(devices: Iterable[Portless]) -> str:
    """The first cure for a u-blox receiver, or an adapter with an unknown device behind it."""
    may_be = (each for each in devices if each.usb in usbids.GNSS or _is_adapter(each.usb))
    return next((each.advice for each in may_be), "")


def listed(devices: Collection[object]) -> str:
    """The first of ``devices``, as text, and how many more there are."""
    shown = [str(each) for each in devices][:_LISTED]
    more = len(devices) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _drivers(device: Path) -> list[tuple[int | None, str]]:
    """Class and driver of each interface."""
    return [
        (sysfs.hexadecimal(each / "bInterfaceClass"), sysfs.driver(each))
        for each in sorted(device.glob(f"{device.name}:*"))
    ]


def _is_adapter(usb: usbids.Id) -> bool:
    return usb[0] in usbids.ADAPTER_VENDORS


def _may_be_modem(usb: usbids.Id) -> bool:
    return usb in usbids.AT_INTERFACES or usb[0] in usbids.MODEM_VENDORS


def _explanation(usb: usbids.Id, interfaces: list[tuple[int | None, str]]) -> tuple[str, str]:
    """Why the device has no serial port, and the remedy."""
    is_adapter, may_be_modem = _is_adapter(usb), _may_be_modem(usb)
    drivers = list(dict.fromkeys(driver for _, driver in interfaces if driver))
    names = f"driver {', '.join(drivers)}" if drivers else "no driver"
    if usb in usbids.NEVER:
        return "a modem in recovery mode", ""
    if usb in usbids.GNSS and not drivers:
        is_uart = usb[1] >= usbids.GNSS_BRIDGES_FROM
        return "a u-blox receiver, no driver", _NO_UART_DRIVER if is_uart else _NO_CDC_DRIVER
    if _PROGRAM in drivers:
        return "taken by a program over usbfs", _BRLTTY if is_adapter else _TAKEN
    if is_adapter and not drivers:
        return names, _NO_BRIDGE_DRIVER
    if any(kind == _VENDOR_SPECIFIC and not driver for kind, driver in interfaces) or (
        may_be_modem and not drivers
    ):
        vendor, product = usb
        reason = "no driver for its serial interfaces"
        return reason, _NO_DRIVER.format(vendor=vendor, product=product)
    if _CONTROL.intersection(drivers):
        return f"no AT port, {names}", _ASK_MODEMMANAGER
    if _NETWORK.intersection(drivers):
        return f"a network interface only, {names}", _NO_AT_PORT if may_be_modem else ""
    if _STORAGE.intersection(drivers) and may_be_modem:
        return f"still a drive, {names}", _SWITCH
    return names, ""
