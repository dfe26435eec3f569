"""The whole daemon beside a simulated receiver, whose verdict is asked for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway
from tests.support.receiver_bench import log_lines, rtcm, spartn
from ztpd import status
from ztpd.health import Health, health
from ztpd.health import cause as cause_of
from ztpd.model import StoredCredentials
from ztpd.provisioning.store import CredentialStore
from ztpd.sim import corrections as simulated
from ztpd.sim.authority import Authority
from ztpd.sim.caster import Caster
from ztpd.sim.receiver import F9P, Model, SimReceiver
from ztpd.wire.frames import rtcm_frame

Frames = Callable[[], AsyncIterator[bytes]]
Stored = Callable[[Authority, int], StoredCredentials]
OURS = 5  # the reference station of the caster's RTCM
EPOCH = rtcm(OURS).data + rtcm_frame(simulated.STATION._replace(station_id=OURS).encode())
"""Observations, and the position of the station near the receiver."""


async def rtcm_frames() -> AsyncIterator[bytes]:
    while True:
        yield EPOCH
        await asyncio.sleep(1)


async def delayed_frames() -> AsyncIterator[bytes]:
    """As over a mobile network: an epoch a second, each with a delay of its own."""
    rng = random.Random(3)
    while True:
        delay_s = rng.uniform(0, 0.8)
        await asyncio.sleep(delay_s)
        yield EPOCH
        await asyncio.sleep(1 - delay_s)


async def base_station_frames() -> AsyncIterator[bytes]:
    """Of all systems, and any bytes in them: a parser for another format finds false frames."""
    pieces = simulated.coalesce(simulated.rtcm(random.Random(1)))
    async for piece in simulated.paced(pieces):
        yield piece.data


async def spartn_frames() -> AsyncIterator[bytes]:
    tag = 0
    while True:
        tag += 5
        yield spartn(tag).data
        await asyncio.sleep(1)


class Running:
    """A gateway under test, with its receiver and its journal."""

    def __init__(self, gateway: Gateway, sim: SimReceiver, log: list[str]) -> None:
        self.gateway, self.sim, self.log = gateway, sim, log

    @property
    def view(self) -> status.ReceiverView:
        return self.read().receiver

    def read(self) -> status.Status:
        return status.read(self.gateway.runtime_dir)

    @property
    def health(self) -> Health:
        return health(self.read(), is_running=True)

    @property
    def cause(self) -> status.Cause:
        return cause_of(self.read()) or status.Cause()

    def logged(self, event: str) -> list[str]:
        return [line for line in self.log if line.startswith(event + " ")]


@asynccontextmanager
async def running(
    tmp_path: Path,
    model: Model = F9P,
    *,
    frames: Frames = rtcm_frames,
    before: Callable[[SimReceiver], None] = lambda _: None,
    receiver: dict[str, Any] | None = None,
    corrections: dict[str, Any] | None = None,
    ztp: dict[str, Any] | None = None,
    stored: Stored | None = None,
    **options: Any,
) -> AsyncIterator[Running]:
    """``before`` changes the receiver before ztpd sees it. ``stored`` makes credentials for the
    caster at a port; without, the caster is a private one."""
    gateway = Gateway(tmp_path)
    tls = gateway.authority.server_context()
    async with (
        Caster({"NEAR": frames, "NEAR-SPARTN": frames}, tls=tls) as caster,
        gateway.receiver(model=model, **options) as sim,
    ):
        before(sim)
        ntrip: dict[str, Any] = {"ca_file": gateway.ca_file}
        if stored:
            CredentialStore(gateway.state_dir).save(stored(gateway.authority, caster.port))
        else:
            ntrip |= {"host": "localhost", "port": caster.port, "mountpoint": "NEAR"}
        gateway.configure(
            ntrip=ntrip,
            corrections=corrections or {},
            ztp=ztp or {},
            receiver={"port": gateway.gnss.path} | (receiver or {}),
        )
        with log_lines() as log:
            async with gateway.running():
                yield Running(gateway, sim, log)
