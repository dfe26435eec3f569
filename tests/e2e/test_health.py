"""The verdict of the whole daemon: "healthy" only while corrections are used as they could be."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time
from tests.support.services import corrections, services, state
from tests.support.until import until
from ztpd import check, status
from ztpd.check import LinkState
from ztpd.cli.status import render
from ztpd.health import Health, cause, health
from ztpd.sim import corrections as simulated
from ztpd.sim.caster import Caster, Feed
from ztpd.sim.receiver import SimReceiver
from ztpd.status import Status


def word(gateway: Gateway) -> Health:
    return health(status.read(gateway.runtime_dir), is_running=True)


def event(gateway: Gateway) -> str:
    found = cause(status.read(gateway.runtime_dir))
    return found.event if found else ""


def problems(found: list[check.Result]) -> list[tuple[str, str]]:
    return [(each.layer, each.event) for each in found if each.state is LinkState.PROBLEM]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(getattr(each, "ZTPD_EVENT", "")) for each in caplog.records]


async def base_station() -> AsyncIterator[bytes]:
    """A stream that lacks nothing: corrections, the station's position, its biases."""
    pieces = simulated.coalesce(simulated.rtcm(random.Random(1)))
    async for piece in simulated.paced(pieces):
        yield piece.data


@asynccontextmanager
async def private_caster(
    top: Path, feed: Feed = corrections, **caster: Any
) -> AsyncIterator[tuple[Gateway, SimReceiver, Caster]]:
    """A gateway, its receiver and a private caster without TLS; time may be virtual."""
    gateway = Gateway(top)
    async with (
        Caster({"NEAR": feed}, **caster) as server,
        gateway.receiver() as receiver,
    ):
        gateway.configure(
            ntrip={"host": "127.0.0.1", "port": server.port, "mountpoint": "NEAR", "tls": False}
        )
        yield gateway, receiver, server


@in_virtual_time
@pytest.mark.slow
async def test_FR61_an_antenna_pulled_in_operation_is_degraded_with_its_remedy(
    tmp_path: Path,
) -> None:
    async with private_caster(tmp_path) as (gateway, receiver, _), gateway.running():
        await until(lambda: word(gateway) is Health.HEALTHY, within_s=60)
        receiver.faults.no_sky = True
        await until(lambda: word(gateway) is Health.DEGRADED, within_s=90)
        reported = status.read(gateway.runtime_dir)
        found = await gateway.checked(reported)
        receiver.faults.no_sky = False
        await until(lambda: word(gateway) is Health.HEALTHY, within_s=90)

    known = cause(reported)
    assert known
    assert "antenna" in known.advice
    assert known.advice in render(reported, is_running=True)
    assert problems(found) == [("use", known.event)]


@pytest.mark.slow
@in_virtual_time
async def test_FR61_a_float_that_lasts_is_degraded_after_ten_minutes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = asyncio.get_running_loop().time
    async with private_caster(tmp_path, base_station) as (gateway, receiver, _):
        receiver.faults.never_fixed = True
        async with gateway.running():
            await until(lambda: word(gateway) is Health.HEALTHY, within_s=60)
            began_s = now()
            await until(lambda: word(gateway) is Health.DEGRADED, within_s=900)
            degraded_s = now() - began_s
            reported = status.read(gateway.runtime_dir)
            found = await gateway.checked(reported)
            receiver.faults.never_fixed = False
            await until(lambda: word(gateway) is Health.HEALTHY, within_s=60)

    assert 540 < degraded_s < 660
    known = cause(reported)
    assert known
    assert known.text.startswith("no RTK fixed for 10 min: the fix is RTK float")
    assert problems(found) == [("use", "gnss.fix_low")]
    assert logged(caplog).count("gnss.fix_low") == 1


async def test_FR61_credentials_in_memory_only_are_degraded_and_not_provisioned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with services(tmp_path) as (gateway, _, _):
        (gateway.state_dir / "credentials.json.new").mkdir()
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
            await until(lambda: gateway.status["receiver"]["use"] == "used")
            reported = status.read(gateway.runtime_dir)
            found = await gateway.checked(reported)

    assert health(reported, is_running=True) is Health.DEGRADED
    known = cause(reported)
    assert known
    assert known.event == "credentials.unsaved"
    assert "in memory only" in render(reported, is_running=True)
    assert problems(found) == [("credentials", "credentials.unsaved")]
    assert "ztp.provisioned" not in logged(caplog)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the group dialout takes root")
@in_virtual_time
async def test_FR109_a_shared_port_that_cannot_be_made_is_degraded_until_it_can(
    tmp_path: Path,
) -> None:
    async with private_caster(tmp_path) as (gateway, _, _):
        config_file = tmp_path / "ztpd.toml"
        late = tmp_path / "late/gnss"
        config_file.write_text(config_file.read_text() + f'[output]\npty = "{late}"\n')
        async with gateway.running():
            await until(lambda: event(gateway) == "output.failed", within_s=60)
            assert word(gateway) is Health.DEGRADED
            late.parent.mkdir()
            await until(lambda: word(gateway) is Health.HEALTHY, within_s=60)
            assert late.is_symlink()


async def nothing() -> AsyncIterator[bytes]:
    await asyncio.get_running_loop().create_future()
    yield b""


