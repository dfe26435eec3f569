"""A failed background task of the daemon has a line in the journal, and corrections flow again."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support import virtualtime
from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time
from tests.support.services import services, state
from tests.support.tasks import is_at_work, make_fail
from tests.support.until import until
from ztpd import events
from ztpd.daemon.daemon import Daemon
from ztpd.daemon.tasks import RESTART_S, Task, Tasks
from ztpd.lifecycle import Activity, Event
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.ztp_service import Silence, ZtpService


def died(caplog: pytest.LogCaptureFixture, name: str) -> bool:
    return any(
        (getattr(record, "ZTPD_EVENT", ""), getattr(record, "ZTPD_TASK", ""))
        == (events.TASK_DIED.name, name)
        and record.levelno == logging.ERROR
        for record in caplog.records
    )


@asynccontextmanager
async def streaming(top: Path) -> AsyncIterator[tuple[Gateway, ZtpService, Daemon]]:
    """A gateway that streams, with credentials that the disk has refused so far."""
    async with services(top) as (gateway, service, _):
        in_the_way = gateway.state_dir / "credentials.json.new"
        in_the_way.mkdir()
        async with gateway.running() as daemon:
            await until(lambda: state(gateway) == "streaming", within_s=60)
            yield gateway, service, daemon


ELSEWHERE = {Task.ACTIVITY, Task.RELOAD, Task.TRAFFIC}
"""Tasks with a test of their own: each activity, and a reload during a call; and one that ends at
once, when it has read its file."""


@pytest.mark.parametrize(
    "name", [*(each.value for each in Task if each not in ELSEWHERE), Activity.RELAY.value]
)
def test_FR108_a_task_that_fails_is_named_in_the_journal_and_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    async def scenario() -> None:
        async with streaming(tmp_path) as (gateway, _, _):
            await until(lambda: is_at_work(name))
            make_fail(name)
            await until(lambda: died(caplog, name))
            await asyncio.sleep(RESTART_S + 1)
            await until(lambda: state(gateway) == "streaming", within_s=60)
            assert is_at_work(name)
            assert gateway.status["receiver"]["ready"]
            delivered = gateway.status["receiver"]["delivered_frames"]
            await until(
                lambda: gateway.status["receiver"]["delivered_frames"] > delivered, within_s=60
            )

    virtualtime.run(scenario())


def test_an_activity_that_fails_is_a_wait_in_the_status_until_it_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with streaming(tmp_path) as (gateway, _, _):
            make_fail(Activity.RELAY.value)
            await until(lambda: died(caplog, "relay"))
            assert state(gateway) == "waiting"
            assert gateway.status["reason"]["event"] == "internal"
            assert "relay" in gateway.status["reason"]["text"]

    virtualtime.run(scenario())


def without_a_token(gateway: Gateway, _: ZtpService) -> None:
    gateway.token_file.rename(gateway.top / "token.away")


def with_an_unsafe_directory(gateway: Gateway, _: ZtpService) -> None:
    gateway.state_dir.chmod(0o755)


@pytest.mark.parametrize(
    ("activity", "hindrance"),
    [(Activity.LOAD, with_an_unsafe_directory), (Activity.PROVISION, without_a_token)],
)
def test_FR108_an_activity_before_the_first_session_that_fails_begins_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    activity: Activity,
    hindrance: Callable[[Gateway, ZtpService], None],
) -> None:
    async def scenario() -> None:
        async with services(tmp_path) as (gateway, service, _):
            hindrance(gateway, service)
            async with gateway.running():
                await until(lambda: state(gateway) == "blocked", within_s=60)
                make_fail(activity.value)
                await until(lambda: died(caplog, activity.value))
                gateway.state_dir.chmod(0o700)
                if (away := gateway.top / "token.away").exists():
                    away.rename(gateway.token_file)
                await until(lambda: state(gateway) == "streaming", within_s=120)

    virtualtime.run(scenario())


def test_FR108_a_refresh_that_fails_leaves_the_old_credentials_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with streaming(tmp_path) as (gateway, service, daemon):
            service.script.append(Silence())
            daemon.dispatch(Event.REPLACE)
            await until(lambda: service.requests == 2)
            make_fail(Activity.REFRESH.value)
            await until(lambda: died(caplog, "refresh"))
            await until(lambda: state(gateway) == "streaming", within_s=60)

    virtualtime.run(scenario())


def test_FR108_a_reload_that_fails_is_made_after_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with services(tmp_path, script=(Silence(),)) as (gateway, service, _):
            async with gateway.running():
                await until(lambda: service.requests == 1, within_s=60)
                path = tmp_path / "ztpd.toml"
                path.write_text(path.read_text().replace("[ztp]", '[ztp]\ntags = ["site-7"]'))
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: is_at_work(Task.RELOAD.value))
                make_fail(Task.RELOAD.value)
                await until(lambda: died(caplog, Task.RELOAD.value))
                await until(lambda: state(gateway) == "streaming", within_s=300)
            assert len(service.calls) == 1
            assert service.calls[0].tags == ("site-7",)

    virtualtime.run(scenario())


def test_FR108_credentials_that_the_disk_refused_are_stored_when_it_takes_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk is full at provisioning, then the directory has a wrong mode for a while."""

    async def scenario() -> None:
        async with streaming(tmp_path) as (gateway, service, _):
            assert gateway.status["credentials"]["unsaved"]
            (gateway.state_dir / "credentials.json.new").rmdir()
            gateway.state_dir.chmod(0o755)
            await until(lambda: "store.unsafe" in said(caplog), within_s=1000)
            gateway.state_dir.chmod(0o700)
            await until(
                lambda: not gateway.status["credentials"]["unsaved"],
                within_s=2 * 3600,
            )
            assert CredentialStore(gateway.state_dir).load() is not None
            assert state(gateway) == "streaming"
            assert len(service.calls) == 1
        assert events.TASK_DIED.name not in said(caplog)

    virtualtime.run(scenario())


