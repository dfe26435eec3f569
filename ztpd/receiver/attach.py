"""Opens the receiver: its port, its speed, its model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from ztpd import events, log
from ztpd.errors import ReceiverSilent, ReceiverUnknown, ReceiverUnsuitable
from ztpd.receiver import baudrate
from ztpd.receiver.client import UbxClient
from ztpd.receiver.configure import PORTS
from ztpd.receiver.discovery import AUTO, DEFAULT_SPEED, PortFinder, known_port, speeds
from ztpd.receiver.identify import SPEEDS, identify
from ztpd.receiver.products import unsuitable
from ztpd.receiver.settings import ReceiverSettings
from ztpd.serialport import access
from ztpd.serialport.discovery import Tty
from ztpd.serialport.port import SerialPort
from ztpd.system.offload import offload
from ztpd.wire.ubx import MonVer

_UARTS = ("UART1", "UART2")
_TRIES = 2  # to set the line to the configured speed, if they do not succeed


class Attachment:
    """Remembers port and speed that worked at the last opening."""

    def __init__(
        self, settings: ReceiverSettings, root: Path, rng: random.Random | None = None
    ) -> None:
        """``root`` is where ``sys`` and ``dev`` are found."""
        self.path = "" if settings.port == AUTO else settings.port  # "": being looked for
        self.version = MonVer("", "")
        self._settings = settings
        self._root = root
        self._finder = PortFinder(root=root, others=settings.others, rng=rng)
        self._baudrate = settings.baudrate or DEFAULT_SPEED  # to try first
        self._others: Sequence[int] = SPEEDS  # to try then
        self._caution = ""  # advice for a UART with a known trap
        self._named_twins = False
        self.ports: Sequence[str] = PORTS  # of the receiver: one of these is in use
        self._had_speed = False  # the line was at the configured one
        self._failures = 0
        self._answered = False  # a u-blox receiver, on the port that has not been away since

    @property
    def wanted_baudrate(self) -> int | None:
        """The speed to set; None if the line keeps its speed, or has none."""
        return self._settings.baudrate if self._others else None

    async def open(self) -> SerialPort:
        """The port that is configured, or the one where a receiver was found.

        Raises :class:`ztpd.errors.SerialError` and :class:`ztpd.errors.ReceiverError`.
        """
        settings, first = self._settings, self._baudrate
        if settings.port == AUTO:
            self.path = ""
            found = await self._finder.find(first, settings.queue_bytes, settings.max_age_s)
            self.path, self.version = found.tty.path, found.version
            self._know(found.tty)
            return found.port
        self._see_port()
        self._know(tty := await known_port(settings.port, self._root))
        await self._name_twins()
        return await SerialPort.open(
            settings.port,
            first,
            queue_bytes=settings.queue_bytes,
            max_age_s=settings.max_age_s,
            has_speed=bool(tty and tty.has_speed),
        )

    def _know(self, tty: Tty | None) -> None:
        """Draw conclusions from the kind of port; a tty that is not known may be any."""
        self._others = speeds(tty)
        self._caution = access.caution(tty)
        self.ports = ("USB",) if not self._others else _UARTS if tty else PORTS

    def _see_port(self) -> None:
        """A port that is away is looked for often: without the thread that opening one takes.
        Opening says what else is wrong with it."""
        port = self._settings.port
        try:
            Path(port).stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise access.absent(port, self._root, for_receiver=True) from error
        except OSError:
            pass

    async def _name_twins(self) -> None:
        if not self._named_twins:
            self._named_twins = True
            if words := await offload(access.same_name, self._settings.port, self._root):
                log.emit(events.PORT_NAME_SHARED, words=words)

    def lost(self) -> None:
        """The port is away: what comes back may be another device."""
        self._answered = False

    async def identify(self, client: UbxClient, *, again: bool = False) -> None:
        """Identify the receiver, unless that has just been done.

        Raises as :func:`identify` does, and :class:`ReceiverUnsuitable`.
        """
        if again or self._settings.port != AUTO:
            try:
                self.version = await identify(
                    client, self._baudrate, others=self._others, known=self._answered
                )
            except (ReceiverSilent, ReceiverUnknown) as error:
                if self._caution:
                    raise type(error)(error.detail, advice=self._caution) from error
                raise
        self._baudrate = client.port.baudrate
        self._answered = True
        if reason := unsuitable(self.version):
            raise ReceiverUnsuitable(reason)

    async def set_speed(self, client: UbxClient) -> events.JournalEvent | None:
        """Set the line to the configured speed; returns the event to log.

        Raises the errors of :func:`ztpd.receiver.baudrate.change`.
        """
        wanted = self.wanted_baudrate
        if wanted is None or not self._settings.configure:
            return None
        if client.port.baudrate == wanted:
            self._had_speed = True
            return None
        event = events.BAUD_KEPT
        if self._failures < _TRIES:
            self._failures += 1  # also where trying loses the port
            if await baudrate.change(client, wanted):
                self._failures = 0
                event = events.BAUD_RESTORED if self._had_speed else events.BAUD_SET
                self._had_speed = True
        self._baudrate = client.port.baudrate
        return event
