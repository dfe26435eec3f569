"""Whose serial port is whose, on trees of sysfs. Numbers in the names: group G of the modem
scenarios."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support import TOP
from tests.support.usbtree import UsbTree
from ztpd.errors import ModemAbsent, ModemAmbiguous, NotAnAtPort
from ztpd.serialport import discovery, usbids
from ztpd.serialport.discovery import (
    gnss_candidates,
    holder,
    modem_ports,
    reject_non_modem,
    resolve,
)
from ztpd.sim.pty import Pty

EC25 = "2c7c:0125", {0: "ttyUSB0", 1: "ttyUSB1", 2: "ttyUSB2", 3: "ttyUSB3"}
MM_RULES = Path("/usr/lib/udev/rules.d")


@pytest.fixture
def tree(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path)


def names(found: list[discovery.Tty]) -> list[str]:
    return [tty.name for tty in found]


def test_G98_of_four_ports_interface_02_is_the_first_choice(tree: UsbTree) -> None:
    tree.plug(*EC25, name="Quectel_EC25")
    found = modem_ports(tree.root)
    assert names(found) == ["ttyUSB2", "ttyUSB3"]
    assert found[0].path == str(tree.root / "dev/serial/by-id/usb-Quectel_EC25-if02-port0")


def test_A14_of_an_a7670_interface_04_is_the_port(tree: UsbTree) -> None:
    tree.plug("1e0e:9011", {2: "ttyUSB0", 3: "ttyUSB1", 4: "ttyUSB2", 5: "ttyUSB3"})
    assert names(modem_ports(tree.root)) == ["ttyUSB2", "ttyUSB3"]


@pytest.mark.parametrize(
    ("usb", "expected"),
    [
        ("2c7c:0620", [2, 3]),
        ("2c7c:0700", [2, 4]),
        ("2c7c:0900", [4, 5]),
        ("2c7c:0901", [2, 7]),
        ("2c7c:6005", [3, 4]),
        ("1199:90d3", [3]),
    ],
)
def test_FR56_the_at_ports_of_newer_modems_are_known(
    tree: UsbTree, usb: str, expected: list[int]
) -> None:
    tree.plug(usb, {number: f"ttyUSB{number}" for number in range(9)})
    assert [tty.interface for tty in modem_ports(tree.root)] == expected


@pytest.mark.parametrize("product", ["0502", "0506", "0507", "0508", "050c", "050d"])
def test_FR56_the_udev_rules_keep_modemmanager_off_the_uarts_of_receivers(product: str) -> None:
    rules = (TOP / "packaging/debian/ztpd.udev").read_text()
    ignored = re.findall(r'ATTRS?\{idProduct\}=="([0-9a-f|]+)", ENV\{ID_MM', rules)
    assert len(ignored) == 2
    assert all(product in products.split("|") for products in ignored)


def test_G99_a_receiver_next_to_the_modem_is_no_modem(tree: UsbTree) -> None:
    tree.plug("1546:01a9", {0: "ttyACM0"}, driver="cdc_acm", socket="1-2")
    tree.plug(*EC25)
    assert names(modem_ports(tree.root)) == ["ttyUSB2", "ttyUSB3"]
    assert names(gnss_candidates(tree.root)) == ["ttyACM0"]


def test_G100_u_blox_modem_and_receiver_are_distinguished_by_product(tree: UsbTree) -> None:
    tree.plug("1546:1102", {0: "ttyACM0", 2: "ttyACM1", 4: "ttyACM2"}, driver="cdc_acm")
    tree.plug("1546:01ab", {0: "ttyACM3"}, driver="cdc_acm", socket="1-2")
    assert names(modem_ports(tree.root)) == ["ttyACM0", "ttyACM1", "ttyACM2"]
    assert names(gnss_candidates(tree.root)) == ["ttyACM3"]


def test_G101_interface_numbers_are_hexadecimal(tree: UsbTree) -> None:
    tree.plug("1546:1107", {0: "ttyACM0", 10: "ttyACM5", 16: "ttyACM6"}, driver="cdc_acm")
    assert [tty.interface for tty in discovery.ttys(tree.root)] == [0, 10, 16]
    assert names(modem_ports(tree.root)) == ["ttyACM0"]


def test_G102_two_equal_modems_are_refused_and_their_sockets_named(tree: UsbTree) -> None:
    tree.plug(*EC25, name="Android_Android")
    second = {number: f"ttyUSB{number + 4}" for number in range(4)}
    tree.plug("2c7c:0125", second, name="Android_Android", socket="1-2")
    with pytest.raises(ModemAmbiguous) as refusal:
        modem_ports(tree.root)
    assert re.search("ttyUSB2 .* at .*by-path/.*usb-0:1:1.2-port0", str(refusal.value))
    assert re.search("ttyUSB6 .* at .*by-path/.*usb-0:2:1.2-port0", str(refusal.value))
    assert "by-id" not in str(refusal.value), "that name belongs to the last device plugged"


def test_FR77_two_modems_are_named_by_model_and_socket(tree: UsbTree) -> None:
    tree.plug(*EC25, model="EG25-G")
    tree.plug("1e0e:9001", {2: "ttyUSB6"}, socket="1-2", model="SIMCOM\x1b[2J")
    with pytest.raises(ModemAmbiguous) as refusal:
        modem_ports(tree.root)
    assert re.search(r"ttyUSB2 \(2c7c:0125, EG25-G\) at .*usb-0:1:1.2-port0", str(refusal.value))
    assert re.search(r"ttyUSB6 \(1e0e:9001, SIMCOM.*\) at .*usb-0:2:1.2", str(refusal.value))
    assert "\x1b" not in str(refusal.value)


def test_two_different_modems_are_refused_too(tree: UsbTree) -> None:
    tree.plug(*EC25)
    tree.plug("1e0e:9001", {2: "ttyUSB6"}, socket="1-2")
    with pytest.raises(ModemAmbiguous, match=r"2c7c:0125.*1e0e:9001"):
        modem_ports(tree.root)


def test_two_equal_modems_of_which_one_is_allowed(tree: UsbTree) -> None:
    tree.plug(*EC25)
    tree.plug("2c7c:0125", {2: "ttyUSB6"}, socket="1-2")
    found = modem_ports(tree.root, allowed=lambda tty: tty.name == "ttyUSB6")
    assert [tty.path for tty in found] == [tree.path("0:2:1.2-port0")]


def test_equal_modems_with_serial_numbers_keep_their_by_id_names(tree: UsbTree) -> None:
    tree.plug(*EC25, name="Q", serial="A1")
    tree.plug("2c7c:0125", {2: "ttyUSB6"}, name="Q", socket="1-2", serial="A2")
    found = {tty.name: Path(tty.path).name for tty in discovery.ttys(tree.root)}
    assert found["ttyUSB2"] == "usb-Q_A1-if02-port0"
    assert found["ttyUSB6"] == "usb-Q_A2-if02-port0"


def test_G103_a_modem_in_recovery_mode_is_never_a_candidate(tree: UsbTree) -> None:
    hints = {0: {"ID_MM_PORT_TYPE_AT_PRIMARY": "1"}}
    tree.plug("05c6:9008", {0: "ttyUSB0"}, driver="qcserial", port_hints=hints)
    with pytest.raises(ModemAbsent, match="05c6:9008"):
        modem_ports(tree.root)
    tty = resolve(str(tree.root / "dev/ttyUSB0"), tree.root)
    assert tty is not None
    with pytest.raises(NotAnAtPort, match="recovery"):
        reject_non_modem(tty)


@pytest.mark.parametrize(
    ("usb", "driver"),
    [
        ("0403:6001", "ftdi_sio"),
        ("10c4:ea60", "cp210x"),
        ("1a86:7523", "ch341"),
        ("1a86:55d4", "cdc_acm"),
        ("067b:2303", "pl2303"),
    ],
)
def test_G104_an_adapter_alone_is_no_modem(tree: UsbTree, usb: str, driver: str) -> None:
    tree.plug(usb, {0: "ttyUSB0"}, driver=driver)
    with pytest.raises(ModemAbsent, match=usb):
        modem_ports(tree.root)


def test_G104_an_adapter_that_a_udev_rule_names_is(tree: UsbTree) -> None:
    hints = {0: {"ID_MM_PORT_TYPE_AT_PRIMARY": "1"}}
    tree.plug("0403:6001", {0: "ttyUSB0"}, driver="ftdi_sio", port_hints=hints)
    (found,) = modem_ports(tree.root)
    assert found.has_speed


@pytest.mark.parametrize("driver", ["cdc_acm", "option"])
def test_G105_the_walk_up_finds_the_device_at_either_depth(tree: UsbTree, driver: str) -> None:
    tree.plug("2c7c:0125", {2: "ttyX2"}, driver=driver, socket="1-1.4")
    (tty,) = discovery.ttys(tree.root)
    assert (tty.device, tty.usb, tty.interface) == ("1-1.4", (0x2C7C, 0x0125), 2)
    assert tty.driver == driver


def test_a_uart_is_no_candidate_for_anything(tree: UsbTree) -> None:
    tree.uart("ttyAMA0")
    (tty,) = discovery.ttys(tree.root)
    assert (tty.device, tty.driver, tty.has_speed) == ("", "uart-pl011", True)
    assert gnss_candidates(tree.root) == []
    with pytest.raises(ModemAbsent, match="nothing on USB"):
        modem_ports(tree.root)


def test_without_sysfs_there_is_nothing(tmp_path: Path) -> None:
    assert discovery.ttys(tmp_path) == []
    with pytest.raises(ModemAbsent):
        modem_ports(tmp_path)


def test_a_modem_that_is_not_listed_is_named_with_its_id(tree: UsbTree) -> None:
    tree.plug("2c7c:0999", {0: "ttyUSB0", 2: "ttyUSB2"})
    with pytest.raises(ModemAbsent, match=r"ttyUSB0 \(2c7c:0999\), ttyUSB2 \(2c7c:0999\)"):
        modem_ports(tree.root)


def test_a_modem_that_is_not_listed_is_known_by_modemmanagers_rules(tree: UsbTree) -> None:
    hints = {
        2: {"ID_MM_PORT_TYPE_AT_SECONDARY": "1"},
        3: {"ID_MM_PORT_TYPE_AT_PRIMARY": "1"},
        4: {"ID_MM_PORT_TYPE_GPS": "1"},
    }
    tree.plug("2c7c:0999", {2: "ttyUSB2", 3: "ttyUSB3", 4: "ttyUSB4"}, port_hints=hints)
    assert names(modem_ports(tree.root)) == ["ttyUSB3", "ttyUSB2"]


def test_a_device_without_a_by_id_name_has_its_by_path_name(tree: UsbTree) -> None:
    tree.plug(*EC25, name="Q")
    for link in (tree.root / "dev/serial/by-id").iterdir():
        link.unlink()
    assert modem_ports(tree.root)[0].path == tree.path("0:1:1.2-port0")
    for link in (tree.root / "dev/serial/by-path").iterdir():
        link.unlink()
    assert modem_ports(tree.root)[0].path == str(tree.root / "dev/ttyUSB2")


def test_a_file_of_sysfs_that_makes_no_sense_is_survived(tree: UsbTree) -> None:
    tree.plug(*EC25)
    device = next(tree.root.glob("sys/devices/**/1-1"))
    (device / "1-1:1.2/bInterfaceNumber").write_text("zz\n")
    assert names(modem_ports(tree.root)) == ["ttyUSB3"]
    (device / "idVendor").write_bytes(b"\xff\n")
    with pytest.raises(ModemAbsent):
        modem_ports(tree.root)


def test_a_configured_receiver_is_refused_as_a_modem(tree: UsbTree) -> None:
    tree.plug("1546:01a9", {0: "ttyACM0"}, name="u-blox_AG", driver="cdc_acm")
    tty = resolve(tree.path("u-blox_AG-if00"), tree.root)
    assert tty is not None
    with pytest.raises(NotAnAtPort, match="u-blox GNSS receiver"):
        reject_non_modem(tty)


def test_a_port_is_found_through_its_links(tree: UsbTree) -> None:
    tree.plug(*EC25, name="Quectel_EC25")
    own = tree.root / "dev/modem"
    own.symlink_to("serial/by-id/usb-Quectel_EC25-if03-port0")
    tty = resolve(str(own), tree.root)
    assert tty is not None
    assert tty.name == "ttyUSB3"


def test_a_link_is_the_port_that_it_leads_to_whatever_its_own_name(tree: UsbTree) -> None:
    tree.plug(*EC25, name="Quectel_EC25")
    tree.plug("1546:01a9", {0: "ttyACM0"}, name="u-blox_AG", driver="cdc_acm", socket="1-2")
    own = tree.root / "dev/mine/ttyUSB2"
    own.parent.mkdir()
    own.symlink_to("../ttyACM0")
    tty = resolve(str(own), tree.root)
    assert tty is not None
    assert tty.is_gnss
    own.unlink()
    own.write_bytes(b"")
    assert resolve(str(own), tree.root) is None


def test_a_path_that_leads_nowhere_is_no_port(tree: UsbTree) -> None:
    loop = tree.root / "dev/loop"
    loop.symlink_to("loop")
    assert resolve(str(loop), tree.root) is None
    assert resolve("/dev/null", tree.root) is None


async def test_E68_the_process_of_a_lock_file_is_named(tree: UsbTree) -> None:
    tree.plug("2c7c:0125", {2: "ttyUSB2"})
    (tty,) = modem_ports(tree.root)
    assert holder(tty, tree.root) == ""
    async with Pty(tree.root / "dev/ttyUSB2") as pty:
        program = f"import sys; port = open({pty.terminal!r}); print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-S", "-c", program]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
            assert process.stdout
            process.stdout.readline()
            (tree.root / "var/lock/LCK..ttyUSB2").write_text(f"{process.pid:>10}\n")
            assert f"(process {process.pid}) according to" in holder(tty, tree.root)
            process.kill()


def test_FR85_a_lock_file_of_a_process_without_the_port_does_not_count(tree: UsbTree) -> None:
    tree.plug("2c7c:0125", {2: "ttyUSB2"})
    (tty,) = modem_ports(tree.root)
    (tree.root / "var/lock/LCK..ttyUSB2").write_text(f"{os.getppid():>10}\n")
    assert holder(tty, tree.root) == ""


def test_E69_a_lock_of_a_process_that_has_ended_does_not_count(tree: UsbTree) -> None:
    tree.plug("2c7c:0125", {2: "ttyUSB2"})
    (tty,) = modem_ports(tree.root)
    (tree.root / "var/lock/LCK..ttyUSB2").write_text(f"{2**22 - 1:>10}\n")
    assert holder(tty, tree.root) == ""


def test_the_port_of_a_console_is_held(tree: UsbTree) -> None:
    tree.uart("ttyAMA0", console=True)
    (tty,) = discovery.ttys(tree.root)
    assert holder(tty, tree.root) == "the console of the kernel"


async def test_M10_a_process_that_has_the_port_open_is_named(tree: UsbTree) -> None:
    tree.plug("2c7c:0125", {2: "ttyUSB2"})
    (tty,) = modem_ports(tree.root)
    async with Pty(tree.root / "dev/ttyUSB2") as pty:
        with open(pty.path) as port, subprocess.Popen(["sleep", "60"], stdin=port) as other:
            try:
                assert holder(tty, tree.root) == f"sleep (process {other.pid})"
            finally:
                other.kill()
        assert holder(tty, tree.root) == ""


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ({}, True),
        ({"ID_MM_DEVICE_IGNORE": "1"}, False),
        ({"ID_MM_PORT_IGNORE": "1"}, False),
        ({"ID_MM_DEVICE_IGNORE": "0"}, True),
    ],
)
def test_ports_that_modemmanager_ignores_are_not_its_own(
    tree: UsbTree, hints: dict[str, str], expected: bool
) -> None:
    tree.plug("2c7c:0125", {2: "ttyUSB2"}, hints=hints)
    tree.plug("2c7c:0125", {2: "ttyUSB6"}, socket="1-2", port_hints={2: hints})
    assert [tty.may_be_modemmanagers for tty in discovery.ttys(tree.root)] == [expected] * 2


def test_modemmanager_has_a_uart_only_if_configured(tree: UsbTree) -> None:
    tree.uart("ttyAMA0", hints={"ID_MM_DEVICE_PROCESS": "1"})
    tree.plug("0403:6001", {0: "ttyUSB0"}, driver="ftdi_sio")
    assert [tty.may_be_modemmanagers for tty in discovery.ttys(tree.root)] == [True, False]


@pytest.mark.parametrize("usb", sorted(usbids.GNSS))
def test_every_receiver_is_a_candidate_for_gnss_and_never_for_at(
    tree: UsbTree, usb: usbids.Id
) -> None:
    hints = {0: {"ID_MM_PORT_TYPE_AT_PRIMARY": "1"}}
    tree.plug("{:04x}:{:04x}".format(*usb), {0: "ttyACM0"}, driver="cdc_acm", port_hints=hints)
    assert names(gnss_candidates(tree.root)) == ["ttyACM0"]
    with pytest.raises(ModemAbsent, match="u-blox GNSS"):
        modem_ports(tree.root)


def test_an_adapter_may_be_a_receivers_only_where_no_receiver_is_known(tree: UsbTree) -> None:
    tree.plug("0403:6015", {0: "ttyUSB0"}, driver="ftdi_sio")
    assert names(gnss_candidates(tree.root)) == ["ttyUSB0"]
    assert gnss_candidates(tree.root)[0].is_bridge
    tree.plug("1546:01a9", {0: "ttyACM0"}, driver="cdc_acm", socket="1-2")
    assert names(gnss_candidates(tree.root)) == ["ttyACM0"]


def test_a_modems_port_is_never_a_receivers(tree: UsbTree) -> None:
    hints = {0: {"ID_MM_PORT_TYPE_AT_PRIMARY": "1"}}
    tree.plug("10c4:ea60", {0: "ttyUSB4"}, driver="cp210x", socket="1-2", port_hints=hints)
    tree.plug(*EC25)
    assert gnss_candidates(tree.root) == []


@pytest.mark.parametrize("usb", sorted(usbids.AT_INTERFACES))
def test_every_modem_is_on_the_page_for_users(usb: usbids.Id) -> None:
    page = (TOP / "docs/modems.md").read_text()
    row = re.compile(
        r"\| .*{:04x}:[^|]*{:04x}.* \|.*{:02x}".format(*usb, usbids.AT_INTERFACES[usb][0])
    )
    assert row.search(page)


def test_no_device_is_in_two_lists() -> None:
    modems = set(usbids.AT_INTERFACES)
    assert not modems & usbids.GNSS
    assert not modems & usbids.NEVER
    assert not usbids.GNSS & usbids.NEVER


_RULE = re.compile(
    r'idVendor}=="(\w{4})", ATTRS{idProduct}=="(\w{4})", ENV{.MM_USBIFNUM}=="(\w{2})".*'
    r"{(ID_MM_PORT_(?:TYPE_AT_(?:PRIMARY|SECONDARY|PPP)|TYPE_QCDM|TYPE_GPS|IGNORE))}"
)


@pytest.mark.skipif(
    not list(MM_RULES.glob("77-mm-*")), reason="not installed: ModemManager's udev rules"
)
def test_the_list_agrees_with_modemmanagers_rules() -> None:
    """For every modem in both: each port is an AT port in both or in neither, and the best one
    is the same."""
    theirs: dict[usbids.Id, dict[int, str]] = defaultdict(dict)
    for file in MM_RULES.glob("77-mm-*-port-types.rules"):
        for vendor, product, interface, kind in _RULE.findall(file.read_text()):
            theirs[int(vendor, 16), int(product, 16)][int(interface, 16)] = kind
    both = theirs.keys() & usbids.AT_INTERFACES.keys()
    assert len(both) > 20
    for usb in both:
        ours = usbids.AT_INTERFACES[usb]
        for interface, kind in theirs[usb].items():
            assert (interface in ours) == ("_AT_" in kind), (usb, interface, kind)
        primary = [number for number, kind in theirs[usb].items() if kind.endswith("PRIMARY")]
        assert not primary or ours[0] in primary, usb
