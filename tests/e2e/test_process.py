"""The modules that the daemon of a provisioned gateway loads."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import process
from tests.support.gateway import Gateway
from tests.support.until import until


async def test_P3_a_provisioned_daemon_streams_without_an_http_client(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    async with process.source(gateway.authority, fast=5.0) as caster:
        process.store_credentials(gateway, caster.port)
        gateway.configure(ztp=process.LOCAL_SERVICE, ntrip={"ca_file": gateway.ca_file})
        async with gateway.receiver(), process.daemon(gateway, trace_imports=True) as daemon:
            await until(lambda: gateway.status.get("state") == "streaming")

    assert "ztpd.sources.ntrip" in daemon.imports
    assert not {"aiohttp", "paho"} & daemon.imports


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, as /run is: waiting for a disk counts as going to sleep."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_without_receiver_it_wakes_up_once_in_two_seconds_at_most(memory: Path) -> None:
    gateway = Gateway(memory)
    async with process.source(gateway.authority) as caster:
        process.store_credentials(gateway, caster.port)
        gateway.configure(ztp=process.LOCAL_SERVICE, ntrip={"ca_file": gateway.ca_file})
        async with process.daemon(gateway) as daemon:
            await asyncio.sleep(10)
            assert await daemon.wake_ups_per_s(100) <= 0.5
