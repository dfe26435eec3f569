"""A gateway on which days of virtual time take little: few positions, few corrections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.gateway import FAST_LINE, Gateway
from tests.support.until import until
from ztpd.sim.caster import Caster
from ztpd.system.clock import Clock
from ztpd.wire.frames import rtcm_frame

FRAME = rtcm_frame(bytes([1077 >> 4, (1077 & 15) << 4, 0, 0]) + bytes(600))
FRAME_EVERY_S = 5.0


async def rare_corrections() -> AsyncIterator[bytes]:
    while True:
        yield FRAME
        await asyncio.sleep(FRAME_EVERY_S)


def rover(
    top: Path, caster: Caster, clock: Clock, *, position_every_s: int = 10, **tables: dict[str, Any]
) -> Gateway:
    """Its one service is the caster's mountpoint MP, without TLS and provisioning."""
    gateway = Gateway(top, clock=clock)
    rate = {"CFG-RATE-MEAS": position_every_s * 1000}
    gateway.configure(
        receiver={"port": gateway.gnss.path, "baudrate": FAST_LINE, "keys": rate},
        ntrip={"host": "127.0.0.1", "port": caster.port, "mountpoint": "MP", "tls": False},
        **tables,
    )
    return gateway


async def streams(gateway: Gateway, within_s: float = 60.0) -> float:
    """Seconds until corrections flow."""
    return await until(lambda: gateway.status.get("state") == "streaming", within_s)
