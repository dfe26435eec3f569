"""A cause that changes, and a file that comes late: the real daemon notices both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import virtualtime
from tests.support.gateway import Gateway
from tests.support.services import corrections, reason, services, state
from tests.support.until import until
from ztpd.serialport.port import SerialPort
from ztpd.sim.caster import Caster
from ztpd.sim.receiver.models import F9P, M8P, Model


@asynccontextmanager
async def private_caster(
    top: Path, *, tls: bool = False, model: Model = F9P, **settings: Any
) -> AsyncIterator[tuple[Gateway, Caster]]:
    """A gateway with a receiver and a caster of its own; no provisioning is needed."""
    gateway = Gateway(top)
    context = gateway.authority.server_context() if tls else None
    async with (
        Caster({"BASE": corrections}, tls=context) as caster,
        gateway.receiver(speed=1.0, model=model),
    ):
        own = {"host": "localhost", "port": caster.port, "mountpoint": "BASE", "tls": tls}
        gateway.configure(ntrip=own | settings)
        yield gateway, caster


def test_FR105_the_reason_follows_the_present_cause(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with private_caster(tmp_path) as (gateway, _):
            gateway.gnss.unplug()
            async with gateway.running():
                await until(lambda: reason(gateway) == "serial.absent", within_s=30)
                gateway.gnss.plug()
                other = await SerialPort.open(gateway.gnss.path, 38_400)
                await until(lambda: reason(gateway) == "serial.busy", within_s=60)
                other.close()
                await until(lambda: state(gateway) == "streaming", within_s=120)

    virtualtime.run(scenario())


def test_FR105_waiting_becomes_blocked_when_a_person_is_needed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with private_caster(tmp_path, model=M8P) as (gateway, _):
            gateway.gnss.unplug()
            async with gateway.running():
                await until(lambda: reason(gateway) == "serial.absent", within_s=30)
                assert state(gateway) == "waiting"
                gateway.gnss.plug()
                await until(lambda: state(gateway) == "blocked", within_s=120)
                assert reason(gateway) == "gnss.unsuitable"

    virtualtime.run(scenario())


@pytest.mark.parametrize("setting", ["password_file", "ca_file"])
def test_FR104_a_file_of_the_session_on_a_partition_that_is_mounted_late_is_found(
    tmp_path: Path, setting: str
) -> None:
    async def scenario() -> None:
        late = tmp_path / "mounted" / "file"
        own: dict[str, Any] = {"username": "rover", setting: late}
        bench = private_caster(tmp_path, tls=setting == "ca_file", **own)
        async with bench as (gateway, _), gateway.running():
            await until(lambda: reason(gateway) == "config.file", within_s=60)
            assert str(late) in gateway.status["reason"]["text"]
            await asyncio.sleep(60)
            assert state(gateway) == "blocked"
            late.parent.mkdir()
            late.write_bytes(gateway.ca_file.read_bytes())
            await until(lambda: state(gateway) == "streaming", within_s=65)

    virtualtime.run(scenario())


def test_FR104_an_authority_of_the_provisioning_service_that_comes_late_is_found(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with services(tmp_path, speed=1.0) as (gateway, service, _):
            late = tmp_path / "mounted.pem"
            path = tmp_path / "ztpd.toml"
            path.write_text(path.read_text().replace(str(gateway.ca_file), str(late), 1))
            async with gateway.running():
                await until(lambda: reason(gateway) == "config.file", within_s=60)
                await asyncio.sleep(60)
                assert state(gateway) == "blocked"
                late.write_bytes(gateway.ca_file.read_bytes())
                await until(lambda: state(gateway) == "streaming", within_s=65)
            assert len(service.calls) == 1

    virtualtime.run(scenario())
