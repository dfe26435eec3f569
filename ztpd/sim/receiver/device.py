"""A simulated u-blox receiver on a pseudo-terminal: what it answers, and what it makes of
corrections.

It behaves as the sheets and field reports say the real ones do, also where that is a trap:
settings and keys live in RAM, a protocol that is not switched on is skipped without a word, one
unknown key refuses a whole message, keys are never acknowledged, and wrong ones are no error.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import NamedTuple

from ztpd.model import GPS_EPOCH_UNIX_S, GPS_LEAP_SECONDS, WEEK_S, Carrier, Frame, FrameKind
from ztpd.sim.pty import Pty
from ztpd.sim.receiver.models import F9P, PORTS, Model
from ztpd.wire import nmea, ubx, ubxcfg
from ztpd.wire.frames import Scanner, spartn_encrypted
from ztpd.wire.ubx import (
    PROTOCOL_RTCM3,
    PROTOCOL_SPARTN,
    Ack,
    CfgValget,
    CfgValgetPoll,
    CfgValset,
    KeySlot,
    Message,
    MonComms,
    NavPvt,
    PortCounts,
    RxmCor,
    SpartnKey,
)

_BOOT_S = 1.0
_LATE_S = 0.1
_EPOCHS_TO_TIME, _EPOCHS_TO_FIX = 2, 3
_AGE_BOUNDS_S = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120)  # of lastCorrectionAge, class 1 on
_PROTOCOLS = {
    "UBX": FrameKind.UBX,
    "NMEA": FrameKind.NMEA,
    "RTCM3X": FrameKind.RTCM3,
    "SPARTN": FrameKind.SPARTN,
}


class _Stage(NamedTuple):
    """How good the position is, after so many correction messages."""

    name: str
    after: int
    accuracy_m: float
    carrier: Carrier = Carrier.NONE


@dataclass(slots=True)
class Faults:
    """What may be broken; each can be changed while the receiver runs."""

    sends_nothing: bool = False  # sends nothing, as behind a cut wire
    ignores_input: bool = False  # takes nothing from the line, as with a stuck flow control
    lost_answers: int = 0  # so many of its next answers are lost
    refused: set[int] = field(default_factory=set)  # keys it does not know
    keys_held: int = 2  # so many decryption keys it takes
    stuck: bool = False  # answers, but navigates no more
    no_sky: bool = False  # the antenna sees nothing: neither time nor position
    damaged_input: Callable[[bytes], bytes] = bytes  # what the line makes of what the host sends
    deaf_at: set[int] = field(default_factory=set)  # speeds in baud its line is too bad for
    on_other_ports: int = 0  # bytes each of its other ports gets between two of our messages


class SimReceiver:
    """One receiver, powered while the context is open."""

    def __init__(
        self,
        pty: Pty,
        model: Model = F9P,
        *,
        key: bytes | None = None,
        wired: str = "USB",
        speed: float = 1.0,
        messages_to_fix: int = 12,
        position: tuple[float, float] = (52.5200, 13.4050),
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        say: Callable[[str], None] = lambda _: None,
        seed: int = 1,
    ) -> None:
        """``key`` is the one the corrections are really encrypted with. ``wired`` is the port of
        the receiver that the line ends at: a UART understands its own baud rate only, and takes
        no more than that. Its clock runs ``speed`` times as fast as the host's.
        """
        self.model = model
        self.faults = Faults()
        self.received: list[Frame] = []  # all it understood, in order
        self.saved = model.defaults()  # flash
        self.settings = dict(self.saved)  # RAM: in force
        self.keys: tuple[KeySlot, ...] = ()
        self.stage = "no fix"
        self.used = 0  # correction messages, since it last went without
        self._pty = pty
        self._key = key
        self._wired = wired
        self._speed = speed
        self._position = position
        self._wall_clock = wall_clock
        self._say = say
        self._random = random.Random(seed)
        self._stages = (
            _Stage("RTK fixed", messages_to_fix, 0.014, Carrier.FIXED),
            _Stage("RTK float", max(2, messages_to_fix // 3), 0.25, Carrier.FLOAT),
            _Stage("DGNSS", 1, 0.6),
            _Stage("3D", 0, 1.2),
        )
        self._epochs = 0  # since the last cold start
        self._used_s = 0.0
        self._booting: asyncio.TimerHandle | None = None
        self._scanner = Scanner(*self._input_protocols())
        self._skipped_before = 0
        self._heard_bytes = dict.fromkeys(PORTS, 4711)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> SimReceiver:
        self._began, self._began_s = self._wall_clock(), _now()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._navigate())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._booting is not None:
            self._booting.cancel()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def setting(self, name: str) -> int:
        """A configuration item in force, by u-blox name; "{}" in it stands for the port that the
        line ends at."""
        return self.settings[ubxcfg.KEYS[name.format(self._wired)]]

    def set(self, name: str, value: int, *, saved: bool = False) -> None:
        """Change a configuration item from another side; ``saved``: it survives a restart."""
        key = ubxcfg.KEYS[name.format(self._wired)]
        if saved:
            self.saved[key] = value
        self._change({key: value})

    @property
    def skipped_bytes(self) -> int:
        """Bytes that came in and were part of no message it understands."""
        return self._skipped_before + self._scanner.counts.skipped_bytes

    def corrections(self) -> list[Frame]:
        """Those of ``received`` that are SPARTN or RTCM 3."""
        return [each for each in self.received if each.kind in (FrameKind.SPARTN, FrameKind.RTCM3)]

    def reset(self) -> None:
        """Restart with orbits and time kept: settings and keys are in RAM, and gone."""
        self.keys = ()
        self.used = 0
        self._change(self.saved)
        if self._booting is not None:
            self._booting.cancel()
        self._booting = asyncio.get_running_loop().call_later(_BOOT_S / self._speed, self._booted)
        self._say("receiver: restarted")

    def power_cycle(self) -> None:
        """Restart without time and position."""
        self._epochs = 0
        self.reset()

    def _booted(self) -> None:
        self._booting = None
        for text in ("u-blox AG - www.u-blox.com", f"MOD={self.model.module}"):
            self._send_nmea(f"GNTXT,01,01,02,{text}")

    async def _listen(self) -> None:
        carried_s = 0.0  # when the line has carried what was read
        while True:
            if self.faults.ignores_input:
                await asyncio.sleep(0.1)
                continue
            data = await self._pty.read(256)
            if self._wired != "USB":
                # A sleep takes a little longer than it was to: the next one makes up for it, or
                # the line would be slower than its baud rate says.
                took_s = len(data) * 10 / self._baudrate / self._speed
                carried_s = max(carried_s, _now() - _LATE_S) + took_s
                await asyncio.sleep(max(0.0, carried_s - _now()))
            self._heard_bytes[self._wired] += len(data)
            if self._booting is None:
                self._hear(self.faults.damaged_input(self._over_the_line(data)))

    def _hear(self, data: bytes) -> None:
        bad_before = self._scanner.counts.bad_checks
        for frame in self._scanner.feed(data):
            self.received.append(frame)
            if frame.kind is FrameKind.UBX:
                self._command(frame)
            elif frame.kind is not FrameKind.NMEA:
                self._correction(frame)
        if self._scanner.counts.bad_checks > bad_before:
            self._report(RxmCor(0, erroneous=True, used=False, type_valid=False))

    def _command(self, frame: Frame) -> None:
        number, payload = ubx.unwrap(frame.data)
        try:
            message = ubx.parse(frame.data)
        except ValueError:
            return
        match message:
            case CfgValgetPoll(keys):
                known = all(self._knows(key) for key in keys)
                if known:
                    self._answer(CfgValget({key: self.settings[key] for key in keys}).encode())
                self._answer(Ack(number, known).encode())
            case CfgValset(values, layers):
                taken = all(self._knows(key) for key in values)
                self._answer(Ack(number, taken).encode())
                if taken:
                    self._configured(dict(values), layers)
            case SpartnKey(keys) if self.model.spartn:
                self.keys = keys[: self.faults.keys_held]
                self._say(f"receiver: took {len(self.keys)} decryption keys")
            case _ if number == Message.MON_VER and not payload:
                self._answer(self.model.version().encode())
            case _ if number == Message.MON_COMMS and self.model.comms:
                for port in set(PORTS) - {self._wired}:
                    self._heard_bytes[port] += self.faults.on_other_ports
                self._answer(self._comms().encode())
            case _ if number == Message.RXM_SPARTNKEY and self.model.spartn:
                self._answer(SpartnKey(self.keys).encode())
            case _ if number >> 8 == 0x06:
                self._answer(Ack(number, ok=False).encode())

    def _comms(self) -> MonComms:
        return MonComms(
            {name: PortCounts(count % 2**32) for name, count in self._heard_bytes.items()}
        )

    def _knows(self, key: int) -> bool:
        return key in self.settings and key not in self.faults.refused

    def _configured(self, values: dict[int, int], layers: int) -> None:
        if layers & (ubx.LAYER_BBR | ubx.LAYER_FLASH):
            self.saved |= values
        if layers & ubx.LAYER_RAM:
            self._change(values)
        self._say(f"receiver: took {len(values)} settings")

    def _change(self, values: dict[int, int]) -> None:
        before = self._input_protocols()
        self.settings |= values
        if self._input_protocols() != before:
            self._skipped_before = self.skipped_bytes
            self._scanner = Scanner(*self._input_protocols())

    def _input_protocols(self) -> list[FrameKind]:
        names = {f"CFG-{self._wired}INPROT-{name}": kind for name, kind in _PROTOCOLS.items()}
        return [kind for name, kind in names.items() if self.settings.get(ubxcfg.KEYS[name])]

    def _correction(self, frame: Frame) -> None:
        """Use a correction message, or not, and say so."""
        timely = self._epochs >= _EPOCHS_TO_TIME and not self.faults.no_sky
        if frame.kind is FrameKind.RTCM3:
            report = RxmCor(PROTOCOL_RTCM3, used=timely, message_type=int(frame.name))
        else:
            message_type, subtype = frame.data[1] >> 1, frame.data[4] >> 4
            encrypted = spartn_encrypted(frame)
            decrypted = encrypted and self._key in [slot.value for slot in self.keys]
            handled = message_type == 2 or frame.name.partition("-")[2] in self.model.systems
            chosen = not self.setting("CFG-SPARTN-USE_SOURCE")
            report = RxmCor(
                PROTOCOL_SPARTN,
                used=timely and handled and chosen and (decrypted or not encrypted),
                message_type=message_type,
                subtype=subtype,
                input_handled=handled,
                encrypted=encrypted,
                decrypted=decrypted,
            )
        if report.used:
            self.used += 1
            self._used_s = _now()
        self._report(report)

    async def _navigate(self) -> None:
        while True:
            interval_ms = self.setting("CFG-RATE-MEAS") * self.setting("CFG-RATE-NAV")
            await asyncio.sleep(interval_ms / 1000 / self._speed)
            if self._booting is None and not self.faults.stuck:
                self._epochs += 1
                self._epoch()

    def _epoch(self) -> None:
        age_s = (_now() - self._used_s) * self._speed
        if age_s > self.setting("CFG-NAVSPG-CONSTR_DGNSSTO"):
            self.used = 0
        fixed = self._epochs >= _EPOCHS_TO_FIX and not self.faults.no_sky
        stage = next(each for each in self._stages if self.used >= each.after)
        if stage.carrier is Carrier.FIXED and self.setting("CFG-NAVHPG-DGNSSMODE") == 2:
            stage = self._stages[1]
        self._tell(stage.name if fixed else "no fix")
        pvt = self._position_message(stage, fixed, age_s)
        every = self.setting("CFG-MSGOUT-UBX_NAV_PVT_{}")
        if every and self._epochs % every == 0:
            self._send_ubx(pvt.encode())
        if self.setting("CFG-MSGOUT-NMEA_ID_GGA_{}"):
            sentence = nmea.gga(pvt.to_fix()).decode()[1:-5] if fixed else "GNGGA,,,,,,0,00,,,,,,,"
            self._send_nmea(sentence)

    def _position_message(self, stage: _Stage, fixed: bool, age_s: float) -> NavPvt:
        utc = self._began + timedelta(seconds=(_now() - self._began_s) * self._speed)
        gps_s = utc.timestamp() - GPS_EPOCH_UNIX_S + GPS_LEAP_SECONDS
        timely = self._epochs >= _EPOCHS_TO_TIME and not self.faults.no_sky
        aged = 1 + sum(age_s >= bound for bound in _AGE_BOUNDS_S) if self.used else 0
        accuracy_mm = round(stage.accuracy_m * 1000) if fixed else 0xFFFF_FFFF
        return NavPvt(
            itow_ms=round(gps_s % WEEK_S * 1000) % (WEEK_S * 1000),
            utc=utc if timely else None,
            fully_resolved=timely,
            fix_type=3 if fixed else 0,
            fix_ok=fixed,
            differential=fixed and self.used > 0,
            carrier=stage.carrier if fixed else Carrier.NONE,
            satellites=self._random.randint(18, 24) if fixed else 0,
            lat_deg=self._position[0] if fixed else 0.0,
            lon_deg=self._position[1] if fixed else 0.0,
            height_mm=78_400,
            msl_mm=34_000,
            hacc_mm=accuracy_mm,
            vacc_mm=accuracy_mm,
            pdop=1.2 if fixed else 99.99,
            invalid_llh=not fixed,
            correction_age_class=aged if fixed else 0,
        )

    def _tell(self, stage: str) -> None:
        if stage != self.stage:
            self.stage = stage
            after = f" after {self.used} correction messages" if self.used else ""
            self._say(f"receiver: {stage}{after}")

    def _report(self, report: RxmCor) -> None:
        if self.settings.get(ubxcfg.KEYS[f"CFG-MSGOUT-UBX_RXM_COR_{self._wired}"]):
            self._send_ubx(report.encode())

    def _answer(self, frame: bytes) -> None:
        if self.faults.lost_answers:
            self.faults.lost_answers -= 1
        else:
            self._send_ubx(frame)

    def _send_ubx(self, frame: bytes) -> None:
        if self.setting("CFG-{}OUTPROT-UBX"):
            self.send(frame)

    def _send_nmea(self, body: str) -> None:
        if self.setting("CFG-{}OUTPROT-NMEA"):
            data = body.encode("ascii")
            self.send(b"$%b*%02X\r\n" % (data, nmea.checksum(data)))

    def send(self, data: bytes) -> None:
        """Put bytes on the line to the host, whatever they are; nothing while it boots."""
        if self._booting is None and not self.faults.sends_nothing:
            self._pty.send(self._over_the_line(data))

    @property
    def _baudrate(self) -> int:
        return self.setting("CFG-{}-BAUDRATE")

    def _over_the_line(self, data: bytes) -> bytes:
        """What arrives at the other end: noise, where the two disagree on the speed."""
        if self._wired == "USB":
            return data
        if self._pty.baudrate == self._baudrate and self._baudrate not in self.faults.deaf_at:
            return data
        return self._random.randbytes(len(data))


def _now() -> float:
    return asyncio.get_running_loop().time()
