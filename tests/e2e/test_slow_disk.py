"""A disk that takes its time, and a reload in the middle of a call: the real daemon."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import log_lines
from tests.support.services import services, state
from tests.support.until import until
from ztpd import check, status
from ztpd.cli.status import render
from ztpd.health import Health, cause, health
from ztpd.provisioning.pacing import SCHEDULE_FILE
from ztpd.provisioning.store import CURRENT
from ztpd.sim.ztp_service import Drip
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload


def hold(gateway: Gateway, name: str) -> Path:
    """Let the next write of the file ``name`` wait for :func:`let_go`, as a bad card does."""
    in_the_way = gateway.state_dir / f".{name}.{os.getpid()}"
    os.mkfifo(in_the_way)  # to open it for writing waits for a reader
    return in_the_way


def let_go(in_the_way: Path) -> None:
    reader = os.open(in_the_way, os.O_RDONLY | os.O_NONBLOCK)
    asyncio.get_running_loop().call_later(3, os.close, reader)  # the writer may come a little later


async def test_FR103_the_daemon_answers_while_the_disk_takes_its_time(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, service, _):
        in_the_way = hold(gateway, SCHEDULE_FILE)
        async with gateway.running():
            await until(lambda: state(gateway) == "provisioning")
            for _ in range(5):
                began_s = asyncio.get_running_loop().time()
                answer = await offload(control.ask, gateway.runtime_dir, {"do": Verb.STATUS})
                assert answer["ok"]
                assert asyncio.get_running_loop().time() - began_s < 1
                await asyncio.sleep(0.1)
            assert not service.requests, "a call is noted before it is made"
            let_go(in_the_way)
            await until(lambda: state(gateway) == "streaming")
            assert len(service.calls) == 1


async def test_FR103_a_stop_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, _, _):
        in_the_way = hold(gateway, SCHEDULE_FILE)
        async with gateway.running():
            await until(lambda: state(gateway) == "provisioning")
            began_s = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began_s < 5
        let_go(in_the_way)


async def test_FR118_D07_a_reload_during_a_call_waits_for_its_answer(tmp_path: Path) -> None:
    async with services(tmp_path, script=(Drip(0.002),)) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: service.requests == 1)
            path = tmp_path / "ztpd.toml"
            path.write_text(path.read_text().replace("[ztp]", '[ztp]\ntags = ["site-7"]'))
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: state(gateway) == "streaming")
        assert service.requests == len(service.calls) == 1


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """The state directory answers no read and no write of the credentials."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


@pytest.mark.slow
async def test_FR103_a_disk_that_takes_no_credentials_is_named_and_the_corrections_flow(
    tmp_path: Path,
) -> None:
    async with services(tmp_path) as (gateway, service, _):
        in_the_way = hold(gateway, SCHEDULE_FILE)
        with log_lines() as log:
            async with gateway.running():
                await until(lambda: state(gateway) == "provisioning")
                with locked(gateway.state_dir):
                    let_go(in_the_way)
                    storing = f"storing the credentials in {gateway.state_dir}"
                    await until(lambda: gateway.status["reason"]["text"] == storing)
                    in_the_way = hold(gateway, SCHEDULE_FILE)  # of the note that the call succeeded
                    began_s = asyncio.get_running_loop().time()
                    await until(lambda: state(gateway) == "streaming", within_s=20)
                    waited_s = asyncio.get_running_loop().time() - began_s
                    await until(lambda: gateway.status["receiver"]["use"] == "used", within_s=20)
                    seen = status.read(gateway.runtime_dir)
                    broken = check.document(await gateway.checked(status.read(gateway.runtime_dir)))
                    assert in_the_way.is_fifo()
                let_go(in_the_way)
                await until(lambda: not in_the_way.exists())  # the note had waited there
                await until((gateway.state_dir / CURRENT).exists)
                await until(
                    lambda: (
                        health(status.read(gateway.runtime_dir), is_running=True) is Health.HEALTHY
                    ),
                    within_s=20,
                )
    assert 9 < waited_s < 15
    assert health(seen, is_running=True) is Health.DEGRADED
    known = cause(seen)
    assert known
    assert known.event == broken["event"] == "credentials.unsaved"
    assert "memory only" in known.text
    assert "dmesg" in known.advice
    (line,) = [each for each in log if each.startswith("store.stalled ")]
    assert f"the disk does not answer: {gateway.state_dir}, storing the credentials. Look" in line
    (end,) = [number for number, each in enumerate(log) if each.startswith("ztp.provisioned ")]
    assert end > log.index(line)
    assert len(service.calls) == 1


@pytest.mark.slow
async def test_FR103_a_disk_that_does_not_take_the_note_of_a_call_is_named(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, service, _):
        in_the_way = hold(gateway, SCHEDULE_FILE)
        async with gateway.running():
            await until(lambda: state(gateway) == "waiting", within_s=20)
            seen = status.read(gateway.runtime_dir)
            screen = render(seen, is_running=True)
            broken = check.document(await gateway.checked(status.read(gateway.runtime_dir)))
            assert not service.requests
            let_go(in_the_way)
            await until(lambda: state(gateway) == "streaming")
    text = f"the disk does not answer: {gateway.state_dir}, noting the call"
    assert text in screen.splitlines()[0]
    assert text in broken["text"]
    assert broken["event"] == "store.stalled"
    assert "dmesg" in screen.splitlines()[1]
    assert len(service.calls) == 1


@pytest.mark.slow
async def test_FR103_a_disk_that_does_not_give_the_credentials_is_named(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        with locked(gateway.state_dir):
            running = gateway.running()
            await running.__aenter__()
            await until(lambda: state(gateway) == "waiting", within_s=20)
            screen = render(status.read(gateway.runtime_dir), is_running=True)
            broken = check.document(await gateway.checked(status.read(gateway.runtime_dir)))
        await until(lambda: state(gateway) == "streaming")
        await running.__aexit__(None, None, None)
    text = f"the disk does not answer: {gateway.state_dir}, reading the credentials"
    assert text in screen.splitlines()[0]
    assert broken["event"] == "store.stalled"
    assert len(service.calls) == 1
