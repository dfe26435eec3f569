"""Finds the receiver's port if none is configured.

The search begins with USB ids, goes on with adapters to a UART, and ends with the UART that
Raspberry Pi OS and others call serial0. A port counts after MON-VER. Where the USB id is unknown,
ztpd writes nothing before the device has sent data of a GNSS receiver: other devices get no byte.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ztpd.errors import (
    PortBusy,
    PortLost,
    ReceiverAbsent,
    ReceiverAmbiguous,
    ReceiverError,
    ReceiverUnknown,
    SerialError,
)
from ztpd.receiver.client import UbxClient
from ztpd.receiver.identify import SPEEDS, identify
from ztpd.receiver.products import has_rtk, product, unsuitable
from ztpd.retry import Delay
from ztpd.serialport import access, discovery, usbdevices, usbids
from ztpd.serialport.discovery import Tty
from ztpd.serialport.port import SerialPort
from ztpd.system.offload import offload
from ztpd.wire.ubx import MonVer

AUTO = "auto"
DEFAULT_SPEED = 38400

_AGAIN = Delay(2, 120, equal=True)  # before a port that was no receiver's is tried again
_SETTLE_S = 1.0  # two looks that far apart agree: a second receiver may just be starting
_UNSETTLED = "its ports come and go"
_LOOK_S = 60.0  # between two checks of the same ports: another program may have closed one
_OWN_USB = 0x01  # high byte of u-blox's product ids; 0x05 are UARTs behind u-blox's bridges
_UART = "dev/serial0"

_Key = tuple[object, ...]


class Found(NamedTuple):
    """A port with a receiver that has answered."""

    tty: Tty
    port: SerialPort
    version: MonVer

    @property
    def takes_corrections(self) -> bool:
        return has_rtk(self.version) is True


class _FailedPort(NamedTuple):
    """A port without a receiver, as far as it was tried."""

    error: ReceiverError | SerialError
    due_s: float
    step: int = 0


class _EmptyScan(NamedTuple):
    """A look that found no receiver, and until when the same ports would give the same."""

    names: frozenset[str]
    error: ReceiverError | SerialError
    until_s: float


class PortFinder:
    """Remembers the ports, the tries, and the last receiver."""

    def __init__(
        self,
        *,
        root: Path = discovery.ROOT,
        others: Sequence[str] = (),
        rng: random.Random | None = None,
    ) -> None:
        """``root`` is where ``sys``, ``dev`` and ``run`` are found; ``others`` are ports that
        belong to something else."""
        self._root = root
        self._others = others
        self._rng = rng or random.SystemRandom()
        self._left: dict[_Key, _FailedPort] = {}
        self._known: Tty | None = None
        self._rtk = ""  # the last one with RTK
        self._vain: _EmptyScan | None = None

    async def find(self, speed: int, queue_bytes: int, max_age_s: float) -> Found:
        """One look at everything that is due; ``speed`` is tried first. Cheap if no port
        has come or gone and none is due.

        Raises :class:`ReceiverAbsent`, :class:`ReceiverAmbiguous`, and for the best port the
        errors of :func:`identify` and :meth:`SerialPort.open`. May be called again at once.
        """
        now = asyncio.get_running_loop().time
        vain, names = self._vain, discovery.names(self._root)
        if vain and vain.names == names and now() < vain.until_s:
            raise vain.error.with_traceback(None)
        self._vain = None
        try:
            return await self._look(speed, queue_bytes, max_age_s)
        except (ReceiverError, SerialError) as error:
            if error.detail != _UNSETTLED:
                due_s = [left.due_s for left in self._left.values()]
                self._vain = _EmptyScan(names, error, min([now() + _LOOK_S, *due_s]))
            raise

    async def _look(self, speed: int, queue_bytes: int, max_age_s: float) -> Found:
        tiers = await offload(self._candidates)
        again = [tty for tier in tiers for tty in tier if self._is_known(tty)]
        if len(again) == 1 and _key(again[0]) not in self._left:
            tiers = [again]
        elif not again:
            before = tiers
            await asyncio.sleep(_SETTLE_S)
            tiers = await offload(self._candidates)
            if tiers != before:
                raise ReceiverAbsent(_UNSETTLED)
        here = [_key(tty) for tier in tiers for tty in tier]
        self._left = {key: left for key, left in self._left.items() if key in here}
        if not here:
            raise await offload(self._none_here)
        proven: list[Found] = []
        chosen: Found | None = None
        try:
            for tier in tiers:
                if tier[0].is_bridge and not _may_be_behind_adapter(tiers, proven):
                    continue
                for tty in tier:
                    if (found := await self._try(tty, speed, queue_bytes, max_age_s)) is not None:
                        proven.append(found)
                if any(found.takes_corrections for found in proven):
                    break
            chosen = self._choose(proven)
        finally:
            for found in proven:
                if found is not chosen:
                    found.port.close()
        if not unsuitable(chosen.version):
            self._known = chosen.tty
        if chosen.takes_corrections:
            self._rtk = product(chosen.version)
        return chosen

    async def _try(self, tty: Tty, speed: int, queue_bytes: int, max_age_s: float) -> Found | None:
        """The receiver on one port, None if there is none or it is too early to ask again."""
        now = asyncio.get_running_loop().time
        left = self._left.get(_key(tty))
        if left is not None and now() < left.due_s:
            return None
        try:
            port = await SerialPort.open(
                tty.path,
                speed,
                queue_bytes=queue_bytes,
                max_age_s=max_age_s,
                has_speed=tty.has_speed,
            )
            try:
                version = await identify(
                    UbxClient(port, lambda *_: None),
                    speed,
                    others=speeds(tty),
                    only_if_heard=not tty.is_gnss,
                )
            except BaseException:
                port.close()
                raise
        except PortLost:
            return None  # it comes back as new
        except (ReceiverError, SerialError) as error:
            step = left.step + 1 if left else 0
            self._left[_key(tty)] = _FailedPort(error, now() + _AGAIN.sample(step, self._rng), step)
            return None
        self._left.pop(_key(tty), None)
        return Found(tty, port, version)

    def _choose(self, proven: list[Found]) -> Found:
        """One with RTK. One without only where there never was another, which may come back."""
        able = [found for found in proven if found.takes_corrections]
        if not (able or self._rtk):
            able = proven
        again = [found for found in able if self._is_known(found.tty)]
        if len(again or able) == 1:
            return (again or able)[0]
        if able:
            raise ReceiverAmbiguous(
                ", ".join(f"{found.tty.by_path} ({found.version.model})" for found in able)
            )
        known = self._left.get(_key(self._known)) if self._known else None
        if proven and known is None:
            raise ReceiverAbsent(f"{self._rtk} is away, and what is there has no RTK")
        errors = (each.error for each in (known, *self._left.values()) if each)
        raise next(errors, ReceiverAbsent(_UNSETTLED))

    def _is_known(self, tty: Tty) -> bool:
        """Whether it is the port that the receiver was on, perhaps under a new name."""
        return self._known is not None and _same_plug(tty) == _same_plug(self._known)

    def _candidates(self) -> list[list[Tty]]:
        """The ports that may be the receiver's, the likeliest first, by how likely it is."""
        here = [tty for tty in discovery.ttys(self._root) if tty.at_rank is None]
        uart = discovery.resolve(str(self._root / _UART), self._root)
        taken = {os.path.realpath(path) for path in self._others}
        tiers: Iterable[Iterable[Tty]] = (
            (tty for tty in here if _on_usb(tty)),
            (tty for tty in here if tty.is_gnss and not _on_usb(tty)),
            (tty for tty in here if tty.is_bridge and not discovery.holder(tty, self._root)),
            (uart,) if uart and not uart.device and not discovery.holder(uart, self._root) else (),
        )
        free = ([tty for tty in tier if os.path.realpath(tty.path) not in taken] for tier in tiers)
        return [tier for tier in free if tier]

    def _none_here(self) -> ReceiverAbsent:
        """The error for no candidate, with the devices that are on USB, and ports in use."""
        here = discovery.ttys(self._root)
        words, portless = discovery.inventory(here, self._root)
        advice = usbdevices.advice_for_receiver(portless)
        for tty in here:
            if tty.is_bridge and (by := discovery.holder(tty, self._root)):
                words += f"; {tty.name} is in use by {by}"
                advice = advice or PortBusy.advice
        uart = discovery.resolve(str(self._root / _UART), self._root)
        if uart and not uart.device and (by := discovery.holder(uart, self._root)):
            words += f"; {Path(_UART).name} ({uart.name}) is in use by {by}"
            advice = advice or access.caution(uart) or access.console_advice(uart.name)
        return ReceiverAbsent(words, advice=advice)


