"""The whole daemon in virtual time: waits after the end of a session, and answers half of use."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.attack.bench import attacker, ntrip_only
from tests.support.chaos import Site
from tests.support.until import until
from tests.support.virtualtime import run
from ztpd.lifecycle import State
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

HOUR_S = 3600.0


@asynccontextmanager
async def site(top: Path, protocol: str = "ntrip") -> AsyncIterator[Site]:
    """A gateway that is not started yet, and all that it needs."""
    built = Site(top, protocol, random.Random(1))
    async with AsyncExitStack() as stack:
        await built.build(stack)
        stack.push_async_callback(built.close)
        yield built


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(getattr(each, "ZTPD_EVENT", "")) for each in caplog.records]


@pytest.mark.parametrize("asked_s", [100_000, 10**18])
def test_FR86_a_caster_that_asks_for_a_wait_of_years_gets_an_hour_at_most(
    asked_s: int, tmp_path: Path
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: %d\r\n\r\n" % asked_s)

    async def scenario() -> None:
        async with attacker(refuse) as port:
            gateway = ntrip_only(tmp_path, port)
            async with gateway.receiver(), gateway.running() as daemon:
                present = daemon.present
                await until(lambda: present.is_waiting and "503" in present.reason.text)
                left_s = (present.reason.until_s or 0) - asyncio.get_running_loop().time()
                assert left_s <= HOUR_S
                assert left_s > HOUR_S / 2 or asked_s > 100_000

    run(scenario())


def test_FR119_a_retry_ends_the_wait_although_the_runtime_directory_is_full(
    tmp_path: Path,
) -> None:
    requests = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 3000\r\n\r\n")

    async def scenario() -> None:
        async with attacker(refuse) as port:
            gateway = ntrip_only(tmp_path, port)
            async with gateway.receiver(), gateway.running() as daemon:
                await until(lambda: daemon.present.is_waiting and requests)
                await asyncio.sleep(30)
                before = requests
                (gateway.runtime_dir / f".sessions.json.{os.getpid()}").mkdir()
                request = {"do": Verb.RETRY}
                answer = await offload(control.ask, gateway.runtime_dir, request)
                assert "trying now" in answer["text"]
                await until(lambda: requests > before, 30)

    run(scenario())


def test_FR91_an_answer_with_one_unusable_part_gives_corrections_by_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with site(tmp_path, "both") as one:
            await one.start()
            await one.well(60)
            await one.stop()
            (thing,) = one.service.portal.things.values()
            thing.credentials["certificate"] = "no certificate"
            (one.gateway.state_dir / "credentials.json").unlink()
            (one.gateway.state_dir / "ztp-schedule.json").unlink()
            await one.start()
            await one.well(60)

    caplog.set_level(logging.INFO)
    run(scenario())
    assert "but one cannot be used: " in caplog.text


@pytest.mark.slow
def test_FR107_resets_after_good_service_cost_seconds_and_no_eviction(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        async with site(tmp_path) as one:
            await one.start()
            await one.well(60)
            await asyncio.sleep(300)
            for _ in range(3):
                one.sources[0].reset()
                await until(lambda: one.daemon.present.state is not State.STREAMING, 10)
                await one.well(20)
                await asyncio.sleep(10)

    run(scenario())
    assert "session.kicked" not in events(caplog)


@pytest.mark.slow
def test_FR106_short_sessions_before_good_service_do_not_count_after_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        async with site(tmp_path) as one:
            await one.start()
            await one.well(60)
            for _ in range(2):
                one.caster.end_sessions()
                await until(lambda: one.daemon.present.state is not State.STREAMING, 10)
                await one.well(60)
                await asyncio.sleep(10)
            await asyncio.sleep(HOUR_S / 4)
            assert one.is_well
            await one.restart()
            await one.well(60)
            one.caster.end_sessions()
            await until(lambda: one.daemon.present.state is not State.STREAMING, 10)
            await one.well(60)

    run(scenario())
    assert "session.kicked" not in events(caplog)
