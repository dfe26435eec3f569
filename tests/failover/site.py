"""A gateway with a first service and a backup, both behind lines that can fail, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.clocks import Clocks
from tests.support.gateway import FAST_LINE, Gateway
from ztpd.daemon import Daemon
from ztpd.model import utc
from ztpd.sim.caster import Caster
from ztpd.sim.corrections import BACKUP_STATION, STATION, coalesce, rtcm
from ztpd.sim.proxy import FaultProxy
from ztpd.sim.receiver import SimReceiver
from ztpd.wire.rtcm import StationPosition

FOREIGN_STATION = STATION._replace(station_id=77)
BEGINS_UNIX_S = 1_797_840_000.0  # 2026-12-21, 0 h UTC
MINUTE_S, HOUR_S = 60.0, 3600.0

_EPOCHS = 60  # that are made; then the same ones again


@dataclass
class Service:
    """A caster with one mountpoint, the line to it, and the station whose data it sends."""

    station: StationPosition
    every_s: float  # 1: all messages of a real station; else few of them
    caster: Caster = field(init=False)
    line: FaultProxy = field(init=False)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with (
            Caster({"RTCM": self._blocks}) as self.caster,
            FaultProxy("127.0.0.1", self.caster.port) as self.line,
        ):
            yield

    async def _blocks(self) -> AsyncIterator[bytes]:
        """Those of the present station, which may change in the middle of a session."""
        made: dict[int, Iterator[bytes]] = {}
        while True:
            station = self.station
            yield next(made.setdefault(station.station_id, self._of(station)))
            await asyncio.sleep(self.every_s)

    def _of(self, station: StationPosition) -> Iterator[bytes]:
        without = range(1078, 1231) if self.every_s > 1 else ()
        epochs = (
            piece.data
            for piece in coalesce(rtcm(random.Random(1), station=station, without=without))
        )
        return itertools.cycle(itertools.islice(epochs, _EPOCHS))

    def drop(self) -> None:
        """End its sessions, and refuse new ones."""
        self.line.refuse()
        self.line.cut()


class Journal(logging.Handler):
    """The lines of the journal: virtual time of the wall clock, event, text."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(logging.INFO)
        self._now = now
        self.lines: list[tuple[float, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        event = str(getattr(record, "ZTPD_EVENT", ""))
        self.lines.append((self._now(), event, record.getMessage()))

    def count(self, event: str) -> int:
        return sum(found == event for _, found, _ in self.lines)


class Site:
    daemon: Daemon
    receiver: SimReceiver

    def __init__(self, top: Path, *, every_s: float) -> None:
        self.clocks = Clocks()
        self.clocks.off_s = BEGINS_UNIX_S - self.clocks.clock.now()
        self.gateway = Gateway(top, clock=self.clocks.clock)
        self.first = Service(STATION, every_s)
        self.backup = Service(BACKUP_STATION, every_s)
        self.journal = Journal(self.clocks.clock.now)
        self._every_s = every_s
        self._running: AbstractAsyncContextManager[Daemon] | None = None

    @asynccontextmanager
    async def running(self, **tables: Any) -> AsyncIterator[None]:
        """The simulators, and the daemon; ``tables`` are further ones of its configuration."""
        clock = self.clocks.clock
        logger = logging.getLogger("ztpd")
        level = logger.level
        logger.addHandler(self.journal)
        logger.setLevel(logging.INFO)
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self.first.serving())
                await stack.enter_async_context(self.backup.serving())
                self.receiver = await stack.enter_async_context(
                    self.gateway.receiver(wall_clock=lambda: utc(clock.now()))
                )
                self._configure(tables)
                await self.start()
                stack.push_async_callback(self.stop)
                yield
        finally:
            logger.removeHandler(self.journal)
            logger.setLevel(level)

    def _configure(self, tables: dict[str, Any]) -> None:
        receiver = {"port": self.gateway.gnss.path, "baudrate": FAST_LINE}
        if self._every_s > 1:
            receiver["keys"] = {"CFG-RATE-MEAS": int(self._every_s * 2000)}
        plain = {"host": "127.0.0.1", "tls": False, "mountpoint": "RTCM"}
        spare = {**plain, "port": self.backup.line.port, "name": "state network"}
        self.gateway.configure(
            receiver=receiver,
            ntrip={**plain, "port": self.first.line.port},
            backup=[spare],
            **tables,
        )

    async def start(self) -> None:
        self._running = self.gateway.running()
        self.daemon = await self._running.__aenter__()

    async def stop(self) -> None:
        running, self._running = self._running, None
        if running:
            await running.__aexit__(None, None, None)
