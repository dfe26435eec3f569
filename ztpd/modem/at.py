"""Reads the IMEI from a modem's AT port.

Two consecutive answers must agree on the number: unsolicited lines, late answers to earlier
commands, and bytes lost to another program differ from try to try. No command sent here changes
the modem for other programs. The order and the times follow docs/modems.md.
"""

from __future__ import annotations

import asyncio
import contextlib

from ztpd import events, log
from ztpd.errors import (
    IdentityError,
    ImeiInvalid,
    ModemAbsent,
    ModemBusy,
    ModemPermission,
    ModemRefused,
    ModemSilent,
    NotAnAtPort,
    NotASerialPort,
    PortAbsent,
    PortBusy,
    PortLost,
    PortPermission,
    SerialError,
)
from ztpd.model import FrameKind, Identity, Imei
from ztpd.serialport.port import SerialPort
from ztpd.system.looptime import loop_time
from ztpd.wire import at
from ztpd.wire.frames import Scanner

BAUDRATES = (115200, 9600, 57600, 460800, 921600, 38400, 19200, 230400)
"""Tried in this order if none is configured; a modem on USB answers at any."""

_POLL_S = 1.0  # for a port that is absent or busy
_PERMISSION_S = 5.0  # udev sets the group a moment after the node appears
_FIRST_TRY_S, _LATER_TRY_S = 1.0, 3.0  # for an answer to AT
_TRAINING_S = 0.2  # between the AT by which a modem detects the speed
_OPENING = (
    at.CR,
    at.CR,
    at.CR_LF,
    at.CR_LF,
)  # the line end of each AT; the answered one is used from then on
_SILENCE_S = 3.0  # after the last byte of an answer
_ANSWER_S = 10.0  # for a whole answer
_QUIET_S = 0.05  # without a byte: an earlier answer has ended
_LATE_S = 0.5  # the same, if an answer is overdue
_DRAIN_S = 2.0  # bytes that come longer are no answer
_TRIES = 10  # of one command whose answers disagree
_MISSES = 3  # in a row: the modem is silent
_TRAFFIC_BYTES = 2048
_CARRIER_LOST = ("NO CARRIER", "3")

_MEANING: dict[type[SerialError], type[IdentityError]] = {
    PortAbsent: ModemAbsent,
    PortLost: ModemAbsent,
    PortBusy: ModemBusy,
    PortPermission: ModemPermission,
    NotASerialPort: NotAnAtPort,
}


def identity_error(error: SerialError) -> IdentityError:
    """``error`` of the modem's port, as an error of the modem."""
    meaning = _MEANING.get(type(error), ModemSilent)
    detail = error.detail if meaning is not ModemSilent else str(error)
    return meaning(detail, advice=error.own_advice)


async def read_imei(
    port: str, baudrate: int | None, *, timeout_s: float, caution: str = ""
) -> Identity:
    """The identity of the modem on ``port``; ``baudrate`` None tries the usual ones. ``caution`` is
    the advice for a port with a known trap, where nothing sensible is read.

    Waits up to ``timeout_s`` for a port that is not there or not free yet, and for a modem that
    is starting. The port is closed in every case. Raises :class:`ModemAbsent`,
    :class:`ModemBusy`, :class:`ModemPermission`, :class:`ModemSilent`, :class:`NotAnAtPort`,
    :class:`ModemRefused` or :class:`ImeiInvalid`.
    """
    reading = _AtReading(port, baudrate, caution)
    try:
        async with asyncio.timeout(timeout_s):
            return await reading.until_read()
    except TimeoutError as error:
        raise reading.trouble from error


