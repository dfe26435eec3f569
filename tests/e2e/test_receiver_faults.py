"""Each fault of the receiver that the demonstration has: the daemon names it, and RTK fixed comes
when it is mended. In virtual time; ``test_demo_faults`` runs the demonstration itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time, log_lines
from tests.support.until import until
from ztpd import status
from ztpd.demo.faults import RECEIVER_FAULTS
from ztpd.demo.process import DaemonProcess
from ztpd.demo.site import Site
from ztpd.health import Health, causes, health
from ztpd.sim import corrections
from ztpd.sim.caster import Caster
from ztpd.sim.proxy import FaultProxy
from ztpd.sim.ztp_service import ZtpService
from ztpd.wire.rtcm import StationPosition

NAMED = {
    "receiver-reset": "gnss.reset",
    "receiver-unplugged": "serial.lost",
    "receiver-deaf": "gnss.deaf",
    "receiver-mute": "gnss.silent",
    "line-noise": "gnss.not_used.damaged",
    "no-configuration": "gnss.unconfigurable",
    "settings-locked": "gnss.not_set",
    "old-firmware": "gnss.used",
    "generation-8": "gnss.unsuitable",
    "l-band-receiver": "gnss.unsuitable",
    "timing-receiver": "gnss.fix_without_rtk",
    "other-source": "gnss.not_used.other_source",
    "same-station": "gnss.not_used.other_source",
    "station-filter": "gnss.not_used.station_filter",
    "ignored": "session.service_changed",
    "galileo-has": "gnss.changed",
    "time-mode": "gnss.changed",
    "no-antenna": "gnss.reception.antenna_open",
    "antenna-short": "gnss.reception.antenna_short",
    "weak-signal": "gnss.reception.weak",
    "jammed": "gnss.reception.jammed",
    "spoofed": "gnss.reception.spoofed",
    "tunnel": "gnss.fix",
}


def test_each_fault_of_the_receiver_is_tried() -> None:
    assert NAMED.keys() == RECEIVER_FAULTS.keys()


@pytest.mark.parametrize("name", RECEIVER_FAULTS)
@pytest.mark.slow
def test_a_fault_of_the_receiver_is_named_and_mended(tmp_path: Path, name: str) -> None:
    fault = RECEIVER_FAULTS[name]

    async def blocks(station: StationPosition = corrections.STATION) -> AsyncIterator[bytes]:
        rng = random.Random(1)
        rtcm = corrections.rtcm(rng, station=station)
        made = rtcm if fault.format == "rtcm" else corrections.spartn(rng)
        async for piece in corrections.paced(corrections.coalesce(made)):
            await asyncio.sleep(rng.uniform(0, 0.5))  # the delay of a mobile network
            yield piece.data

    @in_virtual_time
    async def run() -> None:
        gateway = Gateway(tmp_path)
        async with (
            Caster({"NEAR": blocks}) as caster,
            Caster({"BACKUP": lambda: blocks(corrections.BACKUP_STATION)}) as second,
            gateway.receiver(model=fault.model) as sim,
        ):
            ntrip = {"host": "127.0.0.1", "port": caster.port, "mountpoint": "NEAR", "tls": False}
            spare = {**ntrip, "port": second.port, "mountpoint": "BACKUP"}
            gateway.configure(
                ntrip=ntrip,
                backup=[spare] if fault.backup else [],
                receiver={"port": gateway.gnss.path},
            )
            tasks: list[asyncio.Task[None]] = []
            printed: list[str] = []

            def spawn(coroutine: Coroutine[Any, Any, None]) -> None:
                tasks.append(asyncio.create_task(coroutine))

            def fixed() -> bool:
                view = status.read(gateway.runtime_dir).receiver
                return all(task.done() for task in tasks) and view.fix == "RTK fixed"

            site = Site(
                proxy=FaultProxy("127.0.0.1", caster.port),
                service=ZtpService(gateway.authority),
                receiver=sim,
                gnss=gateway.gnss,
                daemon=DaemonProcess(tmp_path),
                silence=asyncio.Event(),
                causes=lambda: causes(status.read(gateway.runtime_dir)),
                restart_source=lambda: None,
                tell=lambda _, text: printed.append(text),
                spawn=spawn,
            )
            fault.early(site)
            with log_lines() as log:
                async with gateway.running():
                    await until(fixed, fault.within_s)
                    if fault.late:
                        fault.late(site)
                        await until(lambda: logged(log, NAMED[name]), 250)
                        await until(fixed, fault.within_s)
                    await until(lambda: word(gateway) is Health.HEALTHY, 180)
            named = [text for text in printed if text.startswith("ztpd has named it")]
            assert named or logged(log, NAMED[name])

    run()


def word(gateway: Gateway) -> Health:
    return health(status.read(gateway.runtime_dir), is_running=True)


def logged(log: list[str], event: str) -> list[str]:
    return [line for line in log if line.startswith(event + " ")]
