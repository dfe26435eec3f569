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
    ModemPermission,
    ModemSilent,
    NotAnAtPort,
)
from ztpd.model import Identity
from ztpd.modem import at
from ztpd.serialport import discovery
from ztpd.serialport.discovery import Tty
from ztpd.system.offload import offload

USB_BAUDRATE = 115200  # any will do

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
    """Who the modem is; ``allowed`` tells which ports may be opened, ``baudrate`` None: any.

    Waits up to ``timeout_s`` for a modem to appear. Its ports take turns: one may be deaf until
    the other was asked. A port that another program has open is left alone. Raises
    :class:`ztpd.errors.ModemAmbiguous` where there are several modems, and what
    :func:`ztpd.modem.at.read_imei` raises, of the best port.
    """
    now = asyncio.get_running_loop().time
    until_s = now() + timeout_s
    trouble: IdentityError = ModemAbsent("its ports come and go")
    told: type[IdentityError] | None = None
    seen: list[Tty] = []
    turn_s = _FIRST_TURN_S
    while True:
        news: IdentityError | None = None
        try:
            found = await offload(lambda: discovery.modem_ports(root, allowed=allowed))
        except ModemAbsent as error:
            news, found = error, []
        if found and found == seen:  # two looks agree: a second modem may just be starting
            failures: list[IdentityError] = []
            for tty in found:
                left_s = max(until_s - now(), _LOOK_S)
                patience_s = min(turn_s, left_s) if len(found) > 1 else left_s
                try:
                    await _leave_to_others(tty, root)
                    return await at.read_imei(
                        tty.path, baudrate or speed(tty), timeout_s=patience_s
                    )
                except _OF_THIS_PORT as error:
                    failures.append(error)
            news = failures[0]
            if all(isinstance(each, NotAnAtPort | ModemPermission) for each in failures):
                raise news
            turn_s *= 2
        if isinstance(news, ModemAbsent | ModemBusy) and type(news) is not told:
            told = type(news)
            log.emit(events.MODEM_AWAITED, error=news)
        seen, trouble = found, news or trouble
        if now() >= until_s:
            raise trouble
        await asyncio.sleep(_LOOK_S)


async def _leave_to_others(tty: Tty, root: Path) -> None:
    words = await offload(discovery.holder, tty, root)
    if words:
        raise ModemBusy(f"{tty.path}, by {words}")


def speed(tty: Tty | None) -> int | None:
    """The speed to use where none is configured; None where it must be found out.

    Only where the USB id is a modem's own does no UART lie between.
    """
    return USB_BAUDRATE if tty and tty.device and tty.at_rank is not None else None
