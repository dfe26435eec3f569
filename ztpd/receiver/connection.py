"""One life of one open port: from the first question to the error that ends it.

In steady state ztpd sends no query: it detects a restart and changed settings by the messages that
arrive or are missing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from ztpd import events, log
from ztpd.errors import PortLost, ReceiverError, ReceiverSilent, ZtpdError
from ztpd.model import Fix, Frame, FrameKind
from ztpd.receiver import baudrate, configure, inspection, keys
from ztpd.receiver.assessment import PORT_SETTINGS, Assessment, assess
from ztpd.receiver.assistance import AssistanceStore
from ztpd.receiver.attach import Attachment
from ztpd.receiver.client import UbxClient, is_banner
from ztpd.receiver.configure import AppliedSettings, Group
from ztpd.receiver.deliveries import DeliveryCounts
from ztpd.receiver.fixes import FixHistory
from ztpd.receiver.monitoring import Monitoring
from ztpd.receiver.products import has_rtk
from ztpd.receiver.reception import Reception
from ztpd.receiver.settings import Inspection, ReceiverSettings
from ztpd.receiver.usage import CorrectionUsage, MessageOutcome, UsageVerdict
from ztpd.serialport.port import SerialPort
from ztpd.system.looptime import loop_time
from ztpd.wire.ubx import CfgRst, NavPvt, Parsed, RxmCor, RxmRtcm, SpartnKey

_STABLE_S = 60.0  # a receiver that served so long is well, and its next trouble is news
_LOGGED_SET_UPS = 3  # of a receiver that comes and goes, before it is no longer logged
_TICK_S = 1.0
_SILENCE_S = 3.0  # without NAV-PVT, or three of its intervals if that is longer
_GATHER_S = 1.0  # reports are read together and so much older: 100 wake-ups a second become 2
_SHARED_GATHER_S = 0.05  # the same where other programs read them
_CHECK_S = 50.0  # between two looks at the settings, while corrections go unused
_LOW_S = 60.0  # a fix below one that was reached may come of a setting, when it lasts so long
_LOW_CHECK_S = 600.0  # between two looks at the settings then


class SetUpLog:
    """Journal lines about set-ups, held back where the receiver comes and goes."""

    def __init__(self) -> None:
        self.count = 0  # of set-ups since the receiver was last stable

    def emit(self, event: events.JournalEvent, **fields: object) -> None:
        if self.count <= _LOGGED_SET_UPS:
            log.emit(event, **fields)

    def on_stable(self) -> bool:
        """Reset the count; True if lines had been held back."""
        held_back, self.count = self.count > _LOGGED_SET_UPS, 0
        return held_back


class ReceiverState:
    """The receiver as the rest of ztpd sees it: it outlives a connection."""

    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self.error: ZtpdError | None = None  # why it is not ready
        self.ready = asyncio.Event()  # corrections are wanted
        self.assessment = Assessment()
        self.fixes = FixHistory()
        self.usage = CorrectionUsage()
        self.reception = Reception()
        self.counts = DeliveryCounts()
        self.ring = keys.KeyRing()
        self.set_ups = SetUpLog()
        self.assistance = AssistanceStore()
        self.format: FrameKind | None = None  # of the corrections that were given to it last


class Hooks(NamedTuple):
    """The callbacks of a connection."""

    on_change: Callable[[], None]  # readiness, error, use or a logged fix changed
    on_keys_wanted: Callable[[], None]  # no known key decrypts the corrections
    on_fix: Callable[[Fix], None]  # every position
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
        self._questions = inspection.Questions()
        self._gather_s = _SHARED_GATHER_S if settings.is_shared else _GATHER_S
        self._ports = state.attachment.ports  # of the receiver: one of these is in use
        self._restart_sign = ""
        self._format_missed = False  # corrections came whose input is off
        self._ready_s = 0.0
        self._position_s: float | None = None  # last NAV-PVT since the set-up
        self._evaluate_s = self._check_s = 0.0  # when to do so next
        self._checked_s = -math.inf  # last look at the settings after the set-up

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
            self._questions.fail(PortLost(f"{self.port.path}, while it was asked"))

    def send(self, frame: Frame) -> None:
        """Queue a message from outside; corrections count as delivered when they have left."""
        state = self._state

        def on_done(sent: bool) -> None:
            now = loop_time()
            if sent:
                state.counts.on_sent(len(frame.data), now)
                if frame.kind is not FrameKind.UBX:
                    state.usage.delivered(frame, now)
                    state.reception.on_correction(frame, now)
            elif self.port.lost or not state.ready.is_set():
                state.counts.undelivered += 1
            else:
                state.counts.on_dropped(now)

        try:
            if frame.kind is not FrameKind.UBX:
                self._keep_apart(frame.kind)
            self.port.write(frame.data, on_done)
        except PortLost:  # run() is about to find out
            state.counts.undelivered += 1

    def _keep_apart(self, kind: FrameKind) -> None:
        """Two formats are never mixed: before the first message of ``kind`` the receiver drops
        those of the other one. Raises :class:`PortLost`."""
        state, before = self._state, self._state.format

        def on_done(sent: bool) -> None:
            if not sent:
                state.format = before  # once more with the next message

        if before is not None and before is not kind:
            self.port.write(CfgRst().encode(), on_done)
            log.emit(events.FORMAT_CHANGED, format=kind.value, before=before.value)
            state.usage.restarted()
            state.ring.restarted()
        state.format = before if self.port.lost else kind

    async def inspect(self, *, every: bool = False) -> Inspection:
        """Read the settings that ztpd cares for, or ``every`` one. Raises :class:`PortLost`."""
        return await self._questions.ask(every=every)

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
        applied = await self._apply()
        lacking = [key for group in self._groups for key in applied.lacking(group)]
        needed = has_rtk(state.attachment.version) is not False  # else no firmware has them
        if lacking and needed and self._settings.configure:
            state.set_ups.emit(events.RECEIVER_OPTION_REFUSED, keys=configure.names(lacking))
        now = loop_time()
        state.usage.restarted(state.assessment.abilities)
        state.fixes.restarted(now, state.assessment.fix_interval_s)
        state.ring.restarted()
        state.reception.restarted()
        state.reception.set_up(now)
        self._monitoring.restarted(now, applied.epoch_s)
        self._position_s = None
        self._ready_s, self._check_s = now, now + _CHECK_S
        if not self._settings.is_shared:
            self.client.scanner.skim_nmea()
        state.error = None
        state.ready.set()
        if self._settings.configure:
            changed, total = len(applied.written), len(applied.values)
            state.set_ups.emit(events.RECEIVER_CONFIGURED, changed=changed, total=total)
        for frame in state.assistance.started(now):
            self.send(frame)
        self._hooks.on_change()

    async def _apply(self) -> AppliedSettings:
        """Set the receiver, or only read its settings where they are to be left alone, and judge
        it by them. Raises as :func:`assess` and :func:`configure.apply`."""
        state, may_configure = self._state, self._settings.configure
        applied = await configure.apply(self.client, self._groups, write=may_configure)
        if len(self._ports) > 1 and applied.differ(PORT_SETTINGS, self._ports):
            name = await baudrate.port_in_use(self.client)
            self._ports = (name,) if name in self._ports else self._ports
        state.assessment = assess(
            state.attachment.version,
            applied,
            self._groups,
            self._ports,
            may_configure=may_configure,
        )
        return applied

    async def _run_ready(self) -> None:
        """Follow a receiver that is ready. Ends by an error only."""
        while True:
            await self.client.receive(_TICK_S, gather_s=self._gather_s)
            if self._questions:
                attachment = self._state.attachment
                await self._questions.answer(self.client, attachment, self._settings, self._groups)
            now = loop_time()
            if now < self._evaluate_s and not self._restart_sign:
                continue
            self._evaluate_s = now + _TICK_S / 2
            self._evaluate(now)
            if sign := self._restart_sign or self._silence(now):
                await self._start_over(sign)
            elif self._state.ring.due(now):
                await self._give_keys()
            elif now >= self._check_s and self._in_doubt(now):
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
        if (verdict := state.usage.to_log(now)) is not None and verdict.value is not None:
            log.emit(verdict.value, **state.usage.details)
        if state.reception.log_news(now):
            self._hooks.on_change()
        undecryptable = state.usage.verdict in (UsageVerdict.NO_KEY, UsageVerdict.WRONG_KEY)
        if undecryptable and state.ring.request_due(now):
            self._hooks.on_keys_wanted()

    def _silence(self, now: float) -> str:
        """Words for it where NAV-PVT has stopped coming."""
        silent_s = now - (self._ready_s if self._position_s is None else self._position_s)
        limit_s = max(_SILENCE_S, 3 * (self._state.fixes.interval_s or 0.0))
        return f"no NAV-PVT for {silent_s:.0f} s" if silent_s >= limit_s else ""

    def _in_doubt(self, now: float) -> bool:
        """Whether another program may have changed settings that are ours."""
        state = self._state
        if self._format_missed or state.usage.doubts_settings(now, state.fixes.present(now)):
            return True
        lost_s = state.fixes.lost_for_s(state.assessment.best_fix, now)
        return lost_s >= _LOW_S and now - self._checked_s >= _LOW_CHECK_S

    async def _start_over(self, sign: str) -> None:
        """The receiver seems to have restarted: set it up again without closing."""
        if not self._restart_sign and self._position_s is None:
            raise ReceiverSilent(f"{self.port.path}, NAV-PVT is switched on and does not come")
        self._state.set_ups.emit(events.RECEIVER_RESTARTED, sign=sign)
        self._state.ready.clear()
        self.port.drop_waiting()  # its inputs may be off, and the set-up is not to wait for them
        self._hooks.on_change()
        await self._identify(again=True)
        await self._configure()

    async def _check_settings(self) -> None:
        """Corrections go unused for no reason of their own: are the settings still ours?"""
        self._checked_s = loop_time()
        self._check_s = self._checked_s + _CHECK_S
        self._format_missed = False
        try:
            applied = await self._apply()
        except ReceiverError:
            if self._state.usage.verdict is UsageVerdict.DAMAGED:
                return  # the questions, or the answers, were damaged too
            raise
        if applied.written:
            if not self._state.reception.is_unsteady(self._checked_s):
                log.emit(events.RECEIVER_CHANGED, keys=configure.names(applied.written))
            self._state.reception.set_up(self._checked_s)
            self._state.usage.restarted(self._state.assessment.abilities)
            if applied.wrote(configure.REPORTS_OUT) or applied.wrote(configure.RTCM_REPORTS_OUT):
                self._state.ring.restarted()  # it seems to have restarted unnoticed
                self._monitoring.restarted(self._checked_s, applied.epoch_s)
        self._state.usage.abilities = self._state.assessment.abilities

    def on_format_missed(self) -> None:
        """Corrections came whose input is off: see whether it still is."""
        self._format_missed = True

    async def _give_keys(self) -> None:
        """Make the receiver hold the current and the next key, if it does not."""
        state = self._state
        wanted = state.ring.chosen(self._hooks.clocks())
        if not wanted or FrameKind.SPARTN not in state.assessment.accepts:
            return
        if await keys.missing(self.client, wanted) == 0:
            return
        self.port.write(SpartnKey(wanted).encode())
        state.set_ups.emit(events.KEYS_SENT, count=len(wanted))
        if missing := await keys.missing(self.client, wanted):
            state.ring.on_rejected()
            state.set_ups.emit(events.KEYS_MISSING, held=len(wanted) - missing, count=len(wanted))

    def _on_message(self, frame: Frame, message: Parsed | None, now: float) -> None:
        """Take note of everything that the receiver sends."""
        self._hooks.on_frame(frame)
        if message is not None:
            self._state.reception.on_message(message, now)
        if isinstance(message, NavPvt):
            self._on_fix(message.to_fix(), now)
        elif isinstance(message, RxmCor):
            self._on_report(message, now)
        elif isinstance(message, RxmRtcm):
            if FrameKind.SPARTN not in self._state.assessment.abilities.reports:
                self._on_report(message.as_cor, now)  # else RXM-COR reports the same
        elif is_banner(frame):
            self._restart_sign = "it says so"

    def _on_fix(self, fix: Fix, now: float) -> None:
        state = self._state
        self._position_s = now
        state.fixes.add(fix, now)
        state.usage.followed(fix, now)
        if state.ready.is_set() and state.fixes.is_news(fix, now):
            detail = f", {fix.satellites} satellites"
            if fix.ok:
                detail += f", {fix.accuracy_m:.3g} m, after {log.duration(now - self._ready_s)}"
            state.set_ups.emit(events.FIX, fix=fix.label, detail=detail)
            self._hooks.on_change()
        self._hooks.on_fix(fix)

    def _on_report(self, report: RxmCor, now: float) -> None:
        match self._state.usage.reported(report, now):
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
            speed=self.port.speed,
        )
