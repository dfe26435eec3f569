"""One GNSS receiver on one serial port, for as long as the daemon runs.

One task reads, asks and configures; corrections and keys come from elsewhere in the daemon, and
go into the same queue of whole frames. Nothing is asked in steady state: that the receiver has
restarted or was set otherwise is seen in what it says, or no longer says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ztpd import events, log
from ztpd.errors import (
    OutputError,
    PortAbsent,
    PortLost,
    ReceiverAbsent,
    ReceiverRefused,
    ReceiverSilent,
    ZtpdError,
)
from ztpd.model import DynamicKey, Fix, Frame, FrameKind
from ztpd.receiver import configure, filter, keys
from ztpd.receiver.attach import Attachment
from ztpd.receiver.client import UbxClient
from ztpd.receiver.settings import Inspection, ReceiverSettings, ReceiverView
from ztpd.receiver.usage import CorrectionUsage, Outcome, Progress, UsageVerdict
from ztpd.retry import Delay
from ztpd.serialport.discovery import ROOT
from ztpd.serialport.pty import SharedPort
from ztpd.wire import ubx
from ztpd.wire.ubx import Message, NavPvt, Parsed, RxmCor, SpartnKey

_LOST = Delay(1, 1, floor_s=0.5)
_ABSENT = Delay(3, 3, floor_s=2.8)  # with what follows, corrections flow 5 s after the port is back
_FOREIGN = Delay(6, 6, floor_s=5.0)  # for a port to come, where none of those there is a receiver's
_SILENT = Delay(2, 120, equal=True)  # on an open port: the first byte ends it
_FAILED = Delay(2, 60)
_STABLE_S = 60.0  # a receiver that served so long is well, and its next trouble is news
_LOGGED_SET_UPS = 3  # of a receiver that comes and goes, before it is no longer told
_TICK_S = 1.0
_SILENCE_S = 3.0  # without NAV-PVT, or three of its intervals if that is longer
_CHECK_S = 60.0  # between two looks at the settings, while corrections go unused
_ASK_KEYS_S = 600.0  # between two questions to the service for its keys
_KEYS = ubx.label(Message.RXM_SPARTNKEY)
_FRESH_S = 5.0  # an older fix is not shown as the present one


class Receiver:
    """See :meth:`run`; everything else may be called at any time, and never waits."""

    def __init__(
        self,
        settings: ReceiverSettings,
        *,
        on_change: Callable[[], None] = lambda: None,
        on_keys_wanted: Callable[[], None] = lambda: None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
        root: Path = ROOT,
    ) -> None:
        """``on_change`` is called when readiness, error or use of the corrections change and
        when a change of the fix is logged, not for every position; ``on_keys_wanted`` when no
        known key decrypts what comes, every ten minutes at most. ``root`` is where ``sys`` and
        ``dev`` are found. Raises :class:`ztpd.errors.ConfigError` for ``settings.keys`` that are
        none.
        """
        self.fix: Fix | None = None
        self.error: ZtpdError | None = None  # why not ready
        self.accepts: frozenset[FrameKind] = frozenset()  # what the firmware can take
        self._settings = settings
        self._groups = configure.plan(settings.keys)
        self._on_change = on_change
        self._on_keys_wanted = on_keys_wanted
        self._wall_clock = wall_clock
        self._rng = rng or random.SystemRandom()
        self._attachment = Attachment(settings, root, rng)
        self._share = SharedPort(settings.share) if settings.share else None
        self._ready = asyncio.Event()
        self._failures = log.FailureLog(_now)
        self._steps: dict[Delay, int] = {}
        self._client: UbxClient | None = None
        self._questions: list[asyncio.Future[Inspection]] = []
        self._ring = keys.KeyRing()
        self._use = CorrectionUsage()
        self._progress = Progress()
        self._fix_s = 0.0
        self._restart_sign = ""
        self._configured_count = 0  # since the receiver was last stable
        self._ready_s = 0.0
        self._interval_s: float | None = None  # of NAV-PVT; None: it is not switched on
        self._position_s: float | None = None  # last NAV-PVT since the set-up
        self._evaluate_s = self._check_s = 0.0  # when to do so next
        self._keys_asked_s = 0.0  # not before
        self._keys_refused_s = -_CHECK_S  # when that was last told
        self._delivered = [0, 0]
        self._refused = self._undelivered = self._dropped = self._skipped = 0

    @property
    def ready(self) -> bool:
        """Identified and configured: corrections are wanted."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        await self._ready.wait()

    @property
    def fix_age_s(self) -> float | None:
        """How long ago :attr:`fix` came; None where none ever did."""
        return None if self.fix is None else _now() - self._fix_s

    @property
    def dropped(self) -> int:
        """Frames that came faster than the line to the receiver takes them."""
        return self._dropped + (self._client.port.dropped_frames if self._client else 0)

    def deliver(self, frame: Frame) -> None:
        """Send a correction to the receiver; never waits.

        SPARTN, RTCM 3 and UBX-MGA go as they are. The keys of an RXM-SPARTNKEY are looked at,
        remembered and given in a message of our own. Everything else stops here and is counted.
        """
        payload = filter.ubx_payload(frame, Message.RXM_SPARTNKEY)
        if payload is not None:
            self._take_keys(lambda: keys.received(payload, self._clocks()))
        elif self._client is None or not self.ready:
            self._undelivered += 1
        elif filter.is_assistance(frame):
            self._send(self._client, frame)
        elif frame.kind in self.accepts and filter.is_correction(frame):
            self._send(self._client, frame)
            self._use.delivered(_now())
        else:
            self._refused += 1

    def set_keys(self, given: Sequence[DynamicKey]) -> None:
        """Decryption keys of the provisioning answer: remembered, and given to the receiver at
        every start. An unusable set is told and ignored."""
        self._take_keys(lambda: keys.slots(given))

    @property
    def view(self) -> ReceiverView:
        """The state as it is published; call it on the event loop."""
        port = self._client.port if self._client else None
        fresh = self.fix is not None and _now() - self._fix_s <= _FRESH_S and self.ready
        fix = self.fix if fresh else None
        return ReceiverView(
            model=self._attachment.version.model,
            firmware=self._attachment.version.firmware,
            protocol=self._attachment.version.protocol,
            port=self._attachment.path,
            baudrate=port.baudrate if port else 0,
            ready=self.ready,
            problem=str(self.error) if self.error else "",
            fix=fix.label if fix else "unknown",
            carrier=fix.carrier.name.lower() if fix else "none",
            correction_age_s=fix.correction_age_s if fix else None,
            accuracy_m=fix.accuracy_m if fix and fix.ok else None,
            satellites=fix.satellites if fix else 0,
            use=self._use.label,
            use_event=self._use.event_name,
            used=dict(self._use.used),
            rejected=dict(self._use.rejected),
            delivered_frames=self._delivered[0],
            delivered_bytes=self._delivered[1],
            dropped=self.dropped,
            refused=self._refused,
            undelivered=self._undelivered,
            first_fix_s=self._progress.first_at_least("2D"),
            first_float_s=self._progress.first_at_least("RTK float"),
            first_fixed_s=self._progress.first_at_least("RTK fixed"),
            skipped_bytes=self._skipped
            + (self._client.scanner.counts.skipped_bytes if self._client else 0),
        )

    async def inspect(self) -> Inspection:
        """Read the settings from the receiver; nothing is changed.

        Raises why the receiver is not ready, and :class:`PortLost`.
        """
        if not self.ready:
            raise self.error or ReceiverSilent(
                f"{self._attachment.path or 'its port'} has just been opened"
            )
        question: asyncio.Future[Inspection] = asyncio.get_running_loop().create_future()
        self._questions.append(question)
        return await question

    async def run(self) -> None:
        """Open, identify, configure, give the keys, follow; and again whenever that fails, for
        ever. Cancelled, it gives the port back."""
        try:
            while True:
                try:
                    await self._run_once()
                except ZtpdError as error:
                    wait_s = self._failed(error)
                await asyncio.sleep(wait_s)
        finally:
            if self._share:
                self._share.close()

    def _failed(self, error: ZtpdError, wait: Delay | None = None) -> float:
        """Note and tell why the receiver cannot be used; seconds until the next try."""
        wait = wait or self._wait_after(error)
        step = self._steps.get(wait, 0)
        self._steps[wait] = step + 1
        wait_s = wait.sample(step, self._rng)
        news, self.error = str(error) != str(self.error), error
        self._failures.record(error, retry_in_s=wait_s)
        if news:
            self._on_change()
        return wait_s

    def _wait_after(self, error: ZtpdError) -> Delay:
        if isinstance(error, (PortAbsent, PortLost, ReceiverAbsent)):
            self._steps.clear()  # what comes back may be well, or another one
            return _LOST if isinstance(error, PortLost) else _ABSENT
        return _FAILED if self._attachment.path else _FOREIGN

    async def _run_once(self) -> None:
        """From opening the port to whatever ends it."""
        self._open_shared_pty()
        port = await self._attachment.open()
        client = UbxClient(port, self._on_message)
        try:
            await self._identify(client)
            self._client = client
            await self._configure(client)
            await self._run_ready(client)
        finally:
            self._ready.clear()
            self._client = None
            for question in self._asked():
                question.set_exception(PortLost(f"{port.path}, while it was asked"))
            self._dropped += port.dropped_frames
            self._skipped += client.scanner.counts.skipped_bytes
            port.close()

    def _open_shared_pty(self) -> None:
        """Have the terminal ready for others; corrections do not wait for that."""
        if self._share:
            try:
                self._share.open()
            except OutputError as error:
                self._failures.record(error)

    async def _identify(self, client: UbxClient, *, again: bool = False) -> None:
        """Identify the receiver (MON-VER).

        A silent port stays open, so that its first byte is noticed; otherwise raises as
        :meth:`Attachment.identify`.
        """
        while True:
            heard_bytes = client.port.read_bytes
            try:
                return await self._attachment.identify(client, again=again)
            except ReceiverSilent as error:
                if client.port.read_bytes > heard_bytes:
                    raise
                wait_s = self._failed(error, _SILENT)
            await client.receive(wait_s)

    async def _configure(self, client: UbxClient) -> None:
        """Make a receiver that has just been identified ready for corrections."""
        self._restart_sign = ""
        self._configured_count += 1
        before = client.port.baudrate
        if (event := await self._attachment.set_speed(client)) is not None:
            self._log(event, before=before, baudrate=self._settings.baudrate)
        self._log_found(client)
        outcome = await configure.apply(client, self._groups, write=self._settings.configure)
        self._set_accepted(outcome)
        now = _now()
        self._use.restarted(reports=any(self._values(outcome, configure.REPORTS_OUT)))
        self._progress = Progress(now)
        self._position_s, self._interval_s = None, self._fix_interval_s(outcome)
        self._ready_s, self._check_s = now, now + _CHECK_S
        self._ring.restarted()
        self.error = None
        self._ready.set()
        if self._settings.configure:
            self._log(
                events.RECEIVER_CONFIGURED,
                changed=len(outcome.written),
                total=len(outcome.values),
            )
        self._on_change()

    def _set_accepted(self, outcome: configure.Outcome) -> None:
        """Raises :class:`ReceiverRefused` where corrections cannot get in, or nothing out."""
        spartn, rtcm = outcome.knows(configure.SPARTN_IN), outcome.knows(configure.RTCM_IN)
        lacking = [key for group in self._groups for key in outcome.lacking(group)]
        if not (spartn or rtcm) or not outcome.knows(configure.POSITION_OUT):
            raise ReceiverRefused(configure.names(lacking))
        if lacking and self._settings.configure:
            self._log(events.RECEIVER_OPTION_REFUSED, keys=configure.names(lacking))
        accepts = {FrameKind.SPARTN: spartn, FrameKind.RTCM3: rtcm, FrameKind.UBX: True}
        self.accepts = frozenset(kind for kind, able in accepts.items() if able)

    @staticmethod
    def _values(outcome: configure.Outcome, pattern: str) -> list[int]:
        return [outcome.values.get(key, 0) for key in configure.port_keys(pattern)]

    def _fix_interval_s(self, outcome: configure.Outcome) -> float | None:
        rates = [rate for rate in self._values(outcome, configure.POSITION_OUT) if rate]
        if not rates:
            return None
        measure_s = outcome.values.get(configure.MEASURE_MS, 1000) / 1000
        return measure_s * outcome.values.get(configure.MEASURES_PER_FIX, 1) * max(rates)

    async def _run_ready(self, client: UbxClient) -> None:
        """Live with a receiver that is ready. Ends by an error only."""
        while True:
            await client.receive(_TICK_S)
            if self._questions:
                await self._inspect(client)
            now = _now()
            if now < self._evaluate_s and not self._restart_sign:
                continue
            self._evaluate_s = now + _TICK_S / 2
            self._evaluate(client, now)
            if sign := self._restart_sign or self._silence(now):
                await self._start_over(client, sign)
            elif self._ring.due(now):
                await self._give_keys(client)
            elif self._in_doubt(now) and now >= self._check_s:
                await self._check_settings(client)

    def _evaluate(self, client: UbxClient, now: float) -> None:
        """Whether the receiver is well, and whether it uses what it gets."""
        if self._configured_count and now - self._ready_s >= _STABLE_S:
            kept_back, self._configured_count = self._configured_count > _LOGGED_SET_UPS, 0
            if kept_back:
                self._log_found(client)
            self._failures.clear()
            self._steps.clear()
        if self._use.judge(now, self.fix, has_keys=bool(self._ring)):
            self._on_change()
        verdict = self._use.to_tell(now)
        if verdict is not None and verdict.value is not None:
            log.emit(verdict.value)
        if (
            self._use.verdict in (UsageVerdict.NO_KEY, UsageVerdict.WRONG_KEY)
            and now >= self._keys_asked_s
        ):
            self._keys_asked_s = now + _ASK_KEYS_S
            self._on_keys_wanted()

    def _silence(self, now: float) -> str:
        """Words for it where NAV-PVT has stopped coming."""
        if self._interval_s is None:
            return ""
        silent_s = now - (self._ready_s if self._position_s is None else self._position_s)
        limit_s = max(_SILENCE_S, 3 * self._interval_s)
        return f"no NAV-PVT for {silent_s:.0f} s" if silent_s >= limit_s else ""

    def _in_doubt(self, now: float) -> bool:
        """Whether it looks as if somebody else had changed settings that are ours."""
        unseen = self._use.verdict in (
            UsageVerdict.NOT_REPORTED,
            UsageVerdict.OTHER_SOURCE,
        ) or self._use.unreported(now)
        return unseen and self._settings.configure

    async def _start_over(self, client: UbxClient, sign: str) -> None:
        """The receiver has restarted, by the look of it: set it up again without closing."""
        if not self._restart_sign and self._position_s is None:
            raise ReceiverSilent(f"{client.port.path}, NAV-PVT is switched on and does not come")
        self._log(events.RECEIVER_RESTARTED, sign=sign)
        self._ready.clear()
        self._on_change()
        await self._identify(client, again=True)
        await self._configure(client)

    async def _check_settings(self, client: UbxClient) -> None:
        """Corrections go unused for no reason of their own: are the settings still ours?"""
        self._check_s = _now() + _CHECK_S
        outcome = await configure.apply(client, self._groups, write=True)
        if outcome.written:
            log.emit(events.RECEIVER_CHANGED, keys=configure.names(outcome.written))
            self._use.restarted()

    def _asked(self) -> list[asyncio.Future[Inspection]]:
        """Those who still wait for :meth:`inspect`; they are taken off the list."""
        waiting = [question for question in self._questions if not question.done()]
        self._questions.clear()
        return waiting

    async def _inspect(self, client: UbxClient) -> None:
        outcome = await configure.apply(client, self._groups, write=False)
        found = Inspection(
            model=self._attachment.version.model,
            firmware=self._attachment.version.firmware,
            protocol=self._attachment.version.protocol,
            port=self._attachment.path,
            baudrate=client.port.baudrate,
            wanted_baudrate=self._attachment.wanted_baudrate,
            takes=tuple(sorted(each.value for each in self.accepts - {FrameKind.UBX})),
            configure=self._settings.configure,
            settings=configure.compare(self._groups, outcome),
        )
        for question in self._asked():
            question.set_result(found)

    async def _give_keys(self, client: UbxClient) -> None:
        """Make the receiver hold the current and the next key, if it does not."""
        wanted = self._ring.chosen(self._clocks())
        if not wanted or FrameKind.SPARTN not in self.accepts:
            return
        if await keys.missing(client, wanted) == 0:
            return
        client.port.write(SpartnKey(wanted).encode())
        self._log(events.KEYS_SENT, count=len(wanted))
        if missing := await keys.missing(client, wanted):
            self._ring.on_rejected()
            self._log(events.KEYS_MISSING, held=len(wanted) - missing, count=len(wanted))

    def _on_message(self, frame: Frame, message: Parsed | None) -> None:
        """Everything the receiver says passes here. Its decryption keys are for nobody else."""
        if self._share and frame.name != _KEYS:
            self._share.write_frame(frame.data)
        if isinstance(message, NavPvt):
            self._follow_fix(message.to_fix())
        elif isinstance(message, RxmCor):
            self._follow_report(message)
        elif _is_banner(frame):
            self._restart_sign = "it says so"

    def _follow_fix(self, fix: Fix) -> None:
        now = _now()
        self.fix, self._fix_s, self._position_s = fix, now, now
        self._use.followed(fix, now)
        if self.ready and self._progress.follow(fix, now):
            detail = f", {fix.satellites} satellites"
            if fix.ok:
                detail += f", {fix.accuracy_m:.3g} m, after {log.duration(now - self._ready_s)}"
            self._log(events.FIX, fix=fix.label, detail=detail)
            self._on_change()

    def _follow_report(self, report: RxmCor) -> None:
        match self._use.reported(report, _now()):
            case Outcome.USED:
                self._ring.on_decrypted()
            case Outcome.UNDECRYPTABLE:
                self._ring.on_undecryptable()

    def _send(self, client: UbxClient, frame: Frame) -> None:
        try:
            client.port.write(frame.data)
        except PortLost:  # whoever reads the port is about to find out
            self._undelivered += 1
            return
        self._delivered[0] += 1
        self._delivered[1] += len(frame.data)

    def _take_keys(self, read: Callable[[], Sequence[ubx.KeySlot]]) -> None:
        """Remember the keys that ``read`` gives; where it raises, tell why it is not used."""
        try:
            self._ring.add(read())
        except ValueError as error:
            self._refused += 1
            if _now() - self._keys_refused_s >= _CHECK_S:
                self._keys_refused_s = _now()
                log.emit(events.KEYS_REFUSED, detail=error)

    def _clocks(self) -> list[datetime]:
        """The receiver's clock first: it has the satellites', unless it is a whole era off."""
        own = [self.fix.utc] if self.fix and self.fix.utc else []
        return [*own, self._wall_clock()]

    def _log_found(self, client: UbxClient) -> None:
        self._log(
            events.RECEIVER_FOUND,
            model=self._attachment.version.model or "of unknown model",
            firmware=self._attachment.version.firmware,
            port=self._attachment.path,
            baudrate=client.port.baudrate,
        )

    def _log(self, event: events.JournalEvent, **fields: object) -> None:
        """Log, unless the receiver comes and goes so often that nobody wants to read it."""
        if self._configured_count <= _LOGGED_SET_UPS:
            log.emit(event, **fields)


def _is_banner(frame: Frame) -> bool:
    """The first thing a receiver says after a start: who made it, as NMEA or UBX text."""
    return frame.name in ("TXT", "INF-NOTICE") and b"u-blox AG" in frame.data


def _now() -> float:
    return asyncio.get_running_loop().time()