async def sampled(
    gateway: Gateway, *, for_s: float, first: Callable[[], bool]
) -> list[tuple[str, Status]]:
    """The word and the status at random moments, once ``first`` holds."""
    await until(first, within_s=120)
    rng, now = random.Random(5), asyncio.get_running_loop().time
    end_s, found = now() + for_s, []
    while now() < end_s:
        reported = status.read(gateway.runtime_dir)
        found.append((health(reported, is_running=True).value, reported))
        await asyncio.sleep(rng.uniform(0.2, 3.0))
    return found


@in_virtual_time
async def test_FR62_at_any_moment_of_the_retries_the_failure_is_named(tmp_path: Path) -> None:
    async with private_caster(tmp_path) as (gateway, _, server):
        server.streams["NEAR"] = nothing
        async with gateway.running():
            found = await sampled(
                gateway, for_s=300, first=lambda: event(gateway) == "session.stale"
            )
            walked = [await gateway.checked(reported) for _, reported in found[::25]]
            states = {reported.state for _, reported in found}

    assert {"waiting", "connecting"} <= states
    assert {word for word, _ in found} == {"waiting"}
    for _, reported in found:
        known = cause(reported)
        assert known
        assert known.event == "session.stale"
        assert known.advice in render(reported, is_running=True)
    assert {tuple(problems(each)) for each in walked} == {(("data", "session.stale"),)}
    tries = [reported.last_failure.times for _, reported in found if reported.last_failure]
    assert tries == sorted(tries)
    assert tries[-1] > 3
    connecting = next(reported for _, reported in found if reported.state == "connecting")
    assert "trying again (2nd time): the session is open" in render(connecting, is_running=True)


@in_virtual_time
async def test_a_session_that_was_never_open_has_no_age(tmp_path: Path) -> None:
    async with private_caster(tmp_path) as (gateway, _, _):
        gateway.configure(
            ntrip={"host": "127.0.0.1", "port": 1, "mountpoint": "NEAR", "tls": False}
        )
        async with gateway.running():
            found = await sampled(gateway, for_s=100, first=lambda: state(gateway) == "waiting")

    ages_s = {reported.source.session_s for _, reported in found if reported.source}
    assert ages_s == {0.0}


@in_virtual_time
async def test_FR62_a_success_ends_the_failure(tmp_path: Path) -> None:
    async with private_caster(tmp_path) as (gateway, _, server):
        server.streams["NEAR"] = nothing
        async with gateway.running():
            await until(lambda: event(gateway) == "session.stale", within_s=60)
            server.streams["NEAR"] = corrections
            await until(lambda: word(gateway) is Health.HEALTHY, within_s=300)
            assert "last_failure" not in gateway.status


@pytest.mark.slow
async def test_FR62_a_modem_that_is_not_there_is_named_during_every_try(tmp_path: Path) -> None:
    async with services(tmp_path, identity={"timeout_s": 5}) as (gateway, _, _):
        (tmp_path / "modem").unlink()
        async with gateway.running():
            found = await sampled(gateway, for_s=14, first=lambda: event(gateway) == "modem.absent")

    assert {reported.state for _, reported in found} == {"identifying", "waiting"}
    assert {word for word, _ in found} == {"waiting"}
    assert all(
        reported.last_failure and reported.last_failure.event == "modem.absent"
        for _, reported in found
    )


@in_virtual_time
async def test_FR63_a_format_that_the_configuration_excludes_is_named(tmp_path: Path) -> None:
    async with private_caster(tmp_path) as (gateway, _, _):
        path = gateway.top / "ztpd.toml"
        path.write_text(path.read_text() + '[corrections]\nformat = "spartn"\nstale_after_s = 6\n')
        async with gateway.running():
            await until(lambda: event(gateway) == "session.format_excluded", within_s=60)
            reported = status.read(gateway.runtime_dir)
            beside = await gateway.checked(reported)
    assert health(reported, is_running=True) is Health.BLOCKED
    assert "lets only SPARTN through" in reported.reason.text
    assert "[corrections] format" in reported.reason.advice
    assert problems(beside) == [("data", "session.format_excluded")]


@in_virtual_time
async def test_FR63_check_alone_names_it_too(tmp_path: Path) -> None:
    async with private_caster(tmp_path) as (gateway, _, _):
        path = gateway.top / "ztpd.toml"
        path.write_text(path.read_text() + '[corrections]\nformat = "spartn"\nstale_after_s = 6\n')
        found = await gateway.checked()
    assert problems(found)[0] == ("data", "session.format_excluded")


def test_FR69_a_status_that_is_not_renewed_is_not_believed() -> None:
    reported = status.from_json({"at": "2026-11-23T12:00:00+00:00", "state": "streaming"})
    fresh = datetime(2026, 11, 23, 12, 0, 19, tzinfo=UTC)
    old = datetime(2026, 11, 23, 12, 2, 5, tzinfo=UTC)

    assert health(reported, is_running=True, now=fresh) is not Health.UNKNOWN
    assert health(reported, is_running=True, now=old) is Health.UNKNOWN
    screen = render(reported, is_running=True, now=old)
    assert "unknown: the daemon has not renewed its status for 2 min" in screen
    assert "as of 2 min ago" in screen


async def test_FR69_a_waiting_daemon_renews_its_status_too(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        gateway.configure(
            ntrip={"host": "127.0.0.1", "port": port, "mountpoint": "NEAR", "tls": False},
        )
        async with gateway.receiver(), gateway.running():
            await until(lambda: state(gateway) == "waiting")
            written = gateway.status["at"]
            await until(lambda: gateway.status["at"] > written, within_s=15)
