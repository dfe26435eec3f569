"""The identity of this gateway, from the sources in their order."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from ztpd import events, log
from ztpd.config import Config, IdentityOptions
from ztpd.errors import (
    ConfigError,
    ImeiInvalid,
    ModemAbsent,
    ModemManagerAbsent,
    ModemManagerNoImei,
    ModemManagerNoModem,
    ModemManagerSilent,
)
from ztpd.model import Identity, Imei
from ztpd.serialport import access, discovery, usbdevices
from ztpd.serialport.discovery import Tty
from ztpd.system.offload import offload
from ztpd.system.tasks import end

_MODEMMANAGER_S = (
    30.0  # at most, and at most half of the time: ModemManager probes a new modem for so long
)


async def read(config: Config, *, root: Path = discovery.ROOT) -> Identity:
    """The identity by ``[identity]`` of the configuration, within its ``timeout_s``.

    ``root`` is the folder of ``sys``, ``dev`` and ``run``. Raises
    :class:`ztpd.errors.IdentityError`, and :class:`ConfigError` for a fixed identity without one.
    """
    settings = config.identity
    reading = _IdentityReading(settings, root)
    match settings.source:
        case "fixed":
            return _fixed(settings.hardware_id)
        case "modemmanager":
            return await reading.by_modemmanager(settings.timeout_s)
        case "at":
            return await reading.by_at(settings.timeout_s)
        case "auto":
            return await reading.by_either(settings.timeout_s)


def _fixed(hardware_id: str) -> Identity:
    if not hardware_id:
        raise ConfigError('[identity] source is "fixed", but hardware_id is empty')
    try:
        return Identity(Imei(hardware_id), "the configuration")
    except ImeiInvalid:
        return Identity(None, "the configuration", fixed=hardware_id)


class _IdentityReading:
    """One reading of the modem's IMEI, by ModemManager or AT."""

    def __init__(self, settings: IdentityOptions, root: Path) -> None:
        self._port = "" if settings.port == "auto" else settings.port
        self._baudrate = settings.baudrate if isinstance(settings.baudrate, int) else None
        self._root = root

    async def by_either(self, timeout_s: float) -> Identity:
        """ModemManager if it may manage the modem, else AT.

        Two programs on one port receive each other's answers, so ModemManager comes first, and
        keeps its ports.
        """
        from ztpd.modem import modemmanager

        now = asyncio.get_running_loop().time
        until_s = now() + timeout_s
        tty = await self._tty()
        if tty and not tty.may_be_modemmanagers:
            return await self.by_at(timeout_s)
        modemmanager_s = min(_MODEMMANAGER_S, timeout_s / 2)
        there: bool | None = None  # unknown is not absent
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(modemmanager_s):
                there = await modemmanager.known()
        if not there and (found := await self._by_at_until_it_appears(until_s - now())):
            return found
        try:
            return await self.by_modemmanager(min(modemmanager_s, until_s - now()))
        except (
            ImeiInvalid,
            ModemManagerAbsent,
            ModemManagerSilent,
            ModemManagerNoModem,
            ModemManagerNoImei,
        ) as error:
            allowed = await self._ports_left()
            if allowed is None:
                raise
            log.emit(events.BY_AT, error=error)
        return await self.by_at(until_s - now(), allowed)

    async def _by_at_until_it_appears(self, timeout_s: float) -> Identity | None:
        """The identity by AT; None if ModemManager started meanwhile, and may want the port."""
        from ztpd.modem import modemmanager

        reading = asyncio.create_task(self.by_at(timeout_s))
        watching = asyncio.create_task(modemmanager.appears())
        try:
            await asyncio.wait((reading, watching), return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else watching.result()
        finally:
            await end(reading, watching)

    async def by_modemmanager(self, timeout_s: float) -> Identity:
        from ztpd.modem import modemmanager

        try:
            return await modemmanager.read_imei(self._port, timeout_s=timeout_s)
        except ModemManagerNoModem as error:
            raise await offload(self._no_modem, error.detail) from error

    def _no_modem(self, detail: str) -> ModemManagerNoModem:
        """The error for a modem that ModemManager does not know, with the devices on USB."""
        words, portless = discovery.inventory(discovery.ttys(self._root), self._root)
        advice = usbdevices.advice_for_modem(portless)
        return ModemManagerNoModem("; ".join(filter(None, (detail, words))), advice=advice)

    async def by_at(
        self, timeout_s: float, allowed: Callable[[Tty], bool] = lambda _: True
    ) -> Identity:
        from ztpd.modem import at, usb

        if not self._port:
            return await usb.read_imei(
                self._baudrate, timeout_s=timeout_s, root=self._root, allowed=allowed
            )
        tty = await self._tty()
        if tty:
            discovery.reject_non_modem(tty)
        if words := await offload(access.same_name, self._port, self._root):
            log.emit(events.PORT_NAME_SHARED, words=words)
        baudrate, caution = self._baudrate or usb.speed(tty), access.caution(tty)
        return await at.read_imei(self._port, baudrate, timeout_s=timeout_s, caution=caution)

    async def _ports_left(self) -> Callable[[Tty], bool] | None:
        """A test for the ports that ztpd may open if ModemManager gave no IMEI; None if none.

        The configured port, unless ModemManager manages it. Without configuration only the ports
        that ModemManager is configured to ignore: it may soon open all others.
        """
        from ztpd.modem import modemmanager

        try:
            known = await modemmanager.modems()
        except ModemManagerAbsent:
            return lambda _: True
        except ModemManagerSilent:
            known = []
        if self._port:
            there = await offload(os.path.exists, self._port)
            held = any(modem.has(self._port) for modem in known)
            return (lambda _: True) if there and not held else None

        def ignored(tty: Tty) -> bool:
            held = any(tty.name in modem.ports for modem in known)
            return not held and not tty.may_be_modemmanagers

        try:
            await offload(lambda: discovery.modem_ports(self._root, allowed=ignored))
        except ModemAbsent:
            return None
        return ignored

    async def _tty(self) -> Tty | None:
        """The configured port; None if none is configured or it does not exist."""
        return await offload(discovery.resolve, self._port, self._root) if self._port else None
