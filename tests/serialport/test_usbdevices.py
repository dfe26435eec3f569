"""USB devices without a serial port: each is listed with its id, the reason and a cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.usbtree import UsbTree
from ztpd.errors import ModemAbsent, PortAbsent
from ztpd.serialport import access, discovery, usbdevices

Interfaces = dict[int, tuple[str, str]]

HILINK: Interfaces = {0: ("02", "cdc_ether"), 1: ("0a", "cdc_ether"), 2: ("08", "usb-storage")}
NO_DRIVER: Interfaces = dict.fromkeys(range(4), ("ff", ""))


@pytest.fixture
def tree(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path)


def absence(tree: UsbTree) -> ModemAbsent:
    with pytest.raises(ModemAbsent) as absent:
        discovery.modem_ports(tree.root)
    return absent.value


@pytest.mark.parametrize(
    ("usb", "interfaces", "reason", "cure"),
    [
        ("12d1:14dc", HILINK, "a network interface only, driver cdc_ether", 'source = "fixed"'),
        ("19d2:1405", {0: ("e0", "rndis_host")}, "a network interface only", 'source = "fixed"'),
        ("2c7c:0700", NO_DRIVER, "no driver for its serial interfaces", "echo 2c7c 0700"),
        (
            "2c7c:6005",
            {0: ("02", "cdc_ether"), 1: ("0a", "cdc_ether"), 2: ("ff", ""), 3: ("ff", "")},
            "no driver for its serial interfaces",
            "echo 2c7c 6005",
        ),
        ("1234:5678", NO_DRIVER, "no driver for its serial interfaces", "If it is the modem"),
        ("1a86:7523", {0: ("ff", "usbfs")}, "taken by a program over usbfs", "remove brltty"),
        ("1a86:7523", {0: ("ff", "")}, "no driver", "remove brltty"),
        ("2c7c:0125", {0: ("ff", "usbfs")}, "taken by a program over usbfs", "Stop that program"),
        ("1199:9079", {0: ("02", "cdc_mbim")}, "no AT port, driver cdc_mbim", "ModemManager"),
        ("2c7c:0125", {4: ("ff", "qmi_wwan")}, "no AT port, driver qmi_wwan", "ModemManager"),
        ("12d1:1f01", {0: ("08", "usb-storage")}, "still a drive", "usb-modeswitch"),
    ],
    ids=lambda value: value if isinstance(value, str) and ":" in value else "",
)
def test_FR48_a_modem_or_adapter_without_a_tty_is_named_with_reason_and_remedy(
    tree: UsbTree, usb: str, interfaces: Interfaces, reason: str, cure: str
) -> None:
    tree.plug_without_tty(usb, interfaces, product="A product")
    absent = absence(tree)
    assert f"{usb} A product ({reason}" in str(absent)
    assert cure in absent.advice


@pytest.mark.parametrize(
    ("usb", "interfaces", "reason"),
    [
        ("0424:ec00", {0: ("ff", "smsc95xx")}, "driver smsc95xx"),
        ("046d:c31c", {0: ("03", "usbhid"), 1: ("03", "usbhid")}, "driver usbhid"),
        ("0bda:8153", {0: ("02", "cdc_ncm")}, "a network interface only, driver cdc_ncm"),
        ("0781:5567", {0: ("08", "usb-storage")}, "driver usb-storage"),
        ("05c6:9008", {0: ("ff", "")}, "a modem in recovery mode"),
    ],
)
def test_FR48_another_device_is_listed_and_changes_no_advice(
    tree: UsbTree, usb: str, interfaces: Interfaces, reason: str
) -> None:
    tree.plug_without_tty(usb, interfaces)
    absent = absence(tree)
    assert f"{usb} ({reason})" in str(absent)
    assert absent.advice == ModemAbsent.advice


@pytest.mark.parametrize(
    ("usb", "interfaces", "cure"),
    [
        ("1546:01a9", {0: ("02", ""), 1: ("0a", "")}, "modprobe cdc_acm"),
        ("1546:050c", {0: ("ff", "")}, "own USB port"),
    ],
)
def test_FR48_a_receiver_without_a_driver_is_named_and_is_no_modem(
    tree: UsbTree, usb: str, interfaces: Interfaces, cure: str
) -> None:
    tree.plug_without_tty(usb, interfaces, product="u-blox GNSS receiver")
    (found,) = usbdevices.portless(tree.root, ())
    assert f"{usb} u-blox GNSS receiver (a u-blox receiver, no driver)" == str(found)
    assert cure in found.advice
    assert absence(tree).advice == ModemAbsent.advice
    port = str(tree.root / "dev/ublox")
    assert access.absent(port, tree.root, for_receiver=True).advice == found.advice
    assert access.absent(port, tree.root).advice == PortAbsent.advice


def test_FR48_a_modem_without_a_driver_is_no_advice_for_the_receivers_port(tree: UsbTree) -> None:
    tree.plug_without_tty("2c7c:0125", NO_DRIVER)
    error = access.absent(str(tree.root / "dev/ublox"), tree.root, for_receiver=True)
    assert "2c7c:0125 (no driver for its serial interfaces)" in str(error)
    assert error.advice == PortAbsent.advice


def test_FR48_the_modem_comes_before_other_devices_and_hubs_are_left_out(tree: UsbTree) -> None:
    tree.plug_without_tty("1d6b:0002", {0: ("09", "hub")}, socket="1-0", device_class="09")
    for number in range(1, 9):
        tree.plug_without_tty("046d:c31c", {0: ("03", "usbhid")}, socket=f"1-1.{number}")
    tree.plug_without_tty("1234:5678", NO_DRIVER, socket="1-2")
    tree.plug_without_tty("12d1:14dc", HILINK, socket="1-3")
    text = str(absence(tree))
    assert text.index("12d1:14dc") < text.index("1234:5678") < text.index("046d:c31c")
    assert "and 4 more" in text
    assert "1d6b" not in text


def test_FR48_a_device_with_a_tty_is_listed_once(tree: UsbTree) -> None:
    tree.plug("2c7c:0999", {0: "ttyUSB0"})
    tree.plug_without_tty("12d1:14dc", HILINK)
    text = str(absence(tree))
    assert "on USB there are ttyUSB0 (2c7c:0999); on USB without a serial port: 12d1:14dc" in text


def test_FR48_a_configured_port_that_is_away_names_the_same_devices(tree: UsbTree) -> None:
    tree.plug_without_tty("2c7c:0700", NO_DRIVER, product="Quectel LPWA Module")
    error = access.absent(str(tree.root / "dev/serial/by-id/usb-Quectel-if02-port0"), tree.root)
    assert "2c7c:0700 Quectel LPWA Module (no driver for its serial interfaces)" in str(error)
    assert error.advice == absence(tree).advice


@given(st.binary(max_size=80), st.binary(max_size=8), st.binary(max_size=8))
def test_any_attributes_of_a_device_are_read(
    tmp_path_factory: pytest.TempPathFactory, product: bytes, vendor: bytes, kind: bytes
) -> None:
    device = tmp_path_factory.mktemp("root") / "sys/bus/usb/devices/1-1"
    (device / "1-1:1.0").mkdir(parents=True)
    (device / "idVendor").write_bytes(vendor or b"12d1")
    (device / "idProduct").write_bytes(b"14dc")
    (device / "product").write_bytes(product)
    (device / "1-1:1.0/bInterfaceClass").write_bytes(kind)
    for each in usbdevices.portless(device.parents[4], ()):
        assert str(each).isprintable()
