"""The last good position opens the next session too, when the fix is lost and the line with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time
from tests.support.until import until
from ztpd.sim.caster import Caster
from ztpd.sim.proxy import FaultProxy
from ztpd.wire.frames import rtcm_frame


async def frames() -> AsyncIterator[bytes]:
    while True:
        yield rtcm_frame(bytes([1077 >> 4, (1077 & 15) << 4]) + bytes(60))
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_R12_a_gateway_without_sky_is_let_in_again_by_its_last_position(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    tls = gateway.authority.server_context()
    async with (
        Caster({"NEAR": frames}, tls=tls, needs_gga=True, fault="gga-first") as caster,
        FaultProxy(caster.host, caster.port) as proxy,
        gateway.receiver() as receiver,
    ):
        ntrip = {"host": "localhost", "port": proxy.port, "mountpoint": "NEAR"}
        gateway.configure(ntrip=ntrip | {"ca_file": gateway.ca_file})
        async with gateway.running():
            await until(lambda: gateway.status.get("state") == "streaming", within_s=40)
            assert len([gga for gga in caster.ggas if gga.in_request]) == 1
            receiver.faults.no_sky = True
            await until(lambda: gateway.status["receiver"]["fix"] == "no fix")
            proxy.cut()
            await until(lambda: caster.sessions == 2)

    last = [gga for gga in caster.ggas if gga.in_request][-1]
    assert last.sentence.split(",")[6] == "1", "as a plain GNSS position, with its age"
    assert float(last.sentence.split(",")[13]) > 0


@in_virtual_time
async def test_FR72_after_a_restart_corrections_flow_within_1_5_s_of_the_known_fix(
    tmp_path: Path,
) -> None:
    """With a caster that sends nothing before it has a position."""
    now = asyncio.get_running_loop().time
    gateway = Gateway(tmp_path)
    async with (
        Caster({"NEAR": frames}, needs_gga=True) as caster,
        gateway.receiver() as receiver,
    ):
        gateway.configure(
            ntrip={"host": "127.0.0.1", "port": caster.port, "mountpoint": "NEAR", "tls": False}
        )

        def fix() -> str:
            return str(gateway.status.get("receiver", {}).get("fix"))

        async with gateway.running():
            await until(lambda: fix() == "RTK fixed", within_s=60)
        for _ in range(3):
            (gateway.runtime_dir / "status.json").unlink()
            receiver.received.clear()
            async with gateway.running():
                await until(lambda: fix() not in ("None", "unknown"), within_s=20)
                known_s = now()
                await until(receiver.corrections, within_s=20)
                assert now() - known_s <= 1.5
            await asyncio.sleep(0.3)