@pytest.mark.parametrize("works_again", [True, False])
def test_S01_a_stop_tries_once_more_to_store_the_credentials(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, works_again: bool
) -> None:
    async def scenario() -> None:
        async with streaming(tmp_path) as (gateway, _, _):
            caplog.clear()
            if works_again:
                (gateway.state_dir / "credentials.json.new").rmdir()
        assert (CredentialStore(gateway.state_dir).load() is not None) == works_again

    virtualtime.run(scenario())

    assert ("lost with this stop" in caplog.text) != works_again


def said(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {getattr(record, "ZTPD_EVENT", "") for record in caplog.records}


async def test_a_callback_that_fails_is_named_in_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with services(tmp_path) as (gateway, _, _), gateway.running():
        asyncio.get_running_loop().call_soon(lambda: [][0])
        await until(lambda: died(caplog, "event loop"))


@in_virtual_time
async def test_a_successor_begins_when_all_before_it_have_ended() -> None:
    tasks, at_work, most = Tasks(), 0, 0

    async def work() -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            at_work -= 1

    for _ in range(5):
        tasks.start(Task.ACTIVITY, work)
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.1)
    assert (at_work, most) == (1, 1)
    await tasks.end(*Task)
    assert at_work == 0


def test_work_that_fails_at_once_is_tried_again_slowly() -> None:
    tries = []

    async def scenario() -> None:
        async def work() -> None:
            tries.append(asyncio.get_running_loop().time())
            raise ZeroDivisionError

        tasks = Tasks()
        tasks.start(Task.HEARTBEAT, work)
        await asyncio.sleep(5 * RESTART_S + 1)
        await tasks.end(Task.HEARTBEAT)

    virtualtime.run(scenario())
    assert tries == [each * RESTART_S for each in range(6)]


async def test_the_object_of_an_ended_task_is_freed() -> None:
    class Used:
        async def work(self) -> None:
            await asyncio.sleep(60)

    tasks, left = Tasks(), []
    for _ in range(5):
        used = Used()
        left.append(weakref.ref(used))
        tasks.start(Task.RECEIVER, used.work)
        del used
        await asyncio.sleep(0.01)
    gc.collect()
    assert [ref() is not None for ref in left] == [False] * 4 + [True]
    await tasks.end(Task.RECEIVER)
