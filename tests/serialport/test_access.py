"""Ports that ztpd leaves alone or cannot open: journal, `imei` and `check` name the same cause."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import termios
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.identitybench import read, reading, wired
from tests.support.ptybench import ordinary_user
from tests.support.usbtree import UsbTree
from tests.support.virtualtime import run
from ztpd.errors import (
    IdentityError,
    ModemBusy,
    ModemSilent,
    PortAbsent,
    PortBusy,
    PortPermission,
)
from ztpd.modem.at import identity_error
from ztpd.serialport import access, discovery
from ztpd.serialport.port import SerialPort
from ztpd.sim import modem as sim
from ztpd.sim.modem import SimModem
from ztpd.sim.pty import Pty

IMEI = "490154203237518"
NULL = os.makedev(1, 3)
TTY, PLUGDEV, DIALOUT = 5, 46, 20  # of base-passwd

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a port to a group")


@pytest.fixture(autouse=True)
def no_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")


@pytest.fixture
def gateway(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path / "root")


def device(path: Path, group: int, mode: int) -> str:
    """A character device, for root alone to make."""
    os.mknod(path, stat.S_IFCHR | 0o600, NULL)
    os.chown(path, 0, group)
    path.chmod(mode)
    return str(path)


def error_of(gateway: UsbTree, port: str, **models: sim.ModemModel) -> IdentityError:
    result = reading(gateway, models, source="at", port=port, timeout_s=8)
    assert isinstance(result.outcome, IdentityError)
    return result.outcome


@as_root
def test_FR49_a_getty_on_the_port_is_named_alike_and_the_port_is_not_opened(
    gateway: UsbTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = device(gateway.root / "dev/ttyAMA0", TTY, 0o620)
    opened: list[Any] = []
    monkeypatch.setattr("serial.Serial", lambda *args, **_: opened.append(args))

    with pytest.raises(PortBusy, match="by a login console") as looked:
        access.check(port)
    with pytest.raises(PortBusy) as refused:
        run(SerialPort.open(port, 115200))
    asked = error_of(gateway, port)

    assert isinstance(asked, ModemBusy)
    assert str(refused.value) == str(looked.value)
    assert str(asked) == str(identity_error(looked.value))
    assert refused.value.advice == asked.advice
    assert "serial-getty@ttyAMA0" in asked.advice
    assert opened == []


@as_root
def test_FR49_a_configured_console_of_the_kernel_is_not_opened(gateway: UsbTree) -> None:
    gateway.uart("ttyAMA0", console=True)
    port = device(gateway.root / "dev/ttyAMA0", DIALOUT, 0o660)
    with pytest.raises(PortBusy, match="by the console of the kernel") as busy:
        access.check(port, gateway.root)
    assert "console=ttyAMA0" in busy.value.advice


async def test_FR49_a_pseudo_terminal_of_group_tty_is_no_console(tmp_path: Path) -> None:
    async with Pty(tmp_path / "port") as pty:
        if os.geteuid() == 0:
            os.chown(pty.terminal, 0, TTY)
        access.check(pty.path)


@as_root
@pytest.mark.parametrize(
    ("group", "mode", "cure"),
    [
        (PLUGDEV, 0o660, "usermod -a -G plugdev nobody"),
        (DIALOUT, 0o660, "usermod -a -G dialout nobody"),
        (DIALOUT, 0o600, 'KERNEL=="port", GROUP="dialout"'),
        (0, 0o660, 'KERNEL=="port", GROUP="dialout"'),
        (65534, 0o660, "DeviceAllow="),
    ],
)
def test_FR49_the_group_that_the_port_has_is_the_one_to_join(
    tmp_path: Path, group: int, mode: int, cure: str
) -> None:
    port = device(tmp_path / "port", group, mode)
    for folder in (tmp_path, *tmp_path.parents):
        if Path("/tmp") in folder.parents:
            folder.chmod(folder.stat().st_mode | 0o011)
    os.setegid(65534)
    with ordinary_user():
        error = access.forbidden(port)
    os.setegid(0)
    assert f"mode {mode:04o})" in str(error)
    assert cure in error.advice


@as_root
def test_FR49_a_device_that_the_kernel_forbids_is_no_matter_of_groups(tmp_path: Path) -> None:
    port = device(tmp_path / "port", DIALOUT, 0o660)
    error = access.forbidden(port, errno.EPERM)
    assert isinstance(error, PortPermission)
    assert "lxc.cgroup2.devices.allow" in error.advice
    assert "usermod" not in error.advice


@pytest.mark.parametrize("name", ["serial0", "ttyAMA7", "ttyS77", "ttymxc9"])
def test_FR50_a_uart_that_is_away_gets_the_advice_for_a_uart(name: str) -> None:
    error = access.absent(f"/dev/{name}")
    assert "a UART of the board" in str(error)
    assert "USB" not in str(error) + error.advice
    assert "dtparam=uart0=on" in error.advice


def test_FR50_a_usb_port_that_is_away_keeps_its_advice(gateway: UsbTree) -> None:
    error = access.absent(str(gateway.root / "dev/ttyUSB2"), gateway.root)
    assert error.advice == PortAbsent.advice


def test_FR50_a_port_that_a_container_lacks_is_to_be_passed_into_it(gateway: UsbTree) -> None:
    (gateway.root / ".dockerenv").touch()
    error = access.absent(str(gateway.root / "dev/ttyUSB2"), gateway.root)
    assert "--device" in error.advice


def test_FR50_serial0_of_a_raspberry_pi_5_is_named_where_no_modem_answers(
    gateway: UsbTree,
) -> None:
    gateway.uart("ttyAMA10", serial_core=True)
    (gateway.root / "dev/serial0").symlink_to("ttyAMA10")
    silent = replace(sim.SARA_R5, hangs=True)
    error = error_of(gateway, str(gateway.root / "dev/serial0"), ttyAMA10=silent)
    assert isinstance(error, ModemSilent)
    assert "debug connector" in error.advice


def test_FR55_noise_on_the_mini_uart_names_its_clock(gateway: UsbTree) -> None:
    gateway.uart("ttyS0", driver="bcm2835-aux-uart", serial_core=True)
    noisy = replace(sim.SARA_R5, baudrate=110)  # a speed that no try has
    error = error_of(gateway, str(gateway.root / "dev/ttyS0"), ttyS0=noisy)
    assert "mini-UART" in error.advice
    assert "enable_uart=1" in error.advice


@pytest.mark.parametrize("serial_core", [False, True])
def test_the_driver_of_a_uart_is_found_under_old_and_new_kernels(
    gateway: UsbTree, serial_core: bool
) -> None:
    gateway.uart("ttyS0", driver="bcm2835-aux-uart", serial_core=serial_core)
    (tty,) = discovery.ttys(gateway.root)
    assert (tty.driver, tty.device) == ("bcm2835-aux-uart", "")


def test_another_uart_has_no_caution(gateway: UsbTree) -> None:
    gateway.uart("ttyAMA0")
    (tty,) = discovery.ttys(gateway.root)
    assert access.caution(tty) == ""


@pytest.fixture
def wwan_ioctl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses TIOCEXCL, as the kernel's WWAN ports do (wwan_port_fops_at_ioctl)."""
    known = fcntl.ioctl

    def ioctl(fd: int, request: int, *rest: Any) -> Any:
        if request in (termios.TIOCEXCL, termios.TIOCNXCL, 0x80045440):
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        return known(fd, request, *rest)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)


