"""Explains why a serial port cannot be used, without opening it.

The errors made here have the advice for the case; opening a port, `ztpd imei` and `ztpd check`
use the same ones, so that all name the same cause.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from ztpd.errors import NotASerialPort, PortAbsent, PortBusy, PortPermission
from ztpd.serialport import discovery, holders, usbdevices
from ztpd.serialport.discovery import ROOT, Tty

_UART = re.compile(r"/dev/(serial|tty(?!USB|ACM)[A-Za-z]+)\d+")  # ttyAMA0, ttyS0, ttymxc2
_BLUETOOTH = "serial1"  # of Raspberry Pi OS
_LISTED = 4
_CONTAINER_SIGNS = ("run/systemd/container", "run/.containerenv", ".dockerenv")

_PI5_DEBUG = (
    "ttyAMA10 is the debug connector of a Raspberry Pi 5; the pins 8 and 10 of its header are "
    "/dev/ttyAMA0, after `dtparam=uart0=on` in /boot/firmware/config.txt and a reboot."
)
_MINI_UART = (
    "This is the mini-UART of a Raspberry Pi, whose speed follows the clock of the processor: set "
    "`enable_uart=1`, or `dtoverlay=disable-bt` for the better UART, in /boot/firmware/config.txt, "
    "then reboot."
)
_UART_OFF = (
    "Switch the UART on in the device tree: on a Raspberry Pi `sudo raspi-config nonint "
    "do_serial_hw 0`, on the Raspberry Pi 5 `dtparam=uart0=on` in /boot/firmware/config.txt; then "
    "reboot. A Raspberry Pi's serial1 is Bluetooth's."
)
_CONSOLE = (
    "Take the console off: `sudo systemctl disable --now serial-getty@{name}`, and remove "
    "`console={name}` or `console=serial0` from the kernel's command line (on a Raspberry Pi "
    "`sudo raspi-config nonint do_serial_cons 1`), then reboot."
)
_INTO_CONTAINER = (
    "Check power and cable, and that the port is passed into this container "
    "(Docker: `--device {path}`; LXC: a device entry)."
)
_CLOSED = "Name the port by its path below /dev: the daemon may not look into /home and /root."
_JOIN = "`sudo usermod -a -G {group} {user}`, then restart ztpd."
_JOINED = "User {user} is in group {group} since after this program started: restart it."
_NO_GROUP = (
    "No group may use it: give it to group dialout by a udev rule, "
    '`KERNEL=="{name}", GROUP="dialout", MODE="0660"`.'
)
_FORBIDDEN = (
    "The permissions of the file allow it, and the kernel does not: allow the device in the unit "
    "(DeviceAllow=) or in the container (lxc.cgroup2.devices.allow, --device)."
)


def check(path: str, root: Path = ROOT, *, for_receiver: bool = False) -> None:
    """Raises :class:`PortAbsent`, :class:`NotASerialPort`, or :class:`PortBusy` where a console is
    on the port: its login would read AT text or UBX, and answer with a prompt."""
    device = os.path.realpath(path)
    try:
        mode = Path(device).stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise absent(path, root, for_receiver=for_receiver) from error
    except PermissionError as error:
        detail = f"{path}, a folder on the way is closed to this user"
        raise PortPermission(detail, advice=_CLOSED) from error
    if not stat.S_ISCHR(mode):
        raise NotASerialPort(path)
    name = Path(device).name
    if words := holders.console(name, device, root):
        raise PortBusy(f"{path}, by {words}", advice=console_advice(name))


def console_advice(name: str) -> str:
    """How to take the console off the port ``name`` of the kernel."""
    return _CONSOLE.format(name=name)


def absent(path: str, root: Path = ROOT, *, for_receiver: bool = False) -> PortAbsent:
    """The error for a port that is not there, with similar ports, and the devices on USB that have
    none. The advice is for the receiver's port, or for the modem's."""
    if _UART.fullmatch(path):
        return PortAbsent(f"{path}, a UART of the board; {_similar(path)}", advice=_UART_OFF)
    words, advice = _similar(path), _INTO_CONTAINER.format(path=path) if _in_container(root) else ""
    others = discovery.inventory(discovery.ttys(root), root)[1]
    if others:
        words += f"; on USB without a serial port: {usbdevices.listed(others)}"
        find = usbdevices.advice_for_receiver if for_receiver else usbdevices.advice_for_modem
        advice = find(others) or advice
    return PortAbsent(f"{path}; {words}", advice=advice)


def busy(path: str, pids: Sequence[int], root: Path = ROOT) -> PortBusy:
    """The error for a port that the processes ``pids`` hold; none are visible if it is empty."""
    return PortBusy(f"{path}, by {holders.describe(pids) if pids else _unseen(root)}")


def forbidden(path: str, number: int = errno.EACCES) -> PortPermission:
    """The error for a port that this user may not open, by the ``number`` of open(2)."""
    device = os.path.realpath(path)
    try:
        facts = Path(device).stat()
        user = pwd.getpwuid(os.geteuid()).pw_name
        owner, group = pwd.getpwuid(facts.st_uid).pw_name, grp.getgrgid(facts.st_gid)
    except (OSError, KeyError):
        return PortPermission(path)
    detail = f"{path} ({owner}:{group.gr_name}, mode {stat.S_IMODE(facts.st_mode):04o})"
    name = Path(device).name
    if number == errno.EPERM:
        advice = _FORBIDDEN
    elif facts.st_mode & 0o060 != 0o060 or facts.st_gid == 0:
        advice = _NO_GROUP.format(name=name)
    elif facts.st_gid in (os.getegid(), *os.getgroups()):
        advice = _FORBIDDEN
    else:
        advice = _JOINED if user in group.gr_mem else _JOIN
        advice = advice.format(user=user, group=group.gr_name)
    return PortPermission(detail, advice=advice)


def caution(tty: Tty | None) -> str:
    """Advice for a UART with a known trap, for the case that nothing sensible is read there; ""
    for other ports."""
    if tty is None or tty.device:
        return ""
    if tty.name == "ttyAMA10":
        return _PI5_DEBUG
    return _MINI_UART if tty.driver == "bcm2835-aux-uart" else ""


def same_name(path: str, root: Path = ROOT) -> str:
    """A sentence for a name that several adapters share; "" for a name of one port."""
    if Path(path).parent.name != "by-id":
        return ""
    tty = discovery.resolve(path, root)
    others = discovery.same_name(tty, root) if tty else []
    if not others:
        return ""
    places = ", ".join(sorted(each.by_path for each in others))
    return f"{len(others)} equal devices have the name {path}, which leads to one of: {places}"


def _similar(path: str) -> str:
    """The ports of the same kind as ``path``, or in its folder, as text."""
    directory, name = Path(path).parent, Path(path).name
    begin = name.rstrip("0123456789*?") if directory == Path("/dev") else ""
    here: list[str] = []
    with contextlib.suppress(OSError):
        here = [each.name for each in directory.iterdir()]
    names = sorted(each for each in here if each.startswith(begin) and each != _BLUETOOTH)
    if not names:
        return f"nothing like it in {directory}"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{directory} has {', '.join(names[:_LISTED])}{more}"


def _in_container(root: Path) -> bool:
    return any((root / sign).exists() for sign in _CONTAINER_SIGNS)


def _unseen(root: Path) -> str:
    if _in_container(root):
        return "a program outside this container"
    if os.geteuid() != 0:
        return "a process of another user (`sudo ztpd check` names it)"
    return "a process that is not visible here"
