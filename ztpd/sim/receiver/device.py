"""A simulated u-blox receiver on a pseudo-terminal: its answers, and how it treats corrections.

It behaves as the sheets and field reports say the real ones do, also where that is a trap:
settings and keys live in RAM, a protocol that is not switched on is skipped silently, one
unknown key refuses a whole message, keys are never acknowledged, and wrong ones are no error.

One module because it is one class, which gives its reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType

from ztpd.model import Frame, FrameKind
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import monitors
from ztpd.sim.receiver.faults import Faults
from ztpd.sim.receiver.judgement import judge
from ztpd.sim.receiver.line import SerialLine
from ztpd.sim.receiver.models import F9P, PORTS, Model
from ztpd.sim.receiver.navigation import Navigation
from ztpd.wire import nmea, ubx, ubxcfg
from ztpd.wire.frames import Scanner
from ztpd.wire.ubx import (
    PROTOCOL_HAS,
    PROTOCOL_RTCM3,
    PROTOCOL_SPARTN,
    Ack,
    CfgRst,
    CfgValget,
    CfgValgetPoll,
    CfgValset,
    KeySlot,
    Message,
    MonComms,
    NavPvt,
    PortCounts,
    RxmCor,
    RxmRtcm,
    SpartnKey,
)

_BOOT_S = 1.0
_PROTOCOLS = {
    "UBX": FrameKind.UBX,
    "NMEA": FrameKind.NMEA,
    "RTCM3X": FrameKind.RTCM3,
    "SPARTN": FrameKind.SPARTN,
}


class SimReceiver:
    """One receiver, powered while the context is open.

    One class because most messages read or change the same settings, keys and counters.
    """

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
        self._key = key
        self._wired = wired
        self._speed = speed
        self._wall_clock = wall_clock
        self._say = say
        self._line = SerialLine(
            pty,
            self.faults,
            lambda: self.setting("CFG-{}-BAUDRATE"),
            wired=wired,
            speed=speed,
            rng=random.Random(seed),
        )
        self.navigation = Navigation(
            model,
            self.faults,
            self.setting,
            messages_to_fix=messages_to_fix,
            position=position,
            say=say,
            seed=seed,
        )
        self._booting: asyncio.TimerHandle | None = None
        self._scanner = Scanner(*self._input_protocols())
        self._skipped_before = 0
        self._heard_bytes = dict.fromkeys(PORTS, 4711)
        self._began_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def used(self) -> int:
        """Correction messages it used since it last went without."""
        return self.navigation.used

    @property
    def stage(self) -> str:
        """Its position, such as "no fix" or "RTK fixed"."""
        return self.navigation.stage

    async def __aenter__(self) -> SimReceiver:
        self.navigation.began, self._began_s = self._wall_clock(), _now()
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
        """A configuration item in force, by u-blox name; 0 where the model has none such. "{}" in
        it stands for the port that the line ends at."""
        return self.settings.get(ubxcfg.KEYS[name.format(self._wired)], 0)

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
        self.navigation.used = 0
        self._change(self.saved)
        if self._booting is not None:
            self._booting.cancel()
        self._booting = asyncio.get_running_loop().call_later(_BOOT_S / self._speed, self._booted)
        self._say("receiver: restarted")

    def power_cycle(self) -> None:
        """Restart without time and position."""
        self.navigation.epochs = 0
        self.reset()

    def exchange(self, model: Model) -> None:
        """Connect another receiver, as from the factory, in place of this one."""
        self.model, self.saved = model, model.defaults()
        self.settings.clear()
        self.navigation.exchange(model)
        self.power_cycle()

    def _booted(self) -> None:
        self._booting = None
        for text in ("u-blox AG - www.u-blox.com", f"MOD={self.model.module}"):
            self._send_nmea(f"GNTXT,01,01,02,{text}")

    async def _listen(self) -> None:
        while True:
            if self.faults.ignores_input:
                await asyncio.sleep(0.1)
                continue
            data = await self._line.read()
            if self.faults.hears_nothing:
                continue
            self._heard_bytes[self._wired] += len(data)
            if self._booting is None:
                self._hear(self.faults.damaged_input(self._line.transmitted(data)))

    def _hear(self, data: bytes) -> None:
        bad_before = self._scanner.counts.bad_checks
        for frame in self._frames(data):
            self.received.append(frame)
            if frame.kind is FrameKind.UBX:
                self._command(frame)
            elif frame.kind is not FrameKind.NMEA:
                self._correction(frame)
        if self._scanner.counts.bad_checks > bad_before:
            self._report(RxmCor(0, erroneous=True, used=False, type_valid=False))

    def _frames(self, data: bytes) -> list[Frame]:
        if not self.faults.drops_failed:
            return self._scanner.feed(data)
        found: list[Frame] = []
        for byte in data:  # one byte completes one frame only, or proves it wrong
            bad_before = self._scanner.counts.bad_checks
            frames = self._scanner.feed(bytes((byte,)))
            if self._scanner.counts.bad_checks == bad_before:
                found += frames
                continue
            self._skipped_before = self.skipped_bytes + self._scanner.pending
            self._scanner = Scanner(*self._input_protocols())
            self._report(RxmCor(0, erroneous=True, used=False, type_valid=False))
        return found

    def _command(self, frame: Frame) -> None:
        number, payload = ubx.unwrap(frame.data)
        try:
            message = ubx.parse(frame.data)
        except ValueError:
            return
        match message:
            case _ if number >> 8 == 0x06 and self.faults.answers_no_settings:
                return
            case _ if number >> 8 == 0x06 and not self.model.key_value:
                self._answer(Ack(number, ok=False).encode())
            case CfgValgetPoll(keys, layer, position) if self._asks_for_all(keys):
                found = self.settings if layer == ubx.IN_FORCE else self.model.defaults()
                items = sorted(found.items())[position : position + ubxcfg.MAX_ITEMS]
                if items:
                    self._answer(CfgValget(dict(items), layer, position).encode())
                self._answer(Ack(number, bool(items)).encode())
            case CfgValgetPoll(keys):
                found = {key: self.settings[key] for key in keys if self._knows(key)}
                known = bool(found) if self.faults.answers_in_part else len(found) == len(keys)
                if known:
                    self._answer(CfgValget(found).encode())
                self._answer(Ack(number, known).encode())
            case CfgValset(values, layers):
                taken = not self.faults.locked and all(self._knows(key) for key in values)
                self._answer(Ack(number, taken).encode())
                if taken:
                    self._configured(dict(values), layers)
            case CfgRst():
                self.navigation.restart()
            case SpartnKey(keys) if self.model.spartn:
                self.keys = keys[: self.faults.keys_held]
                self._say(f"receiver: took {len(self.keys)} decryption keys")
            case _ if number >> 8 == 0x06:
                self._answer(Ack(number, ok=False).encode())
            case _ if not payload and (answer := self._polled(number)):
                self._answer(answer)

    def _polled(self, number: int) -> bytes:
        """The answer to an empty message of that number; empty where there is none."""
        match number:
            case Message.MON_VER:
                return self.model.version().encode()
            case Message.MON_COMMS if self.model.comms:
                for port in set(PORTS) - {self._wired}:
                    self._heard_bytes[port] += self.faults.on_other_ports
                return self._comms().encode()
            case Message.RXM_SPARTNKEY if self.model.spartn:
                return SpartnKey(self.keys).encode()
        return b""

    def _comms(self) -> MonComms:
        ports = {name: PortCounts(count % 2**32) for name, count in self._heard_bytes.items()}
        heard = self._heard_bytes[self._wired] % 2**32
        ports[self._wired] = PortCounts(heard, overruns=self.faults.overruns)
        return MonComms(ports)

    def _knows(self, key: int) -> bool:
        return key in self.settings and key not in self.faults.refused

    def _asks_for_all(self, keys: tuple[int, ...]) -> bool:
        return ubx.EVERY_KEY in keys and ubx.EVERY_KEY not in self.faults.refused

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
        """Use a correction message, or not, and report it."""
        if self.model.has and not self.setting("CFG-NAVCOR-ENABLE_HOST"):
            return  # host input is dead
        report = judge(
            frame,
            self.model,
            self.setting,
            usable=self.navigation.takes_corrections and not self.faults.uses_others,
            can_decrypt=self._key in [slot.value for slot in self.keys],
            ignored=self.faults.ignored_stations,
        )
        self._take(report)

    def _take(self, report: RxmCor) -> None:
        if report.used:
            self.navigation.use_correction(self._uptime_s - self.faults.late_s)
        self._report(report)

    @property
    def _uptime_s(self) -> float:
        """By its own clock."""
        return (_now() - self._began_s) * self._speed

    async def _navigate(self) -> None:
        while True:
            interval_ms = self.setting("CFG-RATE-MEAS") * self.setting("CFG-RATE-NAV")
            await asyncio.sleep(interval_ms / 1000 / self._speed)
            if self._booting is None and not self.faults.stuck and self.model.navigates:
                self._epoch()

    def _epoch(self) -> None:
        self._other_sources()
        pvt = self.navigation.epoch(self._uptime_s)
        if self._due("UBX_NAV_PVT"):
            self._send_ubx(pvt.encode())
        if self._due("NMEA_ID_GGA"):
            fixed = pvt.to_fix().ok
            sentence = nmea.gga(pvt.to_fix()).decode()[1:-5] if fixed else "GNGGA,,,,,,0,00,,,,,,,"
            self._send_nmea(sentence)
        self._send_monitors(pvt)

    def _other_sources(self) -> None:
        """Corrections that come neither over this line nor from this host."""
        if not self.navigation.takes_corrections:
            return
        if self.faults.radio_station is not None:
            station = self.faults.radio_station
            self._take(RxmCor(PROTOCOL_RTCM3, correction_id=station, message_type=1077))
        if (protocol := self.faults.other_protocol) is not None:
            typed = protocol == PROTOCOL_SPARTN
            self._take(RxmCor(protocol, type_valid=typed, subtype_valid=typed))
        has = self.setting("CFG-NAVCOR-ENABLE_GAL_HAS")
        if has and not self.setting("CFG-NAVCOR-ENABLE_HOST"):
            self._take(RxmCor(PROTOCOL_HAS, type_valid=False, subtype_valid=False))

    def _send_monitors(self, pvt: NavPvt) -> None:
        if self._due("UBX_MON_RF"):
            self._send_ubx(monitors.radio(self.faults, self.setting).encode())
        if self._due("UBX_SEC_SIG"):
            self._send_ubx(monitors.security(self.model, self.faults).encode())
        if self._due("UBX_MON_COMMS"):
            self._send_ubx(self._comms().encode())
        if self._due("UBX_NAV_SAT"):
            report = monitors.satellites(self.faults, pvt.satellites, pvt.itow_ms)
            self._send_ubx(report.encode())

    def _due(self, message: str) -> bool:
        """Whether a message is to be sent in this epoch: the rate is in epochs, 0 is never."""
        rate = self.setting(f"CFG-MSGOUT-{message}_{{}}")
        return rate > 0 and self.navigation.epochs % rate == 0

    def _report(self, report: RxmCor) -> None:
        if self.setting("CFG-MSGOUT-UBX_RXM_COR_{}"):
            self._send_ubx(report.encode())
        if report.protocol == PROTOCOL_RTCM3 and self.setting("CFG-MSGOUT-UBX_RXM_RTCM_{}"):
            older = RxmRtcm(
                report.message_type, report.correction_id, bool(report.erroneous), report.used
            )
            self._send_ubx(older.encode())

    def _answer(self, frame: bytes) -> None:
        if self.faults.lost_answers:
            self.faults.lost_answers -= 1
        elif self.faults.answer_delay_s:
            delay_s = self.faults.answer_delay_s / self._speed
            asyncio.get_running_loop().call_later(delay_s, self._send_ubx, frame)
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
        """Send any bytes to the host; none while it boots."""
        if self._booting is None and not self.faults.sends_nothing:
            self._line.send(data)


def _now() -> float:
    return asyncio.get_running_loop().time()
