"""The modules that the daemon of a provisioned gateway loads, and how often it wakes up."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import process
from tests.support import TOP
from tests.support.gateway import Gateway
from tests.support.until import until
from ztpd.sim import corrections
from ztpd.sim.broker import Broker
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

OTHER_PROGRAMS = {"check", "cli", "demo", "report", "sim", "unit", "__main__"}
"""Rooms that are not the daemon's."""

PROVISIONING = {
    "ztpd.modem",
    "ztpd.modem.at",
    "ztpd.modem.identity",
    "ztpd.modem.modemmanager",
    "ztpd.modem.usb",
    "ztpd.provisioning.call",
    "ztpd.provisioning.http",
    "ztpd.wire.at",
    "ztpd.wire.x509",
}
REQUESTS = {"ztpd.daemon.requests", "ztpd.history.transfer"}
RARE = {"ztpd.net.routes", "ztpd.wire.varlink"}  # no route to a service; sealed credentials
RECORDING = {"ztpd.daemon.record_buffer", "ztpd.wire.recording", "ztpd.wire.redaction"}
ADVICE = {"ztpd.wire.ubxkeys"}  # names of settings, for `ztpd receiver show`
UNUSED = PROVISIONING | REQUESTS | RARE | ADVICE | RECORDING
NTRIP = {
    "ztpd.net.streams",
    "ztpd.sources.ntrip",
    "ztpd.wire.ntrip",
    "ztpd.wire.ntrip_refusal",
    "ztpd.wire.ntrip_text",
    "ztpd.wire.sourcetable",
}
MQTT = {
    "ztpd.sources.mqtt",
    "ztpd.sources.mqtt_client",
    "ztpd.sources.mqtt_codes",
    "ztpd.sources.mqtt_inbox",
    "ztpd.sources.mqtt_socket",
}
LIBRARIES = {"aiohttp", "dbus_fast", "paho", "serial", "tenacity"}
HEAVY = {"difflib", "email", "http", "multiprocessing", "sqlite3", "unittest", "xml"}
"""Parts of the standard library that cost more than they would be worth here."""


def daemon_modules() -> set[str]:
    """All modules of ztpd that a daemon may need."""
    files = [file.relative_to(TOP).with_suffix("") for file in (TOP / "ztpd").rglob("*.py")]
    own = [".".join(file.parts) for file in files if file.parts[1] not in OTHER_PROGRAMS]
    return {name.removesuffix(".__init__") for name in own}


def left_out(imports: set[str]) -> set[str]:
    return daemon_modules() - imports


async def publish(broker: Broker) -> None:
    for piece in corrections.spartn(random.Random(1)):
        await broker.publish("/pp/ip/eu", piece.data)
        await asyncio.sleep(0.1)


async def streaming_imports(gateway: Gateway) -> set[str]:
    async with gateway.receiver(), process.daemon(gateway, trace_imports=True) as daemon:
        await until(lambda: gateway.status.get("state") == "streaming")
    return daemon.imports


async def test_P3_provisioned_with_ntrip_it_loads_neither_mqtt_nor_an_http_client(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    async with process.source(gateway.authority, fast=5.0) as caster:
        process.store_credentials(gateway, caster.port)
        gateway.configure(ztp=process.LOCAL_SERVICE, ntrip={"ca_file": gateway.ca_file})
        imports = await streaming_imports(gateway)

    assert left_out(imports) == UNUSED | MQTT
    assert imports & LIBRARIES == {"serial"}
    assert not imports & HEAVY


async def test_P3_provisioned_with_mqtt_it_loads_neither_ntrip_nor_an_http_client(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    async with Broker(gateway.authority) as broker:
        process.store_credentials(gateway, 0, "mqtt")
        gateway.configure(
            ztp=process.LOCAL_SERVICE,
            mqtt={"port": broker.port, "ca_file": gateway.ca_file, "topics": ["/pp/ip/eu"]},
        )
        publishing = asyncio.create_task(publish(broker))
        imports = await streaming_imports(gateway)
        publishing.cancel()

    assert left_out(imports) == UNUSED | NTRIP
    assert imports & LIBRARIES == {"paho", "serial"}
    assert not imports & HEAVY


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


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_sessions_that_have_ended_leave_no_memory_behind(memory: Path) -> None:
    gateway = Gateway(memory)
    async with process.streaming(gateway) as (daemon, caster, line, _):

        async def peak_kib(sessions: int) -> int:
            """It falls and rises by 0.9 MiB with what the allocator gives back."""
            found = []
            for _ in range(sessions):
                before = caster.sessions
                line.reset()
                await asyncio.sleep(0.5)  # it notices
                while caster.sessions == before:
                    await offload(lambda: control.ask(gateway.runtime_dir, {"do": Verb.RETRY}))
                    await asyncio.sleep(0.5)
                found.append(daemon.memory_kib("Rss"))
            return max(found)

        before_kib = await peak_kib(30)
        assert await peak_kib(40) - before_kib < 1024
