"""A disk that takes its time, and a reload in the middle of a call: the real daemon."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.services import services, state
from tests.support.until import until
from ztpd.provisioning.pacing import SCHEDULE_FILE
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
    os.close(os.open(in_the_way, os.O_RDONLY | os.O_NONBLOCK))


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
