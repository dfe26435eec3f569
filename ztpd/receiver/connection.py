"""One life of one open port: from the first question to the error that ends it.

In steady state ztpd sends no query: it detects a restart and changed settings by the messages that
arrive or are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ztpd import events, log
from ztpd.errors import PortLost, ReceiverRefused, ReceiverSilent, ZtpdError
from ztpd.model import Fix, Frame, FrameKind
from ztpd.receiver import configure, keys
from ztpd.receiver.attach import Attachment
from ztpd.receiver.client import UbxClient
from ztpd.receiver.configure import AppliedSettings, Group
from ztpd.receiver.deliveries import DeliveryCounts
from ztpd.receiver.fixes import FixHistory
from ztpd.receiver.monitoring import Monitoring
from ztpd.receiver.products import has_rtk
from ztpd.receiver.reception import Reception
from ztpd.receiver.settings import Inspection, ReceiverSettings
from ztpd.receiver.usage import CorrectionUsage, MessageOutcome, UsageVerdict
from ztpd.serialport.port import SerialPort
from ztpd.wire.ubx import MonVer, NavPvt, Parsed, RxmCor, SpartnKey

_STABLE_S = 60.0  # a receiver that served so long is well, and its next trouble is news
_LOGGED_SET_UPS = 3  # of a receiver that comes and goes, before it is no longer logged
_TICK_S = 1.0
_SILENCE_S = 3.0  # without NAV-PVT, or three of its intervals if that is longer
_GATHER_S = 0.12  # reports are read together and so much older: 100 wake-ups a second become 8
_SHARED_GATHER_S = 0.05  # the same where other programs read them
_CHECK_S = 60.0  # between two looks at the settings, while corrections go unused


@dataclass(slots=True)
class SetUpLog:
    """Journal lines about set-ups, held back where the receiver comes and goes."""

    count: int = 0  # of set-ups since the receiver was last stable

    def emit(self, event: events.JournalEvent, **fields: object) -> None:
        if self.count <= _LOGGED_SET_UPS:
            log.emit(event, **fields)

    def on_stable(self) -> bool:
        """Begin to count anew; whether lines had been held back."""
        held_back, self.count = self.count > _LOGGED_SET_UPS, 0
        return held_back


@dataclass(slots=True)
class ReceiverState:
    """The receiver as the rest of ztpd sees it: it outlives a connection."""

    attachment: Attachment
    error: ZtpdError | None = None  # why it is not ready
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # corrections are wanted
    accepts: frozenset[FrameKind] = frozenset()  # the formats that the firmware knows
    best_fix: str = ""  # the best label in reach with corrections; "": not known
    fixes: FixHistory = field(default_factory=FixHistory)
    usage: CorrectionUsage = field(default_factory=CorrectionUsage)
    reception: Reception = field(default_factory=Reception)
    counts: DeliveryCounts = field(default_factory=DeliveryCounts)
    ring: keys.KeyRing = field(default_factory=keys.KeyRing)
    set_ups: SetUpLog = field(default_factory=SetUpLog)


@dataclass(frozen=True, slots=True)
class Hooks:
    """The callbacks of a connection."""

    on_change: Callable[[], None]  # readiness, error, use or a logged fix changed
    on_keys_wanted: Callable[[], None]  # no known key decrypts the corrections
    on_stable: Callable[[], None]  # the receiver has served for a minute
    on_silent: Callable[[ZtpdError], float]  # seconds until it is asked again on the open port
    on_frame: Callable[[Frame], None]  # each frame from the receiver
    clocks: Callable[[], Sequence[datetime]]  # the best one first


class Connection:
    """Made for an open port; :meth:`run` is its life, the rest never waits."""

    def __init__(
        self,
        port: SerialPort,
        settings: ReceiverSettings,
        groups: Sequence[Group],
        state: ReceiverState,
        hooks: Hooks,
    ) -> None:
        self.port = port
        self.client = UbxClient(port, self._on_message)
        self.identified = False
        self._settings = settings
        self._groups = groups
        self._state = state
        self._hooks = hooks
        self._monitoring = Monitoring(port, settings)
        self._questions: list[asyncio.Future[Inspection]] = []
        self._gather_s = _SHARED_GATHER_S if settings.share else _GATHER_S
        self._restart_sign = ""
        self._ready_s = 0.0
        self._interval_s: float | None = None  # of NAV-PVT; None: it is not switched on
        self._position_s: float | None = None  # last NAV-PVT since the set-up
        self._evaluate_s = self._check_s = 0.0  # when to do so next

    async def run(self) -> None:
        """Identify, configure and follow the receiver. Ends by an error only; the port is then
        closed."""
        try:
            await self._identify()
            self.identified = True
            await self._configure()
            await self._run_ready()
        finally:
            self._state.ready.clear()
            await self.port.finish()
            for question in self._waiting_questions():
                question.set_exception(PortLost(f"{self.port.path}, while it was asked"))

    def send(self, frame: Frame) -> None:
        """Queue a message from outside; corrections count as delivered when they have left."""
        state, now = self._state, asyncio.get_running_loop().time

        def on_done(sent: bool) -> None:
            if sent:
                state.counts.on_sent(len(frame.data), now())
                if frame.kind is not FrameKind.UBX:
                    state.usage.delivered(now())
                    state.reception.on_correction(frame, now())
            elif self.port.lost:
                state.counts.undelivered += 1
            else:
                state.counts.on_dropped(now())

        try:
            self.port.write(frame.data, on_done)
        except PortLost:  # run() is about to find out
            state.counts.undelivered += 1

    async def inspect(self) -> Inspection:
        """Read the settings from the receiver; nothing is changed. Raises :class:`PortLost`."""
        question: asyncio.Future[Inspection] = asyncio.get_running_loop().create_future()
        self._questions.append(question)
        return await question

    async def _identify(self, *, again: bool = False) -> None:
        """Identify the receiver (MON-VER).

        A silent port stays open, so that its first byte is noticed; otherwise raises as
        :meth:`Attachment.identify`.
        """
        while True:
            heard_bytes = self.port.read_bytes
            try:
                return await self._state.attachment.identify(self.client, again=again)
            except ReceiverSilent as error:
                if self.port.read_bytes > heard_bytes:
                    raise
                wait_s = self._hooks.on_silent(error)
            await self.client.receive(wait_s)

    async def _configure(self) -> None:
        """Make a receiver that has just been identified ready for corrections."""
        state = self._state
        self._restart_sign = ""
        state.set_ups.count += 1
        before = self.port.baudrate
        if (event := await state.attachment.set_speed(self.client)) is not None:
            state.set_ups.emit(event, before=before, baudrate=self._settings.baudrate)
        self._log_found()
        applied = await configure.apply(self.client, self._groups, write=self._settings.configure)
        self._set_accepted(applied)
        now = _now()
        state.usage.restarted(reports=any(applied.port_values(configure.REPORTS_OUT)))
        state.fixes.restarted(now)
        state.ring.restarted()
        state.reception.restarted()
        self._monitoring.restarted(now, applied.epoch_s)
        state.best_fix = _best_fix(state.attachment.version, applied)
        self._position_s, self._interval_s = None, applied.fix_interval_s
        self._ready_s, self._check_s = now, now + _CHECK_S
        state.error = None
        state.ready.set()
        if self._settings.configure:
            state.set_ups.emit(
                events.RECEIVER_CONFIGURED,
                changed=len(applied.written),
                total=len(applied.values),
            )
        self._hooks.on_change()

    def _set_accepted(self, applied: AppliedSettings) -> None:
        """Raises :class:`ReceiverRefused` where corrections cannot get in, or nothing out."""
        spartn, rtcm = applied.knows(configure.SPARTN_IN), applied.knows(configure.RTCM_IN)
        lacking = [key for group in self._groups for key in applied.lacking(group)]
        if not (spartn or rtcm) or not applied.knows(configure.POSITION_OUT):
            raise ReceiverRefused(configure.names(lacking))
        if lacking and self._settings.configure:
            self._state.set_ups.emit(events.RECEIVER_OPTION_REFUSED, keys=configure.names(lacking))
        accepts = {FrameKind.SPARTN: spartn, FrameKind.RTCM3: rtcm, FrameKind.UBX: True}
        self._state.accepts = frozenset(kind for kind, able in accepts.items() if able)

    async def _run_ready(self) -> None:
        """Follow a receiver that is ready. Ends by an error only."""
        while True:
            await self.client.receive(_TICK_S, gather_s=self._gather_s)
            if self._questions:
                await self._inspect()
            now = _now()
            if now < self._evaluate_s and not self._restart_sign:
                continue
            self._evaluate_s = now + _TICK_S / 2
            self._evaluate(now)
            if sign := self._restart_sign or self._silence(now):
                await self._start_over(sign)
            elif self._state.ring.due(now):
                await self._give_keys()
            elif self._in_doubt(now) and now >= self._check_s:
                await self._check_settings()
            elif self._monitoring.due(now, fixed=self._state.reception.fixed):
                await self._monitoring.update(self.client, now)

    def _evaluate(self, now: float) -> None:
        """Whether the receiver is well, and whether it uses the corrections."""
        state = self._state
        if state.set_ups.count and now - self._ready_s >= _STABLE_S:
            if state.set_ups.on_stable():
                self._log_found()
            self._hooks.on_stable()
        if state.usage.judge(now, state.fixes.last, has_keys=bool(state.ring)):
            self._hooks.on_change()
        verdict = state.usage.to_tell(now)
        if verdict is not None and verdict.value is not None:
            log.emit(verdict.value)
        if state.reception.log_news(now):
            self._hooks.on_change()
        undecryptable = state.usage.verdict in (UsageVerdict.NO_KEY, UsageVerdict.WRONG_KEY)
        if undecryptable and state.ring.request_due(now):
            self._hooks.on_keys_wanted()

    def _silence(self, now: float) -> str:
        """Words for it where NAV-PVT has stopped coming."""
        if self._interval_s is None:
            return ""
        silent_s = now - (self._ready_s if self._position_s is None else self._position_s)
        limit_s = max(_SILENCE_S, 3 * self._interval_s)
        return f"no NAV-PVT for {silent_s:.0f} s" if silent_s >= limit_s else ""

    def _in_doubt(self, now: float) -> bool:
        """Whether another program may have changed settings that are ours."""
        usage = self._state.usage
        unseen = usage.verdict in (UsageVerdict.NOT_REPORTED, UsageVerdict.OTHER_SOURCE)
        return self._settings.configure and (unseen or usage.unreported(now))

    async def _start_over(self, sign: str) -> None:
        """The receiver seems to have restarted: set it up again without closing."""
        if not self._restart_sign and self._position_s is None:
            raise ReceiverSilent(f"{self.port.path}, NAV-PVT is switched on and does not come")
        self._state.set_ups.emit(events.RECEIVER_RESTARTED, sign=sign)
        self._state.ready.clear()
        self._hooks.on_change()
        await self._identify(again=True)
        await self._configure()

    async def _check_settings(self) -> None:
        """Corrections go unused for no reason of their own: are the settings still ours?"""
        self._check_s = _now() + _CHECK_S
        applied = await configure.apply(self.client, self._groups, write=True)
        if applied.written:
            log.emit(events.RECEIVER_CHANGED, keys=configure.names(applied.written))
            self._state.usage.restarted()

    def _waiting_questions(self) -> list[asyncio.Future[Inspection]]:
        """The questions of :meth:`inspect` that still wait; they are taken off the list."""
        waiting = [question for question in self._questions if not question.done()]
        self._questions.clear()
        return waiting

    async def _inspect(self) -> None:
        applied = await configure.apply(self.client, self._groups, write=False)
        version = self._state.attachment.version
        found = Inspection(
            model=version.model,
            firmware=version.firmware,
            protocol=version.protocol,
            port=self._state.attachment.path,
            baudrate=self.port.baudrate,
            wanted_baudrate=self._state.attachment.wanted_baudrate,
            takes=tuple(sorted(each.value for each in self._state.accepts - {FrameKind.UBX})),
            configure=self._settings.configure,
            settings=configure.compare(self._groups, applied),
        )
        for question in self._waiting_questions():
            question.set_result(found)

    async def _give_keys(self) -> None:
        """Make the receiver hold the current and the next key, if it does not."""
        state = self._state
        wanted = state.ring.chosen(self._hooks.clocks())
        if not wanted or FrameKind.SPARTN not in state.accepts:
            return
        if await keys.missing(self.client, wanted) == 0:
            return
        self.port.write(SpartnKey(wanted).encode())
        state.set_ups.emit(events.KEYS_SENT, count=len(wanted))
        if missing := await keys.missing(self.client, wanted):
            state.ring.on_rejected()
            held = len(wanted) - missing
            state.set_ups.emit(events.KEYS_MISSING, held=held, count=len(wanted))

    def _on_message(self, frame: Frame, message: Parsed | None) -> None:
        """Take note of everything that the receiver sends."""
        self._hooks.on_frame(frame)
        if message is not None:
            self._state.reception.on_message(message, _now())
        if isinstance(message, NavPvt):
            self._on_fix(message.to_fix())
        elif isinstance(message, RxmCor):
            self._on_report(message)
        elif _is_banner(frame):
            self._restart_sign = "it says so"

    def _on_fix(self, fix: Fix) -> None:
        state, now = self._state, _now()
        self._position_s = now
        state.fixes.add(fix, now)
        state.usage.followed(fix, now)
        if state.ready.is_set() and state.fixes.is_news(fix, now):
            detail = f", {fix.satellites} satellites"
            if fix.ok:
                detail += f", {fix.accuracy_m:.3g} m, after {log.duration(now - self._ready_s)}"
            state.set_ups.emit(events.FIX, fix=fix.label, detail=detail)
            self._hooks.on_change()

    def _on_report(self, report: RxmCor) -> None:
        match self._state.usage.reported(report, _now()):
            case MessageOutcome.USED:
                self._state.ring.on_decrypted()
            case MessageOutcome.UNDECRYPTABLE:
                self._state.ring.on_undecryptable()

    def _log_found(self) -> None:
        version = self._state.attachment.version
        self._state.set_ups.emit(
            events.RECEIVER_FOUND,
            model=version.model or "of unknown model",
            firmware=version.firmware,
            port=self._state.attachment.path,
            baudrate=self.port.baudrate,
        )


def _is_banner(frame: Frame) -> bool:
    """The first text that a receiver sends after a start names its maker, as NMEA or UBX."""
    return frame.name in ("TXT", "INF-NOTICE") and b"u-blox AG" in frame.data


def _best_fix(version: MonVer, applied: AppliedSettings) -> str:
    """The label of the best fix that the receiver can reach with corrections; "" if unknown."""
    able = has_rtk(version)
    if able is None:
        return ""
    if not able:
        return "DGNSS"
    return "RTK float" if applied.values.get(configure.DGNSS_MODE) == 2 else "RTK fixed"


def _now() -> float:
    return asyncio.get_running_loop().time()