def _may_be_behind_adapter(tiers: list[list[Tty]], proven: list[Found]) -> bool:
    """Whether no receiver is known by its USB id, or those found cannot be used: a NEO-D9S may be
    beside the receiver."""
    is_known = any(tty.is_gnss for tier in tiers for tty in tier)
    return not is_known or bool(proven and all(unsuitable(each.version) for each in proven))


def _key(tty: Tty) -> _Key:
    return tty.name, tty.device, tty.usb, tty.serial_number, tty.interface


def _same_plug(tty: Tty) -> _Key:
    return tty.usb, tty.serial_number, tty.interface, tty.name if not tty.device else ""


def _on_usb(tty: Tty) -> bool:
    """Whether USB goes right into the receiver, so that there is no line and no line speed."""
    return tty.is_gnss and tty.usb[1] >> 8 == _OWN_USB


def speeds(tty: Tty | None) -> Sequence[int]:
    """The speeds to try where the first does not work: none where there is no line speed."""
    return () if tty is not None and _on_usb(tty) else SPEEDS


async def known_port(path: str, root: Path = discovery.ROOT) -> Tty | None:
    """The facts about a configured port.

    Raises :class:`ReceiverUnknown` for a port of a modem: the setting must be a mistake, and a
    modem in recovery mode takes any byte as firmware.
    """
    tty = await offload(discovery.resolve, path, root)
    if tty is not None and (tty.at_rank is not None or tty.usb in usbids.NEVER):
        raise ReceiverUnknown(f"{path} is a port of a modem, {tty}")
    return tty
