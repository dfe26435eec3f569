"""Credentials that end while their own service is out, in the whole daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.clocks import Clocks
from tests.support.gateway import FAST_LINE, Gateway
from tests.support.receiver_bench import in_virtual_time
from tests.support.rover import rare_corrections, streams
from tests.support.services import kept, reissue, services
from tests.support.until import until
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.caster import Caster
from ztpd.sim.portal import Profile
from ztpd.sim.ztp_service import ZtpService

HOUR_S, DAY_S = 3600.0, 86_400.0


@asynccontextmanager
async def site(
    memory_path: Path, clocks: Clocks, **tables: Any
) -> AsyncIterator[tuple[Gateway, ZtpService, Caster]]:
    """A gateway that streams by what it was given, which ends in 100 days; it has stopped."""
    receiver = {
        "port": memory_path / "gnss",
        "baudrate": FAST_LINE,
        "keys": {"CFG-RATE-MEAS": 60_000},  # an hour of positions takes time
    }
    async with Caster({"SPARE": rare_corrections}) as backup:
        spare = {"host": "127.0.0.1", "port": backup.port, "tls": False, "mountpoint": "SPARE"}
        async with services(
            memory_path,
            profile=Profile(protocol="both"),
            speed=1.0,
            receiver=receiver,
            **{"backup": [spare | {"name": "spare"}]} | tables,
        ) as (gateway, service, first):
            gateway.clock = clocks.clock
            async with gateway.running():
                await streams(gateway)
            CredentialStore(gateway.state_dir).save(
                kept(gateway)._replace(expires_unix_s=int(clocks.clock.now() + 100 * DAY_S))
            )
            reissue(gateway, service)
            yield gateway, service, first


def is_on_backup(gateway: Gateway) -> bool:
    return any(
        each["backup"] and each["state"] == "in use" for each in gateway.status.get("channels", [])
    )


@pytest.mark.parametrize("began", ["with the first service", "with the backup"])
@in_virtual_time
async def test_credentials_that_end_while_a_backup_streams_are_renewed_beside_it(
    memory_path: Path, began: str
) -> None:
    clocks = Clocks()
    async with site(memory_path, clocks) as (gateway, service, first):
        before = kept(gateway)
        if began == "with the backup":
            first.fault = "unavailable"
        async with gateway.running():
            await streams(gateway)
            first.fault = "unavailable"
            first.end_sessions()
            await until(lambda: is_on_backup(gateway), 600)
            clocks.suspend(95 * DAY_S)
            await until(lambda: len(service.calls) == 2, 3 * HOUR_S)
            await until(lambda: kept(gateway) != before, 60)
            await until(lambda: is_on_backup(gateway), 600)
            clocks.suspend(60 * DAY_S)
            first.fault = ""
            await until(lambda: first.alive, 2 * HOUR_S)
            await until(lambda: not is_on_backup(gateway), 2 * HOUR_S)
        assert len(service.calls) == 2, "the new ones are accepted after the old ones' end"


@in_virtual_time
async def test_credentials_whose_service_is_out_since_the_start_are_renewed_without_a_backup(
    memory_path: Path,
) -> None:
    clocks = Clocks()
    async with site(memory_path, clocks, backup=[]) as (gateway, service, first):
        before = kept(gateway)
        first.fault = "unavailable"
        clocks.suspend(95 * DAY_S)
        async with gateway.running():
            await until(lambda: len(service.calls) == 2, 3 * HOUR_S)
            await until(lambda: kept(gateway) != before, 60)
            clocks.suspend(60 * DAY_S)
            first.fault = ""
            await streams(gateway, 2 * HOUR_S)
        assert len(service.calls) == 2
