"""The whole daemon: the status names why a caster's session brings no corrections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.until import until
from ztpd.sim.caster import Caster
from ztpd.wire.frames import rtcm_frame


async def frames() -> AsyncIterator[bytes]:
    while True:
        yield rtcm_frame(bytes([1077 >> 4, (1077 & 15) << 4]) + bytes(60))
        await asyncio.sleep(0.1)


@asynccontextmanager
async def private_caster(
    tmp_path: Path, fault: str, **ntrip: Any
) -> AsyncIterator[tuple[Gateway, Caster]]:
    """A gateway without ZTP, whose daemon runs beside a caster of that fault."""
    gateway = Gateway(tmp_path)
    tls = gateway.authority.server_context()
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    async with Caster({"NEAR": frames}, tls=tls, fault=fault) as caster, gateway.receiver():
        account = {"username": "me", "password_file": tmp_path / "password"}
        where = {"host": "localhost", "port": caster.port, "mountpoint": "NEAR"}
        gateway.configure(ntrip=where | account | {"ca_file": gateway.ca_file} | ntrip)
        async with gateway.running():
            yield gateway, caster


def reason(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = gateway.status.get("reason", {})
    return found


@pytest.mark.parametrize(
    ("fault", "event", "words"),
    [
        pytest.param("empty", "session.empty", "before any corrections came", id="FR26-empty"),
        pytest.param("outside", "session.empty", "No station within 50 km", id="FR26-words"),
        pytest.param("unauthorized", "ntrip.account_refused", "401", id="FR31-account"),
        pytest.param("digest", "ntrip.authentication", "Digest", id="FR31-digest"),
        pytest.param("redirect", "ntrip.redirect", "http://other.example:2101", id="FR31-redirect"),
        pytest.param("sourcetable", "ntrip.table_instead", "NEAR", id="FR29-table"),
        pytest.param("no-table", "ntrip.mountpoint", "NO SOURCETABLE AVAILABLE", id="FR30"),
    ],
)
@pytest.mark.slow
async def test_FR26_FR29_FR30_FR31_the_status_names_the_cause(
    fault: str, event: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with private_caster(tmp_path, fault) as (gateway, _):
        await until(lambda: reason(gateway).get("event") == event, within_s=40)
        assert words in reason(gateway)["text"]
        assert "portal" not in reason(gateway)["advice"]
    assert "session.kicked" not in caplog.text
    assert "cloned" not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["version-1-400", "version-1-reset"])
async def test_FR31_a_caster_of_ntrip_1_serves_a_daemon_with_version_auto(
    fault: str, tmp_path: Path
) -> None:
    async with private_caster(tmp_path, fault) as (gateway, _):
        await until(lambda: gateway.status.get("state") == "streaming", within_s=40)


@pytest.mark.slow
async def test_FR27_the_status_names_a_mountpoint_of_another_format(tmp_path: Path) -> None:
    async with private_caster(tmp_path, "cmr") as (gateway, _):
        await until(lambda: reason(gateway).get("event") == "session.unreadable", within_s=60)
        assert "none of them SPARTN or RTCM 3, but CMR" in reason(gateway)["text"]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_FR23_half_a_minute_of_refusals_after_good_service_is_bridged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = asyncio.get_running_loop().time
    async with private_caster(tmp_path, "") as (gateway, caster):
        await until(lambda: gateway.status.get("state") == "streaming", within_s=40)
        await asyncio.sleep(65)
        caster.fault = "unauthorized"
        caster.end_sessions()
        await asyncio.sleep(25)
        assert gateway.status["state"] != "blocked"
        caster.fault, well_s = "", now()
        sessions = caster.sessions
        await until(lambda: caster.sessions > sessions, within_s=60)
        assert now() - well_s < 25
        await until(lambda: gateway.status.get("state") == "streaming")


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_FR113_the_daemon_waits_for_a_receiver_that_is_unplugged_without_using_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gateway = Gateway(tmp_path)
    tls = gateway.authority.server_context()
    async with Caster({"NEAR": frames}, tls=tls) as caster:
        where = {"host": "localhost", "port": caster.port, "mountpoint": "NEAR"}
        gateway.configure(ntrip=where | {"ca_file": gateway.ca_file})
        async with gateway.receiver():
            running = gateway.running()
            await running.__aenter__()
            await until(lambda: gateway.status.get("state") == "streaming", within_s=40)
        try:
            await until(lambda: gateway.status["state"] in ("waiting", "blocked"), within_s=20)
            assert reason(gateway)["event"].startswith("serial.")
            await until(lambda: caster.alive == 0, within_s=80)
            assert "the receiver is away" in caplog.text
            await asyncio.sleep(5)
            assert caster.sessions == 1
            async with gateway.receiver():
                await until(lambda: gateway.status["state"] == "streaming", within_s=40)
        finally:
            await running.__aexit__(None, None, None)
