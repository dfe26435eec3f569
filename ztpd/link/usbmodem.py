"""The IMEI of the one modem on USB, on whichever of its ports answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ztpd import events, log
from ztpd.errors import (
    IdentityError,
    ModemAbsent,
    ModemBusy,
    ModemNotAt,
    ModemPermission,
    ModemSilent,
)
from ztpd.link import modem, ports
from ztpd.link.offload import offload
from ztpd.link.ports import Tty
from ztpd.model import Identity

USB_BAUDRATE = 115200  # any will do

_LOOK_S = 1.0
_FIRST_TURN_S = 5.0  # of one port among several; each round of turns is twice as long


async def read_imei(
    baudrate: int | None,
    *,
    timeout_s: float,
    root: Path = ports.ROOT,
    allowed: Callable[[Tty], bool] = lambda _: True,
) -> Identity:
    """Who the modem is; ``allowed`` tells which ports may be opened, ``baudrate`` None: any.

    Waits up to ``timeout_s`` for a modem to appear. Its ports take turns: one may be deaf until
    the other was asked. Raises :class:`ModemAmbiguous` where there are several modems, and what
    :func:`ztpd.link.ports.modem_ports` and :func:`ztpd.link.modem.read_imei` raise.
    """
    now = asyncio.get_running_loop().time
    until_s = now() + timeout_s
    trouble: IdentityError = ModemAbsent("its ports come and go")
    told: type[IdentityError] | None = None
    seen: list[Tty] = []
    turn_s = _FIRST_TURN_S
    while True:
        try:
            found = await offload(lambda: ports.modem_ports(root, allowed=allowed))
        except (ModemAbsent, ModemBusy) as error:
            trouble, found = error, []
        if found and found == seen:  # two looks agree: a second modem may just be starting
            failures = []
            for tty in found:
                left_s = max(until_s - now(), _LOOK_S)
                patience_s = min(turn_s, left_s) if len(found) > 1 else left_s
                try:
                    return await modem.read_imei(
                        tty.path, baudrate or speed(tty), timeout_s=patience_s
                    )
                except (
                    ModemAbsent,
                    ModemBusy,
                    ModemSilent,
                    ModemNotAt,
                    ModemPermission,
                ) as error:
                    failures.append(error)
            trouble = failures[0]
            if all(isinstance(each, ModemNotAt | ModemPermission) for each in failures):
                raise trouble
            turn_s *= 2
        elif not found and type(trouble) is not told:
            told = type(trouble)
            log.emit(events.MODEM_AWAITED, error=trouble)
        seen = found
        if now() >= until_s:
            raise trouble
        await asyncio.sleep(_LOOK_S)


def speed(tty: Tty | None) -> int | None:
    """The speed to use where none is configured; None where it must be found out."""
    return None if tty is None or tty.has_speed else USB_BAUDRATE
