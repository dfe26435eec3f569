"""One GNSS receiver on one serial port, for as long as the daemon runs.

:class:`Receiver` opens the port again whenever a :class:`Connection` has ended, and takes
corrections and keys from the rest of the daemon.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ztpd import events, log
from ztpd.errors import (
    FormatUnsupported,
    PortAbsent,
    PortLost,
    ReceiverAbsent,
    ReceiverNotSet,
    ReceiverRefused,
    ReceiverSilent,
    ReceiverUnsuitable,
    ZtpdError,
)
from ztpd.history.columns import Signals
from ztpd.model import DynamicKey, Fix, Frame, FrameKind, ServiceUse
from ztpd.receiver import configure, filter, keys, view
from ztpd.receiver.attach import Attachment
from ztpd.receiver.connection import Connection, Hooks, ReceiverState
from ztpd.receiver.products import has_rtk, without_rtk
from ztpd.receiver.settings import Inspection, ReceiverSettings
from ztpd.receiver.sharing import Sharing
from ztpd.retry import Delay
from ztpd.serialport.discovery import ROOT
from ztpd.serialport.port import Tap
from ztpd.status import ReceiverView
from ztpd.system.looptime import loop_time
from ztpd.wire import ubx
from ztpd.wire.ubx import Message, MonVer

_LOST = Delay(1, 1, floor_s=0.5)
_ABSENT = Delay(3, 3, floor_s=2.8)  # short enough for corrections 5 s after the port is back
_FOREIGN = Delay(6, 6, floor_s=5.0)  # for a port to come, where none of those there is a receiver's
_SILENT = Delay(2, 120, equal=True)  # on an open port: the first byte ends it
_FAILED = Delay(2, 60)
_LOG_KEYS_REFUSED_S = 60.0  # between two lines about keys that cannot be used


class ReceiverTap(Tap, Protocol):
    """Takes note of the bytes, and of the port itself."""

    def port_opened(self) -> None: ...
    def port_lost(self) -> None: ...


class Receiver:
    """See :meth:`run`; everything else may be called at any time, and never waits."""

    def __init__(
        self,
        settings: ReceiverSettings,
        *,
        on_change: Callable[[], None] = lambda: None,
        on_keys_wanted: Callable[[], None] = lambda: None,
        on_fix: Callable[[Fix], None] = lambda _: None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
        root: Path = ROOT,
        tap: ReceiverTap | None = None,
    ) -> None:
        """``on_change`` is called when readiness, error or use of the corrections change and
        when a change of the fix is logged, not for every position; ``on_keys_wanted`` when no
        known key decrypts the corrections, every ten minutes at most; ``on_fix`` for every
        position. ``root`` is where ``sys`` and ``dev`` are found; ``tap`` takes note of the line.
        Raises :class:`ztpd.errors.ConfigError` for ``settings.keys`` that are none.
        """
        self._settings = settings
        self._groups = configure.plan(settings.keys)
        self._wall_clock = wall_clock
        self._rng = rng or random.SystemRandom()
        self._tap = tap
        self._sharing = Sharing(settings, loop_time)
        self._failures = log.FailureLog(loop_time)
        self._steps: dict[Delay, int] = {}
        self._state = ReceiverState(Attachment(settings, root, rng))
        self._hooks = Hooks(
            on_change=on_change,
            on_keys_wanted=on_keys_wanted,
            on_fix=on_fix,
            on_stable=self._on_stable,
            on_silent=lambda error: self._failed(error, _SILENT),
            on_frame=self._sharing.write_frame,
            clocks=self._clocks,
        )
        self._connection: Connection | None = None
        self._keys_refused_s: float | None = None  # when that was last logged
        self._skipped_bytes = 0  # of the connections before

    @property
    def fix(self) -> Fix | None:
        """The last fix, however old; see :attr:`fix_age_s`."""
        return self._state.fixes.last

    @property
    def fix_age_s(self) -> float | None:
        """How long ago :attr:`fix` came; None where none ever did."""
        return self._state.fixes.age_s(loop_time())

    @property
    def fix_seconds(self) -> dict[str, float]:
        """For how many seconds each label of the fix was the present one."""
        return self._state.fixes.seconds(loop_time())

    @property
    def version(self) -> MonVer:
        """Model and firmware of the last one identified; empty texts before."""
        return self._state.attachment.version

    @property
    def signals(self) -> Signals:
        """What it reports about its reception."""
        return self._state.reception.signals(loop_time()) if self.ready else Signals()

    @property
    def error(self) -> ZtpdError | None:
        """Why the receiver is not ready."""
        return self._state.error

    @property
    def accepts(self) -> frozenset[FrameKind]:
        """The kinds of messages that the receiver takes."""
        return self._state.assessment.accepts

    def refusal(self, kind: FrameKind) -> ReceiverRefused | FormatUnsupported:
        """Why corrections of this kind are not in :attr:`accepts`; the settings are looked at
        once more before long."""
        version = self._state.attachment.version
        if (reason := self._state.assessment.closed.get(kind)) is None:
            if has_rtk(version) is False:  # no other firmware of that product takes them
                return ReceiverUnsuitable(without_rtk(version))
            return FormatUnsupported(kind.value)
        if self._connection:
            self._connection.on_format_missed()
        return ReceiverNotSet(reason)

    @property
    def ready(self) -> bool:
        """Identified and configured: corrections are wanted."""
        return self._state.ready.is_set()

    async def wait_ready(self) -> None:
        await self._state.ready.wait()

    @property
    def dropped(self) -> int:
        """Messages that came faster than the line to the receiver takes them."""
        return self._state.counts.dropped

    @property
    def service_use(self) -> ServiceUse:
        """Whether the corrections delivered are used, as far as their service is to blame."""
        if not self.ready:
            return ServiceUse()
        return self._state.usage.service_use(self._state.fixes.present(loop_time()))

    @property
    def wants_assistance(self) -> bool:
        """Whether it has just started, without a position and without orbits from ztpd."""
        fix = self._state.fixes.present(loop_time())
        has_position = fix is not None and fix.ok
        return self.ready and not has_position and self._state.assistance.wanted(loop_time())

    def service_changed(self) -> None:
        """Corrections come from another service now, which is judged by itself."""
        self._state.usage.restarted()

    def deliver(self, frame: Frame) -> None:
        """Send a correction to the receiver; never waits.

        SPARTN, RTCM 3 and UBX-MGA go as they are. The keys of an RXM-SPARTNKEY are looked at,
        remembered and given in a message of our own. Everything else stops here and is counted.
        """
        number, payload = filter.ubx_message(frame)
        assists = filter.is_assistance(number)
        if assists and number != Message.MGA_INI:  # that has the time and place of its arrival
            self._state.assistance.add(frame, loop_time())
        if number == Message.RXM_SPARTNKEY:
            self._take_keys(lambda: keys.received(payload, self._clocks()))
        elif self._connection is None or not self.ready:
            self._state.counts.undelivered += 1
        elif assists or (frame.kind in self.accepts and filter.is_correction(frame)):
            self._connection.send(frame)
        else:
            self._state.counts.refused += 1

    def set_keys(self, given: Sequence[DynamicKey]) -> None:
        """Decryption keys of the provisioning answer: remembered, and given to the receiver at
        every start. An unusable set is logged and ignored."""
        self._take_keys(lambda: keys.slots(given))

    @property
    def view(self) -> ReceiverView:
        """The state as it is published; call it on the event loop."""
        return view.build(
            self._state,
            self._connection,
            share_problem=str(self._sharing.error or ""),
            skipped_bytes=self._skipped_bytes,
            now_s=loop_time(),
            wall_clock=self._wall_clock(),
        )

    async def inspect(self, *, every: bool = False) -> Inspection:
        """Read the settings from the receiver, ``every`` one or those that ztpd cares for; nothing
        is changed.

        Raises why the receiver is not ready, and :class:`PortLost`.
        """
        if self._connection is None or not self.ready:
            where = self._state.attachment.path or "its port"
            raise self.error or ReceiverSilent(f"{where} is being set up")
        return await self._connection.inspect(every=every)

    async def run(self) -> None:
        """Open, identify, configure, give the keys, follow; and again whenever that fails.
        Cancelled, it gives the port back."""
        try:
            while True:
                try:
                    await self._run_once()
                except ZtpdError as error:
                    wait_s = self._failed(error)
                await asyncio.sleep(wait_s)
        finally:
            self._sharing.close()

    async def _run_once(self) -> None:
        """From opening the port to the error that ends it."""
        self._sharing.open()
        port = await self._state.attachment.open()
        port.tap = self._tap
        if self._tap:
            self._tap.port_opened()
        connection = Connection(port, self._settings, self._groups, self._state, self._hooks)
        self._connection = connection
        try:
            await connection.run()
        except PortLost:
            if self._tap:
                self._tap.port_lost()
            raise
        finally:
            self._connection = None
            self._skipped_bytes += connection.client.scanner.counts.skipped_bytes

    def _failed(self, error: ZtpdError, wait: Delay | None = None) -> float:
        """Note and log why the receiver cannot be used; seconds until the next try."""
        wait = wait or self._wait_after(error)
        step = self._steps.get(wait, 0)
        self._steps[wait] = step + 1
        wait_s = wait.sample(step, self._rng)
        news, self._state.error = str(error) != str(self._state.error), error
        self._failures.record(error, retry_in_s=wait_s)
        if news:
            self._hooks.on_change()
        return wait_s

    def _wait_after(self, error: ZtpdError) -> Delay:
        if isinstance(error, (PortAbsent, PortLost, ReceiverAbsent)):
            self._steps.clear()  # the device that comes back may work, or be another one
            self._state.attachment.lost()
            return _LOST if isinstance(error, PortLost) else _ABSENT
        return _FAILED if self._state.attachment.path else _FOREIGN

    def _on_stable(self) -> None:
        self._failures.clear()
        self._steps.clear()

    def _take_keys(self, read: Callable[[], Sequence[ubx.KeySlot]]) -> None:
        """Remember the keys that ``read`` gives; where it raises, log why they are not used."""
        try:
            self._state.ring.add(read())
        except ValueError as error:
            self._state.counts.refused += 1
            last_s, now = self._keys_refused_s, loop_time()
            if last_s is None or now - last_s >= _LOG_KEYS_REFUSED_S:
                self._keys_refused_s = now
                log.emit(events.KEYS_REFUSED, detail=error)

    def _clocks(self) -> list[datetime]:
        """The receiver's clock first: it has the satellites', unless it is a whole era off."""
        own = [self.fix.utc] if self.fix and self.fix.utc else []
        return [*own, self._wall_clock()]
