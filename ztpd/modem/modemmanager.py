"""The IMEI that ModemManager knows, read over D-Bus.

ztpd makes only two calls, which every user may make: NameHasOwner and GetManagedObjects. It does
not start ModemManager, sends no command through it, and takes no modem from it. The reason for
``busctl`` instead of a library is in docs/decisions/0004-d-bus-by-busctl.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ztpd import events, log
from ztpd.errors import (
    IdentityError,
    ImeiInvalid,
    ModemAmbiguous,
    ModemManagerAbsent,
    ModemManagerNoImei,
    ModemManagerNoModem,
    ModemManagerSilent,
)
from ztpd.model import Identity, Imei
from ztpd.system.offload import offload

_NAME = "org.freedesktop.ModemManager1"
_IS_THERE = (
    *("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"),
    *("NameHasOwner", "s", _NAME),
)
_ALL_OBJECTS = (
    *(_NAME, "/org/freedesktop/ModemManager1", "org.freedesktop.DBus.ObjectManager"),
    "GetManagedObjects",
)
_MODEM = "org.freedesktop.ModemManager1.Modem"
_MODEM_3GPP = "org.freedesktop.ModemManager1.Modem.Modem3gpp"
_FAILED = -1
_FAILURES = {  # MMModemStateFailedReason
    1: "for a reason it does not know",
    2: "no SIM",
    3: "SIM error",
    4: "unknown capabilities",
    5: "eSIM without a profile",
}
_STATES = (  # MMModemState, from -1 on
    *("failed", "unknown", "initialising", "locked", "disabled", "disabling", "enabling"),
    *("enabled", "searching", "registered", "disconnecting", "connecting", "connected"),
)

_POLL_S = 1.0
_LOOK_S = 3.0  # between looks for a ModemManager that starts during a reading by AT
_ANSWER_S = 3.0
_HANG_S = 5.0  # until busctl itself is killed

_NO_BUS = re.compile("Failed to connect to (system )?bus: (No such file|Connection refused)")
_BETWEEN_NUMBERS = re.compile(r"[\s,;/]+")

T = TypeVar("T")


class Modem(NamedTuple):
    """A modem as ModemManager describes it; missing properties are empty."""

    number: str  # "0", as in `mmcli -m 0`; changes with each plug
    device: str  # in sysfs, or the name that a udev rule gave
    ports: frozenset[str]  # kernel names: "ttyUSB2", "cdc-wdm0"
    numbers: tuple[str, ...]  # candidates for its IMEI, unchecked
    state: int
    failure: int

    @property
    def state_name(self) -> str:
        known = _FAILED <= self.state < len(_STATES) + _FAILED
        return _STATES[self.state - _FAILED] if known else str(self.state)

    def has(self, choice: str) -> bool:
        """Whether ``choice`` is one of its ports (any name of it), or its device."""
        names = {choice, Path(os.path.realpath(choice)).name}
        return choice == self.device or not names.isdisjoint(self.ports)

    def __str__(self) -> str:
        return f"modem {self.number} ({', '.join(sorted(self.ports))} at {self.device})"


async def present() -> bool | None:
    """Whether ModemManager is on the system bus; None if the bus does not answer."""
    try:
        if await offload(_busctl, *_IS_THERE):
            return True
        why = "it is not on the bus"
    except ModemManagerAbsent as error:
        why = error.detail
    except ModemManagerSilent as error:
        log.emit(events.NO_MODEMMANAGER, why=error.detail)
        return None
    log.emit(events.NO_MODEMMANAGER, why=why)
    return False


async def appears() -> None:
    """Wait until ModemManager is on the bus."""
    while True:
        if await present():
            return
        await asyncio.sleep(_LOOK_S)


async def known() -> bool:
    """Wait for an answer of the bus: whether ModemManager is on it."""
    while True:
        there = await present()
        if there is not None:
            return there
        await asyncio.sleep(_POLL_S)


async def modems() -> list[Modem]:
    """The modems that ModemManager manages now.

    Raises :class:`ModemManagerAbsent`, and :class:`ModemManagerSilent` after a few seconds.
    """
    try:
        objects = await offload(_busctl, *_ALL_OBJECTS)
    except ModemManagerSilent as error:
        if await present() is False:
            raise ModemManagerAbsent from error
        raise
    return modems_in(objects)


def modems_in(objects: Any) -> list[Modem]:
    """The modems among ``objects``, a JSON answer to GetManagedObjects of any form."""
    found = [_modem(path, each) for path, each in _dict(objects).items() if _MODEM in _dict(each)]
    return sorted(found, key=lambda modem: modem.number)


async def read_imei(choice: str, *, timeout_s: float) -> Identity:
    """The identity of the modem with the port or device ``choice``; "" for the only modem.

    Waits up to ``timeout_s`` for ModemManager, for a modem that it is still probing, and for its
    number. Raises :class:`ModemManagerAbsent`, :class:`ModemManagerSilent`,
    :class:`ModemManagerNoModem`, :class:`ModemManagerNoImei`, :class:`ModemAmbiguous` or
    :class:`ImeiInvalid`.
    """
    trouble: IdentityError = ModemManagerSilent()
    logged: type[IdentityError] | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return _identity(_chosen(await modems(), choice))
                except (
                    ModemManagerAbsent,
                    ModemManagerSilent,
                    ModemManagerNoModem,
                    ModemManagerNoImei,
                ) as error:
                    trouble = error
                if type(trouble) is not logged:
                    logged = type(trouble)
                    log.emit(events.MODEM_AWAITED, error=trouble)
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise trouble from error


def _chosen(found: Sequence[Modem], choice: str) -> Modem:
    wanted = [modem for modem in found if not choice or modem.has(choice)]
    known = ", ".join(map(str, found))
    if not wanted:
        raise ModemManagerNoModem(f"{choice} is none of {known}" if choice and found else "")
    if len(wanted) > 1:
        raise ModemAmbiguous(known)
    return wanted[0]


def _identity(modem: Modem) -> Identity:
    source = f"ModemManager, modem {modem.number}"
    if not modem.numbers:
        why = f", {_FAILURES.get(modem.failure, 'no reason given')}"
        raise ModemManagerNoImei(
            f"{modem}, state {modem.state_name}{why if modem.state == _FAILED else ''}"
        )
    invalid: ImeiInvalid | None = None
    for number in modem.numbers:
        try:
            imei, note = Imei.normalise(number)
        except ImeiInvalid as error:
            detail = f"{source}: {error.detail}"
            invalid = invalid or ImeiInvalid(detail, number=number)
        else:
            return Identity(imei, source, note)
    assert invalid is not None  # noqa: S101 - there is one number at least
    raise invalid


def _modem(path: str, interfaces: Any) -> Modem:
    """A modem from an object's properties; those of a wrong type count as missing.

    Modem3gpp.Imei comes second, because ModemManager leaves it empty for some answers that it
    stores in EquipmentIdentifier. The latter may be a MEID, a serial number, or several numbers of
    a modem with several SIM slots.
    """
    modem, threegpp = _dict(interfaces.get(_MODEM)), _dict(interfaces.get(_MODEM_3GPP))
    ports = _value(modem, "Ports", list, [])
    return Modem(
        number=path.rpartition("/")[2],
        device=_value(modem, "Device", str, ""),
        ports=frozenset(
            port[0] for port in ports if isinstance(port, list) and port and _is_text(port[0])
        ),
        numbers=tuple(
            number
            for text in (
                _value(modem, "EquipmentIdentifier", str, ""),
                _value(threegpp, "Imei", str, ""),
            )
            for number in _BETWEEN_NUMBERS.split(text)
            if number
        ),
        state=_value(modem, "State", int, 0),
        failure=_value(modem, "StateFailedReason", int, 0),
    )


def _value(properties: dict[str, Any], name: str, kind: type[T], otherwise: T) -> T:
    data = _dict(properties.get(name)).get("data")
    return data if isinstance(data, kind) else otherwise


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _busctl(*call: str) -> Any:
    """The first value of a method's answer.

    Raises :class:`ModemManagerAbsent` if there is no bus or no ``busctl``, and
    :class:`ModemManagerSilent` if no answer comes.
    """
    command = ["busctl", "--system", "--json=short", "--auto-start=no", f"--timeout={_ANSWER_S:g}"]
    try:
        done = subprocess.run(
            [*command, "call", *call], capture_output=True, timeout=_HANG_S, check=True
        )
        return json.loads(done.stdout)["data"][0]
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode("utf-8", "replace").strip().splitlines() or ["busctl failed"]
        kind = ModemManagerAbsent if _NO_BUS.search(words[-1]) else ModemManagerSilent
        raise kind(words[-1]) from error
    except subprocess.TimeoutExpired as error:
        raise ModemManagerSilent("busctl hangs") from error
    except OSError as error:
        raise ModemManagerAbsent(f"busctl: {error.strerror}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ModemManagerSilent("its answer cannot be read") from error