@pytest.mark.usefixtures("wwan_ioctl")
def test_FR54_the_at_port_of_a_modem_on_pci_express_is_found_and_used(gateway: UsbTree) -> None:
    gateway.wwan("wwan0at0")
    gateway.wwan("wwan0qmi0")
    (tty,) = discovery.modem_ports(gateway.root)
    assert (tty.name, tty.device, tty.has_speed) == ("wwan0at0", "wwan0", False)
    assert tty.may_be_modemmanagers

    result = reading(gateway, {"wwan0at0": sim.EC25}, timeout_s=20)
    assert result.imei == IMEI
    assert result.source.endswith("dev/wwan0at0")


@pytest.mark.usefixtures("wwan_ioctl")
def test_FR54_a_configured_one_is_asked_at_one_speed(gateway: UsbTree) -> None:
    gateway.wwan("wwan0at0")
    port = str(gateway.root / "dev/wwan0at0")
    silent = replace(sim.EC25, hangs=True)
    assert reading(gateway, {"wwan0at0": sim.EC25}, port=port, timeout_s=20).imei == IMEI
    assert "9600" not in str(error_of(gateway, port, wwan0at0=silent))


@pytest.mark.usefixtures("wwan_ioctl")
def test_FR54_a_second_ztpd_is_kept_out_by_its_lock(gateway: UsbTree) -> None:
    gateway.wwan("wwan0at0")
    port = str(gateway.root / "dev/wwan0at0")

    async def scenario() -> None:
        async with wired(gateway, wwan0at0=sim.EC25):
            first = await SerialPort.open(port, 115200)
            with pytest.raises(PortBusy):
                await SerialPort.open(port, 115200)
            first.close()

    run(scenario())


def test_FR54_two_modems_on_pci_express_are_two(gateway: UsbTree) -> None:
    gateway.wwan("wwan0at0")
    gateway.wwan("wwan0at1")
    assert [tty.name for tty in discovery.modem_ports(gateway.root)] == ["wwan0at0", "wwan0at1"]
    gateway.wwan("wwan1at0")
    with pytest.raises(IdentityError, match=r"wwan0at0 \(WWAN\).*wwan1at0 \(WWAN\)"):
        discovery.modem_ports(gateway.root)


def test_FR55_two_adapters_with_one_by_id_name_are_named(
    gateway: UsbTree, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (0, 1):
        socket = f"1-{number + 1}"
        gateway.plug("10c4:ea60", {0: f"ttyUSB{number}"}, name="CP2102", socket=socket)
    port = str(gateway.root / "dev/serial/by-id/usb-CP2102-if00-port0")

    async def scenario() -> str:
        async with SimModem(gateway.root / "dev/ttyUSB1", sim.SARA_R5):
            return (await read(gateway, source="at", port=port)).imei

    assert run(scenario()) == IMEI
    words = access.same_name(port, gateway.root)
    assert words.startswith(f"2 equal devices have the name {port}")
    assert "usb-0:1:1.0-port0" in words
    assert "usb-0:2:1.0-port0" in words
    assert words in caplog.text


def test_FR55_a_name_of_one_adapter_is_no_case(gateway: UsbTree) -> None:
    for number, serial in enumerate(("A", "B")):
        socket = f"1-{number + 1}"
        gateway.plug("10c4:ea60", {0: f"ttyUSB{number}"}, socket=socket, serial=serial, name="C")
    assert access.same_name(gateway.path("C_A-if00-port0"), gateway.root) == ""
    by_path = next((gateway.root / "dev/serial/by-path").iterdir())
    assert access.same_name(str(by_path), gateway.root) == ""


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ("run/systemd/container", "a program outside this container"),
        (".dockerenv", "a program outside this container"),
        ("", "a process"),
    ],
)
def test_FR44_a_holder_that_cannot_be_seen_is_where_it_may_be(
    gateway: UsbTree, sign: str, words: str
) -> None:
    if sign:
        place = gateway.root / sign
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    assert f"/dev/x, by {words}" in str(access.busy("/dev/x", [], gateway.root))
