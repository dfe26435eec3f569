"""Folders as the kernel and udev make them for serial ports: sysfs, /dev/serial and udev's
records, with the depths and links of a real gateway."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_HUB = "sys/devices/platform/scb/fd500000.pcie/pci0000:00/0000:01:00.0/usb1"
_BY_PATH = "platform-fd500000.pcie-pci-0000:01:00.0-usb-0"


class UsbTree:
    """A gateway below ``root``, with the devices that a test plugs in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._minor = 0
        for folder in ("sys/class/tty", "dev", "run/udev/data", "var/lock"):
            (root / folder).mkdir(parents=True)
        self._tty("sys/devices/virtual/tty/tty0", hardware=None)

    def plug(
        self,
        usb: str,
        ports: Mapping[int, str],
        *,
        name: str = "Vendor_Product",
        driver: str = "option",
        socket: str = "1-1",
        serial: str = "",
        model: str = "",
        hints: Mapping[str, str] | None = None,
        port_hints: Mapping[int, Mapping[str, str]] | None = None,
    ) -> None:
        """A USB device: ``usb`` as "2c7c:0125", interface number and tty of each port.

        ``name`` is udev's form of the maker's texts; ``hints`` are udev's properties of the
        device, ``port_hints`` those of a port.
        """
        device = self.root / _HUB / socket
        device.mkdir(parents=True)
        vendor, product = usb.split(":")
        _write(device / "idVendor", vendor)
        _write(device / "idProduct", product)
        if serial:
            _write(device / "serial", serial)
        if model:
            _write(device / "product", model)
        self._record(device, hints or {})
        on_bus = self.root / "sys/bus/usb/devices" / socket
        on_bus.unlink(missing_ok=True)  # of a device that was here before
        _link(on_bus, device)
        for number, tty in ports.items():
            interface = device / f"{socket}:1.{number}"  # decimal here, hexadecimal inside
            interface.mkdir()
            _write(interface / "bInterfaceNumber", f"{number:02x}")
            _link(interface / "driver", self.root / f"sys/bus/usb/drivers/{driver}")
            path = f"{_HUB}/{socket}/{interface.name}"
            if driver == "cdc_acm":
                self._tty(f"{path}/tty/{tty}", hardware=interface)
            else:  # usb-serial has a folder of its own between interface and tty
                (interface / tty).mkdir()
                _link(
                    interface / tty / "driver", self.root / f"sys/bus/usb-serial/drivers/{driver}"
                )
                self._tty(f"{path}/{tty}/tty/{tty}", hardware=interface / tty)
            self._record(self.root / "sys/class/tty" / tty, (port_hints or {}).get(number, {}))
            suffix = f"if{number:02x}" + ("-port0" if driver != "cdc_acm" else "")
            whole = f"usb-{name}_{serial}-{suffix}" if serial else f"usb-{name}-{suffix}"
            self._name("by-id", whole, tty)
            place = f"{_BY_PATH}:{socket.partition('-')[2]}:1.{number}"
            self._name("by-path", place + ("-port0" if driver != "cdc_acm" else ""), tty)

    def plug_without_tty(
        self,
        usb: str,
        interfaces: Mapping[int, tuple[str, str]],
        *,
        product: str = "",
        socket: str = "1-4",
        device_class: str = "00",
    ) -> None:
        """A USB device without a serial port: class and driver of each interface, "" for none."""
        device = self.root / _HUB / socket
        device.mkdir(parents=True)
        _link(self.root / "sys/bus/usb/devices" / socket, device)
        vendor, number = usb.split(":")
        _write(device / "idVendor", vendor)
        _write(device / "idProduct", number)
        _write(device / "bDeviceClass", device_class)
        if product:
            _write(device / "product", product)
        for place, (kind, driver) in interfaces.items():
            interface = device / f"{socket}:1.{place}"
            interface.mkdir()
            _write(interface / "bInterfaceClass", kind)
            _link(self.root / "sys/bus/usb/devices" / interface.name, interface)
            if driver:
                _link(interface / "driver", self.root / f"sys/bus/usb/drivers/{driver}")

    def wwan(self, port: str) -> None:
        """A port of a modem on PCI Express, as the kernel's WWAN framework names it."""
        parent = (
            self.root / "sys/devices/pci0000:00/0000:01:00.0/mhi0/wwan" / port.partition("at")[0]
        )
        (parent / port).mkdir(parents=True)
        _link(parent / port / "device", parent)
        _link(self.root / "sys/class/wwan" / port, parent / port)

    def unplug(self, socket: str) -> None:
        """Take out a device, ports and names with it."""
        shutil.rmtree(self.root / _HUB / socket)
        for link in self.root.glob("sys/class/tty/*"):
            if not link.exists():
                link.unlink()
                for name in self.root.glob("dev/serial/*/*"):
                    if name.readlink().name == link.name:
                        name.unlink()

    def uart(
        self,
        tty: str,
        *,
        console: bool = False,
        hints: Mapping[str, str] | None = None,
        driver: str = "uart-pl011",
        serial_core: bool = False,
    ) -> None:
        """A UART of the board. With ``serial_core`` there are two devices between it and the tty,
        as from Linux 6.5 on."""
        place = "sys/devices/platform/soc/fe201000.serial"
        hardware = self.root / place
        hardware.mkdir(parents=True)
        _link(hardware / "driver", self.root / f"sys/bus/amba/drivers/{driver}")
        if serial_core:
            for name, kind in (("fe201000.serial:0", "ctrl"), ("fe201000.serial:0.0", "port")):
                place = f"{place}/{name}"
                hardware = self.root / place
                hardware.mkdir()
                _link(hardware / "driver", self.root / f"sys/bus/serial-base/drivers/{kind}")
        self._tty(f"{place}/tty/{tty}", hardware=hardware)
        self._record(self.root / "sys/class/tty" / tty, hints or {})
        _write(self.root / "sys/class/tty/console/active", f"tty1 {tty}" if console else "tty1")

    def path(self, name: str) -> str:
        """Below /dev: "ttyUSB2", or the end of a name in /dev/serial."""
        found = [self.root / "dev" / name, *self.root.glob(f"dev/serial/*/*{name}")]
        return str(next(place for place in found if place.is_symlink() or place.exists()))

    def _tty(self, path: str, hardware: Path | None) -> None:
        place = self.root / path
        place.mkdir(parents=True)
        if hardware is not None:
            _link(place / "device", hardware)
        _link(self.root / "sys/class/tty" / place.name, place)

    def _record(self, device: Path, hints: Mapping[str, str]) -> None:
        self._minor += 1
        _write(device / "dev", f"188:{self._minor}")
        lines = ["I:1234567", *(f"E:{name}={value}" for name, value in hints.items()), "Q:x"]
        _write(self.root / f"run/udev/data/c188:{self._minor}", "\n".join(lines))

    def _name(self, kind: str, name: str, tty: str) -> None:
        """As udev does: the last device of a name gets it."""
        link = self.root / "dev/serial" / kind / name
        link.unlink(missing_ok=True)
        _link(link, self.root / "dev" / tty)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent))
