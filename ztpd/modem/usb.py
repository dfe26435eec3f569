"""The IMEI of the only modem on USB, from the first of its ports that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ztpd import events, log
from ztpd.errors import (
    IdentityError,
    ModemAbsent,
    ModemBusy,
    ModemPermission,
    ModemSilent,
    NotAnAtPort,
)
from ztpd.model import Identity
from ztpd.modem import at
from ztpd.serialport import discovery
from ztpd.serialport.discovery import Tty
from ztpd.system.offload import offload

USB_BAUDRATE = 115200  # a modem on USB answers at any speed

_OF_THIS_PORT = (ModemAbsent, ModemBusy, ModemSilent, NotAnAtPort, ModemPermission)
_LOOK_S = 1.0
_FIRST_TURN_S = 5.0  # of one port among several; each round of turns is twice as long


async def read_imei(
    baudrate: int | None,
    *,
    timeout_s: float,
    root: Path = discovery.ROOT,
    allowed: Callable[[Tty], bool] = lambda _: True,
) -> Identity:
    """The identity of the modem, by the ports that ``allowed`` accepts; ``baudrate`` None: any.

    Waits up to ``timeout_s`` for a modem to appear. Its ports take turns, since one may answer
    only after the other was tried. A port that another program has open is left alone. Raises
    :class:`ztpd.errors.ModemAmbiguous` if there are several modems, else the error of
    :func:`ztpd.modem.at.read_imei` for the best port.
    """
    now = asyncio.get_running_loop().time
    until_s = now() + timeout_s
    trouble: IdentityError = ModemAbsent("its ports come and go")
    logged: type[IdentityError] | None = None
    seen: list[Tty] = []
    turn_s = _FIRST_TURN_S
    while True:
        latest: IdentityError | None = None
        try:
            found = await offload(lambda: discovery.modem_ports(root, allowed=allowed))
        except ModemAbsent as error:
            latest, found = error, []
        if found and found == seen:  # two looks agree: a second modem may just be starting
            failures: list[IdentityError] = []
            for tty in found:
                left_s = max(until_s - now(), _LOOK_S)
                port_s = min(turn_s, left_s) if len(found) > 1 else left_s
                try:
                    await _reject_held(tty, root)
                    return await at.read_imei(tty.path, baudrate or speed(tty), timeout_s=port_s)
                except IdentityError as error:
                    its_turn_ended = isinstance(error.__cause__, TimeoutError)
                    if not (its_turn_ended or isinstance(error, _OF_THIS_PORT)):
                        raise
                    failures.append(error)
            latest = failures[0]
            if all(isinstance(each, NotAnAtPort | ModemPermission) for each in failures):
                raise latest
            turn_s *= 2
        if isinstance(latest, ModemAbsent | ModemBusy) and type(latest) is not logged:
            logged = type(latest)
            log.emit(events.MODEM_AWAITED, error=latest)
        seen, trouble = found, latest or trouble
        if now() >= until_s:
            raise trouble
        await asyncio.sleep(_LOOK_S)


async def _reject_held(tty: Tty, root: Path) -> None:
    words = await offload(discovery.holder, tty, root)
    if words:
        raise ModemBusy(f"{tty.path}, by {words}")


def speed(tty: Tty | None) -> int | None:
    """The speed to use if none is configured; None if it must be searched.

    A port with the USB id of a modem has no UART in between, and so no speed.
    """
    return USB_BAUDRATE if tty and tty.device and tty.at_rank is not None else None