class _AtReading:
    """One call of :func:`read_imei`."""

    def __init__(self, port: str, baudrate: int | None, caution: str) -> None:
        self.trouble: IdentityError = ModemSilent(port, advice=caution)  # raised at the time-out
        self._caution = caution
        self._port = port
        self._baudrates = BAUDRATES if baudrate is None else (baudrate,)
        self._known_speed = baudrate is not None
        self._first_pass = True
        self._line_end = at.CR
        self._refused_at: float | None = None

    async def until_read(self) -> Identity:
        logged: type[IdentityError] | None = None
        while True:
            try:
                return await self._once()
            except (ModemAbsent, ModemBusy, ModemSilent) as error:
                self.trouble = error
            except ModemPermission as error:
                self.trouble = error
                now = loop_time()
                if self._refused_at is None:
                    self._refused_at = now
                if now - self._refused_at > _PERMISSION_S:
                    raise
            if type(self.trouble) is not logged:
                logged = type(self.trouble)
                log.emit(events.MODEM_AWAITED, error=self.trouble)
            await asyncio.sleep(_POLL_S)

    async def _once(self) -> Identity:
        try:
            port = await SerialPort.open(self._port, self._baudrates[0])
            with contextlib.closing(port):
                if not isinstance(self.trouble, ModemSilent):
                    self.trouble = ModemSilent(self._port, advice=self._caution)
                await self._wake(port)
                await self._ask(port, "ATE0")
                await self._ask(port, "AT+CMEE=2")
                return await self._try_commands(port)
        except SerialError as error:
            raise identity_error(error) from error

    async def _wake(self, port: SerialPort) -> None:
        """Send AT until an answer comes.

        Raises :class:`ModemSilent` after one pass over the speeds, :class:`NotAnAtPort` for data
        that no modem sends.
        """
        traffic = _PortTraffic()
        if self._known_speed:
            tries_s: tuple[float, ...] = (_FIRST_TRY_S, _LATER_TRY_S, _LATER_TRY_S)
        else:
            tries_s = (_FIRST_TRY_S,) if self._first_pass else (_LATER_TRY_S,)
        for baudrate in self._baudrates:
            if baudrate != port.baudrate:
                await port.set_baudrate(baudrate)
            for patience_s in tries_s:
                if await self._answers(port, patience_s, traffic):
                    await self._drain(port, _LATE_S)
                    return
                if traffic.other:
                    raise NotAnAtPort(f"{self._port}: {traffic.other} at {baudrate} baud")
        self._first_pass = False
        speeds = ", ".join(map(str, self._baudrates))
        if traffic.binary:
            raise NotAnAtPort(
                f"{self._port}: nothing but binary data at {speeds} baud "
                "(a diagnostic port, or another baudrate)",
                advice=self._caution,
            )
        noise = ", nothing but noise" if traffic.noise else ""
        raise ModemSilent(f"{self._port} at {speeds} baud{noise}", advice=self._caution)

    async def _answers(self, port: SerialPort, patience_s: float, traffic: _PortTraffic) -> bool:
        """Whether AT is answered by a clean OK. The first CR ends a command left incomplete.

        The line end that was answered is used from then on.
        """
        exchange = at.Exchange("AT")
        port.write(at.CR + exchange.request)
        self._line_end, line_ends = at.CR, list(_OPENING)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while True:
                    try:
                        async with asyncio.timeout(_TRAINING_S if line_ends else None):
                            data = await port.read()
                    except TimeoutError:
                        self._line_end = line_ends.pop(0)
                        port.write(b"AT" + self._line_end)
                        continue
                    traffic.take(data)
                    answer = exchange.feed(data)
                    if answer and answer.ok and not answer.garbage:
                        return True
                    if answer:
                        exchange = at.Exchange("AT")
        return False

    async def _try_commands(self, port: SerialPort) -> Identity:
        finals, without_number = [], False
        invalid: ImeiInvalid | None = None
        for command in at.IMEI_COMMANDS:
            answer, numbers = await self._confirmed(port, command)
            if numbers:
                source = f"{command} on {self._port}"
                try:
                    imei, note = Imei.normalise(numbers[0])
                except ImeiInvalid as error:
                    detail = f"{source}: {error.detail}"
                    invalid = invalid or ImeiInvalid(detail, number=numbers[0])
                    continue
                slots = f"the first of {len(numbers)}" if len(numbers) > 1 else ""
                return Identity(imei, source, ", ".join(filter(None, (note, slots))))
            finals.append(f"{command} {answer.final}")
            without_number |= answer.ok and command != "ATI"
        detail = f"{self._port}: {', '.join(finals)}"
        if invalid or without_number:
            raise invalid or ImeiInvalid(detail)
        raise ModemRefused(detail)

    async def _confirmed(
        self, port: SerialPort, command: str
    ) -> tuple[at.AtAnswer, tuple[str, ...]]:
        """The answer to ``command`` on which two tries agree, and the numbers in it.

        One refusal is enough, except a temporary one.
        """
        before: tuple[str, ...] | None = None  # empty for an answer without a number
        misses = 0
        carrier_lost = False
        tries = 0
        while tries < _TRIES:
            answer = await self._ask(port, command)
            if answer and answer.is_busy:  # it is starting, and has the caller's time for that
                self.trouble = ModemRefused(f"{self._port}: {command} {answer.final}")
                await asyncio.sleep(_POLL_S)
                continue
            tries += 1
            if answer is None:
                misses += 1
                if misses == _MISSES:
                    detail = f"{self._port}, no answer to {command}"
                    raise ModemSilent(detail, advice=self._caution)
                continue
            misses = 0
            if answer.garbage:
                self.trouble = ImeiInvalid(f"{command} on {self._port}: garbled answers")
                before = None
                continue
            if answer.final in _CARRIER_LOST and not carrier_lost:
                carrier_lost = True
                continue
            if not answer.ok:
                return answer, ()
            numbers = at.imeis_in(command, answer)
            if numbers == before:
                return answer, numbers
            if before is not None:
                self.trouble = ImeiInvalid(f"{command} on {self._port}: the answers disagree")
            before = numbers
        raise self.trouble

    async def _ask(self, port: SerialPort, command: str) -> at.AtAnswer | None:
        """The answer to ``command``; None if none came in time.

        It first discards pending input, so that a late answer is not taken for this one.
        """
        await self._drain(port, _QUIET_S)
        exchange = at.Exchange(command, end=self._line_end)
        port.write(exchange.request)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                while True:
                    async with asyncio.timeout(_SILENCE_S):
                        answer = exchange.feed(await port.read())
                    if answer:
                        log.emit(
                            events.MODEM_ANSWER,
                            port=self._port,
                            command=command,
                            final=log.quoted(answer.final),
                        )
                        return answer
        await self._drain(port, _LATE_S)
        return None

    async def _drain(self, port: SerialPort, quiet_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while True:
                    async with asyncio.timeout(quiet_s):
                        await port.read()


class _PortTraffic:
    """Classifies the data of a port that does not answer AT."""

    def __init__(self) -> None:
        self.noise = False  # no text, or text without line ends
        self.binary = False  # bytes that no text line contains
        self.other = ""  # the name of another protocol, once one is certain
        self._scanner = Scanner(FrameKind.NMEA, FrameKind.UBX)
        self._last = b""

    def take(self, data: bytes) -> None:
        self._last = (self._last + data)[-_TRAFFIC_BYTES:]
        self.noise = self.noise or not at.is_text(self._last)
        self.binary = self.binary or at.binary_noise(self._last)
        for frame in self._scanner.feed(data):
            self.other = f"GNSS data ({frame.kind.value} {frame.name})"
        if at.diagnostic_frame(self._last):
            self.other = "diagnostic frames"
