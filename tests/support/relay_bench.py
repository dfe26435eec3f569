"""A relay in virtual time, with sources and a receiver that play scripts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.virtualtime import run
from ztpd.errors import (
    FormatUnsupported,
    SessionClosed,
    ZtpdError,
)
from ztpd.lifecycle import Event
from ztpd.model import (
    Carrier,
    Fix,
    Frame,
    FrameKind,
    MqttEndpoint,
    NtripEndpoint,
    ServiceUse,
    SourceEndpoint,
)
from ztpd.relay import Relay
from ztpd.wire.frames import Counts
from ztpd.wire.ubx import MonVer

NTRIP = NtripEndpoint(host="caster.example", port=2102, mountpoint="NEAR")
MQTT = MqttEndpoint(host="broker.example")
BACKUP = NtripEndpoint(host="b.example", port=2101, mountpoint="VRS", name="backup", backup=True)
SPARE = NtripEndpoint(host="s.example", port=2101, mountpoint="SPARE", name="spare", backup=True)
FLEX = MqttEndpoint(host="pp.services.u-blox.com")
HOUR_S = 3600
SPARTN = Frame(FrameKind.SPARTN, b"s" * 100, "OCB-GPS")
RTCM = Frame(FrameKind.RTCM3, b"r" * 100, "1077")
KEY = Frame(FrameKind.UBX, b"k" * 60, "RXM-SPARTNKEY")
FIX = Fix(
    ok=True,
    lat_deg=47.3,
    lon_deg=8.6,
    height_m=500,
    geoid_m=48,
    accuracy_m=1.2,
    satellites=20,
    carrier=Carrier.NONE,
    differential=False,
    correction_age_s=None,
    utc=datetime(2026, 11, 23, tzinfo=UTC),
)


@dataclass
class Script:
    """The script of one session: its frames, its end, or its refusal."""

    frames: Sequence[tuple[float, Frame]] = ()
    ends: ZtpdError | None = None  # None: silent without end
    refuses: ZtpdError | None = None
    closing_s: float = 0.0


def steady(lasts_s: float, frame: Frame = SPARTN, ends: ZtpdError | None = None) -> Script:
    return Script([(1.0, frame)] * int(lasts_s), ends or SessionClosed("the peer"))


class Session:
    def __init__(self, where: str, script: Script) -> None:
        self.where, self._script = where, script
        self.counts, self.sample = Counts(), b""
        self.ip_bytes = None
        self._frames = iter(script.frames)

    def __aiter__(self) -> Session:
        return self

    async def __anext__(self) -> Frame:
        for delay_s, frame in self._frames:
            await asyncio.sleep(delay_s)
            return frame
        if self._script.ends:
            raise self._script.ends
        await asyncio.sleep(1e9)
        raise AssertionError


@dataclass
class Receiver:
    ready: bool = True
    error: ZtpdError | None = None
    version: MonVer = field(default_factory=lambda: MonVer("", ""))
    accepts: frozenset[FrameKind] = frozenset(FrameKind)
    fix: Fix | None = None
    dropped: int = 0
    service_use: ServiceUse = field(default_factory=ServiceUse)
    services: int = 1  # that it was told of
    got: list[Frame] = field(default_factory=list)

    async def wait_ready(self) -> None:
        while not self.ready:
            await asyncio.sleep(1)

    def service_changed(self) -> None:
        self.services += 1

    def refusal(self, kind: FrameKind) -> ZtpdError:
        return FormatUnsupported(kind.value)

    def deliver(self, frame: Frame) -> None:
        self.got.append(frame)


@dataclass
class Service:
    """Plays one script per session and service, a backup's by its name; the last one repeats."""

    scripts: dict[str, list[Script]]
    opened: list[tuple[float, str]] = field(default_factory=list)
    open_now: Counter[str] = field(default_factory=Counter)
    most_at_once: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def open(self, endpoint: SourceEndpoint) -> AsyncIterator[Session]:
        service = endpoint.name if endpoint.kind == "ntrip" and endpoint.backup else endpoint.kind
        queue = self.scripts[service]
        script = queue.pop(0) if len(queue) > 1 else queue[0]
        self.opened.append((asyncio.get_running_loop().time(), service))
        if script.refuses:
            raise script.refuses
        for name in (service, "all"):
            self.open_now[name] += 1
            self.most_at_once[name] = max(self.most_at_once[name], self.open_now[name])
        try:
            yield Session(f"{endpoint.kind}://{endpoint.host}", script)
            if script.closing_s:
                await asyncio.sleep(script.closing_s)
        finally:
            self.open_now[service] -= 1
            self.open_now["all"] -= 1

    def opened_as(self, kind: str) -> list[float]:
        return [at_s for at_s, opened in self.opened if opened == kind]


@dataclass
class DispatchLog:
    entries: list[tuple[Event, str]] = field(default_factory=list)

    def __call__(
        self,
        event: Event,
        why: str = "",
        *,
        error: ZtpdError | None = None,
        wait_s: float | None = None,
    ) -> None:
        self.entries.append((event, error.code if error else why))

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.entries]


class RelayBench:
    def __init__(self, **scripts: Sequence[Script]) -> None:
        self.service = Service({name: list(each) for name, each in scripts.items()})
        self.receiver, self.reports = Receiver(), DispatchLog()

    def relay(self, *endpoints: SourceEndpoint, may_refresh: bool = False, **given: Any) -> Relay:
        return Relay(
            endpoints,
            self.receiver,
            open_session=self.service.open,
            dispatch=self.reports,
            may_refresh=lambda: may_refresh,
            rng=random.Random(1),
            **given,
        )

    def runs(self, for_s: float, *endpoints: SourceEndpoint, **given: Any) -> Relay:
        relay = self.relay(*endpoints, **given)

        async def scenario() -> None:
            async with asyncio.timeout(for_s):
                await relay.run()

        with pytest.raises(TimeoutError):
            run(scenario())
        return relay
