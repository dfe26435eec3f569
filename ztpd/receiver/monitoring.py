"""The receiver's reports about its reception, switched on where the line has room for them.

Rates are those of CFG-MSGOUT, in navigation epochs. At one epoch a second the reports add 12
bytes/s (MON-RF 60 bytes and SEC-SIG 20 each 10 s, MON-COMMS 216 each 60 s), 14 where a receiver has
three bands (84 and 24 bytes), and NAV-SAT 17 bytes/s with 40 satellites each 30 s, which is on only
while the position is not RTK fixed.
Settings go to RAM, and each message is a group of its own: firmware that lacks one has the rest.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ztpd.errors import ReceiverError
from ztpd.receiver import configure
from ztpd.receiver.client import UbxClient
from ztpd.receiver.configure import Group, Setting
from ztpd.receiver.settings import ReceiverSettings
from ztpd.serialport.port import SerialPort
from ztpd.wire import ubxcfg

MEASURED_S = 10.0
"""The load of the line is measured for so long before anything is switched on."""

UNFIXED_S = 60.0
"""NAV-SAT is switched on after so long without RTK fixed, and off after so long with it."""

FULL_SHARE = 0.8
"""No report is switched on where the line would be fuller than this in any second."""

_RETRY_S = 600.0  # after a full line: other messages may have been switched off
_MOST_EPOCHS = 255  # of CFG-MSGOUT's rates, one byte


class Report(NamedTuple):
    """A message, how often it is wanted, and the size of the longest there is."""

    message: str  # as in CFG-MSGOUT
    every_s: float
    longest_bytes: int


REPORTS = (
    Report("UBX_MON_RF", 10.0, 8 + 4 + 24 * 3),  # a ZED-X20P has three bands
    Report("UBX_SEC_SIG", 10.0, 8 + 4 + 4 * 3),
    Report("UBX_MON_COMMS", 60.0, 8 + 8 + 40 * 5),
)
SATELLITES = Report("UBX_NAV_SAT", 30.0, 8 + 8 + 12 * 64)

_DETECTION = ("CFG-HW-ANT_CFG_SHORTDET", "CFG-HW-ANT_CFG_OPENDET", "CFG-ITFM-ENABLE")
"""Antenna detection and the jamming monitor of MON-RF. Where a board has no detection circuit, the
pins' pull-ups say that an antenna is connected: ZED-F9K integration manual, section 3.6."""


class _Rate(Setting):
    """Any rate above 0 serves and is left alone."""

    __slots__ = ()

    def holds(self, value: int) -> bool:
        return value > 0


class Monitoring:
    """For one connection."""

    def __init__(self, port: SerialPort, settings: ReceiverSettings) -> None:
        """Keys in ``settings`` are the user's, and are left alone."""
        self._port = port
        self._enabled = settings.configure
        self._own = frozenset(ubxcfg.key_id(name) for name in settings.keys)
        self._epoch_s = 1.0
        self._due_s = math.inf
        self._mark = (0.0, 0)  # when, and bytes read by then
        self._reports_on = False
        self._satellites: tuple[int, ...] = ()  # keys of NAV-SAT that were switched on here
        self._fixed_since_s: float | None = None
        self._unfixed_since_s: float | None = None

    def restarted(self, now_s: float, epoch_s: float) -> None:
        """The receiver has just been set up and has none of the reports on."""
        self._epoch_s = epoch_s
        self._due_s = now_s + MEASURED_S
        self._mark = now_s, self._port.read_bytes
        self._reports_on, self._satellites = False, ()
        self._fixed_since_s = self._unfixed_since_s = None

    def due(self, now_s: float, *, fixed: bool) -> bool:
        """Whether :meth:`update` has something to do; ``fixed``: the position is RTK fixed."""
        if fixed:
            self._unfixed_since_s = None
            self._fixed_since_s = now_s if self._fixed_since_s is None else self._fixed_since_s
        else:
            self._fixed_since_s = None
            self._unfixed_since_s = (
                now_s if self._unfixed_since_s is None else self._unfixed_since_s
            )
        line_bytes_per_s = self._port.line_bytes_per_s or math.inf
        if not self._enabled or now_s < self._due_s or self._port.queued_bytes > line_bytes_per_s:
            return False  # each question takes seconds on a line that is full
        return not self._reports_on or self._satellites_wanted(now_s) != bool(self._satellites)

    async def update(self, client: UbxClient, now_s: float) -> None:
        """Switch on the wanted reports that fit the line, and NAV-SAT off when it is not needed.

        Tries later if the receiver does not answer: corrections do not need it. Raises
        :class:`ztpd.errors.PortLost`.
        """
        try:
            await self._update(client, now_s)
        except ReceiverError:
            self._due_s = now_s + _RETRY_S

    async def _update(self, client: UbxClient, now_s: float) -> None:
        load_bytes_per_s = self._load(now_s)
        self._due_s = now_s + MEASURED_S
        if not self._reports_on:
            if not self._has_room(load_bytes_per_s, REPORTS):
                self._due_s = now_s + _RETRY_S
                return
            groups = [self._group(report) for report in REPORTS]
            detection = (Setting(ubxcfg.KEYS[name], 1) for name in _DETECTION)
            groups += [Group((each,), optional=True) for each in detection]
            await configure.apply(client, self._without_own(groups), write=True)
            self._reports_on = True
        elif self._satellites:
            off = Group(tuple(Setting(key, 0) for key in self._satellites), optional=True)
            await configure.apply(client, (off,), write=True)
            self._satellites = ()
        elif self._has_room(load_bytes_per_s, (SATELLITES,)):
            groups = self._without_own([self._group(SATELLITES)])
            applied = await configure.apply(client, groups, write=True)
            self._satellites = tuple(applied.written)
            if not applied.written:  # it is on already, or the firmware lacks it
                self._due_s = math.inf
        else:
            self._due_s = now_s + _RETRY_S

    def _satellites_wanted(self, now_s: float) -> bool:
        if self._satellites:
            fixed_s = 0.0 if self._fixed_since_s is None else now_s - self._fixed_since_s
            return fixed_s < UNFIXED_S
        unfixed_s = 0.0 if self._unfixed_since_s is None else now_s - self._unfixed_since_s
        return unfixed_s >= UNFIXED_S

    def _load(self, now_s: float) -> float:
        """Bytes/s from the receiver since this was last asked."""
        since_s, before = self._mark
        self._mark = now_s, self._port.read_bytes
        return (self._port.read_bytes - before) / max(1.0, now_s - since_s)

    def _has_room(self, load_bytes_per_s: float, reports: tuple[Report, ...]) -> bool:
        """Even if all ``reports`` come in the same second."""
        limit = self._port.line_bytes_per_s
        longest = sum(report.longest_bytes for report in reports)
        return limit is None or load_bytes_per_s + longest <= FULL_SHARE * limit

    def _group(self, report: Report) -> Group:
        rate = max(1, min(_MOST_EPOCHS, round(report.every_s / self._epoch_s)))
        keys = configure.port_keys(f"CFG-MSGOUT-{report.message}_{{}}")
        return Group(tuple(_Rate(key, rate) for key in keys), ports=True, optional=True)

    def _without_own(self, groups: list[Group]) -> list[Group]:
        left = [
            Group(
                tuple(each for each in group.settings if each.key not in self._own),
                ports=group.ports,
                optional=group.optional,
            )
            for group in groups
        ]
        return [group for group in left if group.settings]
