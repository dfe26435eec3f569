"""The whole daemon in virtual time: pauses by a person, by the budget, and standing still."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.clocks import Clocks
from tests.support.gateway import FAST_LINE, Gateway
from tests.support.rover import rare_corrections, rover, streams
from tests.support.services import kept, reissue, services
from tests.support.tasks import next_time_out_s
from tests.support.until import until
from tests.support.virtualtime import run
from ztpd import __version__, status
from ztpd.cli.main import main
from ztpd.daemon.pauses import FILE as PAUSE_FILE
from ztpd.daemon.pauses import Asker
from ztpd.health import Health, health
from ztpd.model import utc
from ztpd.provisioning.store import CredentialStore
from ztpd.relay.metering import FILE
from ztpd.sim.caster import Caster
from ztpd.sim.portal import Profile
from ztpd.sim.receiver import SimReceiver
from ztpd.sim.ztp_service import Answer, Drip
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

HOUR_S, DAY_S = 3600.0, 86_400.0


async def ask(gateway: Gateway, verb: Verb, **fields: object) -> str:
    answer = await offload(control.ask, gateway.runtime_dir, {"do": verb, **fields})
    return str(answer.get("text") or answer.get("error"))


async def paused(gateway: Gateway, within_s: float = 30.0) -> float:
    return await until(lambda: gateway.status.get("state") == "paused", within_s)


@asynccontextmanager
async def parked(
    top: Path, clocks: Clocks | None = None, *, position_every_s: int = 1, **tables: Any
) -> AsyncIterator[tuple[Gateway, Caster, SimReceiver]]:
    """A rover, and all that it needs; it is not started yet."""
    clocks = clocks or Clocks.mid_month()
    async with Caster({"MP": rare_corrections}) as caster:
        gateway = rover(top, caster, clocks.clock, position_every_s=position_every_s, **tables)
        async with gateway.receiver(wall_clock=clocks.utc) as receiver:
            yield gateway, caster, receiver


def test_a_person_pauses_and_resumes(memory_path: Path) -> None:
    async def scenario() -> None:
        async with parked(memory_path) as (gateway, caster, _), gateway.running() as daemon:
            await streams(gateway)
            text = await ask(gateway, Verb.PAUSE)
            assert text == "paused by a person, until `ztpd resume` or a reboot"
            await paused(gateway)
            used_s = gateway.status["traffic"]["month_session_s"]
            opened = caster.connections
            delivered = gateway.status["receiver"]["delivered_frames"]
            await asyncio.sleep(600)
            shown = status.read(gateway.runtime_dir)
            assert shown.paused
            assert shown.paused.by == "person"
            assert shown.reason.text == str(shown.paused)
            assert health(shown, is_running=True) is Health.PAUSED
            assert shown.source is None
            assert shown.traffic
            assert shown.traffic.month_session_s == used_s, "the session is closed"
            assert shown.receiver.ready
            assert shown.receiver.delivered_frames == delivered
            assert caster.connections == opened
            assert not daemon.present.is_overdue(None), "the watchdog is fed"
            assert await ask(gateway, Verb.RETRY) == text, "a retry does not end it"
            assert await ask(gateway, Verb.PAUSE) == text
            assert "going on" in await ask(gateway, Verb.RESUME)
            assert await streams(gateway, 10) < 5
            assert gateway.status.get("paused") is None
            assert await ask(gateway, Verb.RESUME) == "not paused: streaming"

    run(scenario())


def test_a_pause_that_comes_with_a_time_out_of_the_session_closes_it(memory_path: Path) -> None:
    async def scenario() -> None:
        async with parked(memory_path) as (gateway, _, _), gateway.running() as daemon:
            await streams(gateway)
            await asyncio.sleep(10)
            at_s = next_time_out_s("Relay._forward")
            assert at_s is not None
            loop = asyncio.get_running_loop()
            just_before_s = at_s - 5e-10  # in the same turn of the event loop
            loop.call_at(just_before_s, daemon.pauses.begin, Asker.PERSON, "a person")
            await paused(gateway)
            await asyncio.sleep(60)
            delivered = gateway.status["receiver"]["delivered_frames"]
            await asyncio.sleep(60)
            assert gateway.status["receiver"]["delivered_frames"] == delivered
            assert gateway.status.get("source") is None
            await ask(gateway, Verb.RESUME)
            await streams(gateway, 10)

    run(scenario())


async def command(gateway: Gateway, *words: str) -> tuple[int | None, str]:
    """Exit status and output of ``ztpd words``."""
    environ = os.environ | {
        "RUNTIME_DIRECTORY": str(gateway.runtime_dir),
        "STATE_DIRECTORY": str(gateway.state_dir),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ztpd", *words, env=environ, stdout=-1, stderr=-2
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_commands_say_who_paused_and_end_with_the_documented_status(
    memory_path: Path,
) -> None:
    async with parked(memory_path) as (gateway, _, _), gateway.running():
        await streams(gateway)
        says = "paused by a person, until `ztpd resume` or a reboot\n"
        assert await command(gateway, "pause") == (0, says)
        code, shown = await command(gateway, "status")
        assert (code, shown.splitlines()[0]) == (4, f"ztpd {__version__}: {says.strip()}")
        code, document = await command(gateway, "status", "--json")
        assert code == 4
        assert json.loads(document)["health"] == "paused"
        assert (await command(gateway, "resume"))[0] == 0
        await streams(gateway)
        assert await command(gateway, "resume") == (0, "not paused: streaming\n")


def test_FR119_a_pause_that_was_ended_while_the_runtime_directory_was_full_stays_ended(
    memory_path: Path,
) -> None:
    async def scenario() -> None:
        async with parked(memory_path) as (gateway, _, _):
            async with gateway.running():
                await streams(gateway)
                await ask(gateway, Verb.PAUSE)
                await paused(gateway)
                (gateway.runtime_dir / f".{PAUSE_FILE}.{os.getpid()}").mkdir()
                await ask(gateway, Verb.RESUME)
                await streams(gateway)
            async with gateway.running():
                await streams(gateway)

    run(scenario())


def test_a_pause_survives_a_restart_and_not_a_reboot(memory_path: Path) -> None:
    clocks = Clocks()

    async def scenario() -> None:
        async with parked(memory_path, clocks) as (gateway, caster, receiver):
            async with gateway.running():
                await streams(gateway)
                await ask(gateway, Verb.PAUSE)
            opened = caster.connections
            for _ in range(2):
                async with gateway.running():
                    await paused(gateway)
                    await asyncio.sleep(60)
                    os.kill(os.getpid(), signal.SIGHUP)
                    await asyncio.sleep(60)
                    assert gateway.status["state"] == "paused"
            assert caster.connections == opened
            clocks.reboot(off_for_s=20.0)  # the file is still there
            receiver.power_cycle()
            async with gateway.running():
                await streams(gateway)

    run(scenario())


@pytest.mark.parametrize("content", [b"", b"[]", b'{"paused": {"by": "nobody"}}', b"\xff"])
def test_an_odd_file_is_no_pause(memory_path: Path, content: bytes) -> None:
    async def scenario() -> None:
        async with parked(memory_path) as (gateway, _, _):
            (gateway.runtime_dir / "pause.json").write_bytes(content)
            async with gateway.running():
                await streams(gateway)

    run(scenario())


def test_a_change_of_the_configuration_does_not_end_a_pause(memory_path: Path) -> None:
    async def scenario() -> None:
        async with parked(memory_path) as (gateway, caster, _), gateway.running() as daemon:
            await streams(gateway)
            await ask(gateway, Verb.PAUSE)
            opened, receiver = caster.connections, daemon.receiver
            path = gateway.top / "ztpd.toml"
            path.write_text(f"{path.read_text()}[corrections]\nqueue_bytes = 20000\n")
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: daemon.receiver is not receiver and daemon.receiver.ready, 60)
            await asyncio.sleep(60)
            assert gateway.status["state"] == "paused"
            assert caster.connections == opened

    run(scenario())


def test_credentials_can_be_replaced_in_a_pause_which_goes_on(memory_path: Path) -> None:
    async def scenario() -> None:
        async with services(memory_path) as (gateway, service, caster):
            gateway.clock = Clocks().clock
            async with gateway.running():
                await streams(gateway)
                await ask(gateway, Verb.PAUSE)
                opened = caster.connections
                await asyncio.sleep(120)  # the service is asked once a minute at most
                assert "trying now" in await ask(gateway, Verb.PROVISION, force=True)
                await until(lambda: len(service.calls) == 2, 60)
                await paused(gateway)
                await asyncio.sleep(60)
                assert gateway.status["state"] == "paused"
                assert caster.connections == opened
                await ask(gateway, Verb.RESUME)
                await streams(gateway)

    run(scenario())


def test_credentials_that_a_person_deletes_are_replaced_after_the_pause(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk that loses credentials has to wait for a day; a person has not."""
    monkeypatch.setenv("STATE_DIRECTORY", str(memory_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(memory_path / "run"))

    async def scenario() -> None:
        async with services(memory_path) as (gateway, service, _):
            gateway.clock = Clocks().clock
            async with gateway.running():
                await streams(gateway)
                await asyncio.sleep(120)  # the service is asked once a minute at most
                assert await offload(main, ["credentials", "forget"]) == 0
                assert gateway.status["state"] == "streaming"
                await ask(gateway, Verb.PAUSE)
                await paused(gateway)
                await ask(gateway, Verb.RESUME)
                await streams(gateway, 120)
                assert len(service.calls) == 2

    run(scenario())


def test_a_gateway_without_credentials_can_be_paused_too(memory_path: Path) -> None:
    async def scenario() -> None:
        async with services(memory_path) as (gateway, service, _):
            gateway.token_file.rename(memory_path / "away")
            async with gateway.running():
                await until(lambda: gateway.status.get("state") == "blocked", 60)
                await ask(gateway, Verb.PAUSE)
                (memory_path / "away").rename(gateway.token_file)
                await asyncio.sleep(HOUR_S / 4)
                assert "paused by a person" in await ask(gateway, Verb.PROVISION)
                assert service.calls == []
                await ask(gateway, Verb.RESUME)
                await streams(gateway)

    run(scenario())


def test_credentials_that_end_in_a_pause_are_renewed_in_it(memory_path: Path) -> None:
    clocks = Clocks()
    seldom = {
        "port": memory_path / "gnss",
        "baudrate": FAST_LINE,
        "keys": {"CFG-RATE-MEAS": 60_000},  # an hour of positions takes time
    }

    async def scenario() -> None:
        async with services(
            memory_path, profile=Profile(protocol="both"), speed=1.0, receiver=seldom
        ) as (gateway, service, caster):
            gateway.clock = clocks.clock
            async with gateway.running():
                await streams(gateway)
                await ask(gateway, Verb.PAUSE)
                await paused(gateway)
            ends_unix_s = int(clocks.clock.now() + 100 * DAY_S)
            first = kept(gateway)._replace(expires_unix_s=ends_unix_s)
            CredentialStore(gateway.state_dir).save(first)
            reissue(gateway, service)
            opened = caster.connections
            async with gateway.running():
                await paused(gateway)
                clocks.suspend(95 * DAY_S)
                service.script.append(Answer(503))
                await until(lambda: len(service.calls) == 2, 1.1 * HOUR_S)
                assert kept(gateway) == first
                clocks.suspend(DAY_S)
                await until(lambda: len(service.calls) == 3, 1.1 * HOUR_S)
                await until(lambda: kept(gateway) != first, 30)
                shown = gateway.status
                assert (shown["state"], caster.connections) == ("paused", opened)
                assert shown["credentials"]["expires"] > f"{utc(ends_unix_s):%Y-%m-%d}"
                clocks.suspend(60 * DAY_S)
                await ask(gateway, Verb.RESUME)
                assert await streams(gateway, 30) < 10
            assert len(service.calls) == 3

    run(scenario())


def test_a_resume_in_the_middle_of_a_renewal_waits_for_its_answer(memory_path: Path) -> None:
    clocks = Clocks()

    async def scenario() -> None:
        async with services(memory_path, profile=Profile(protocol="both"), speed=1.0) as (
            gateway,
            service,
            _,
        ):
            gateway.clock = clocks.clock
            async with gateway.running():
                await streams(gateway)
                await ask(gateway, Verb.PAUSE)
                await paused(gateway)
            ends_unix_s = int(clocks.clock.now() + 4 * DAY_S)
            first = kept(gateway)._replace(expires_unix_s=ends_unix_s)
            CredentialStore(gateway.state_dir).save(first)
            reissue(gateway, service)
            clocks.suspend(2 * DAY_S)
            service.script.append(Drip(0.002))
            async with gateway.running():
                await until(lambda: service.requests == 2, 60)
                await ask(gateway, Verb.RESUME)
                assert await streams(gateway, 60) > 1
                assert kept(gateway) != first
                assert len(service.calls) == 2

    run(scenario())


def used_before(gateway: Gateway, clocks: Clocks, hours: float) -> None:
    """As if ``hours`` of this month had been used."""
    today = datetime.fromtimestamp(clocks.clock.now(), UTC).date().isoformat()
    days = {today: {"ntrip elsewhere:2101": {"bytes": 1000, "session_s": hours * HOUR_S}}}
    (gateway.state_dir / FILE).write_text(json.dumps({"schema": 1, "days": days}))


BUDGET = {"hours_per_month": 10, "then": "pause", "month_begins_on": 1}


def test_a_budget_that_is_spent_pauses_until_the_month_ends(memory_path: Path) -> None:
    clocks = Clocks.mid_month()

    async def scenario() -> None:
        async with parked(memory_path, clocks, budget=BUDGET) as (gateway, _, _):
            used_before(gateway, clocks, 9.9)
            async with gateway.running():
                await streams(gateway)
                assert 300 < await paused(gateway, 400) < 380, "the rest of 0.1 h"
                shown = status.read(gateway.runtime_dir)
                assert shown.paused
                assert shown.traffic
                assert shown.paused.by == "budget"
                assert shown.paused.why == f"the budget (this month {shown.traffic})"
                assert shown.paused.ends == f"{shown.traffic.month_ends}, or `ztpd resume`"
                clocks.off_s += 32 * 24 * HOUR_S
                await streams(gateway)

    run(scenario())


def test_a_pause_by_the_budget_survives_a_restart_and_a_reboot(memory_path: Path) -> None:
    clocks = Clocks.mid_month()

    async def scenario() -> None:
        async with parked(memory_path, clocks, budget=BUDGET) as (gateway, caster, receiver):
            used_before(gateway, clocks, 11)
            async with gateway.running():
                await paused(gateway)
            opened = caster.connections
            async with gateway.running():
                await asyncio.sleep(120)
                assert gateway.status["state"] == "paused"
            assert caster.connections == opened, "the file was read before the budget was judged"
            clocks.reboot(off_for_s=20.0)
            receiver.power_cycle()
            async with gateway.running():
                await paused(gateway)

    run(scenario())


def test_a_person_may_exceed_the_budget_for_the_month_until_a_reboot(memory_path: Path) -> None:
    clocks = Clocks.mid_month()

    async def scenario() -> None:
        async with parked(memory_path, clocks, budget=BUDGET) as (gateway, _, receiver):
            used_before(gateway, clocks, 11)
            async with gateway.running():
                await paused(gateway)
                await ask(gateway, Verb.RESUME)
                await streams(gateway)
                await asyncio.sleep(120)
                assert gateway.status["state"] == "streaming"
            async with gateway.running():
                await streams(gateway)
                await asyncio.sleep(120)
                assert gateway.status["state"] == "streaming"
            clocks.reboot(off_for_s=20.0)
            receiver.power_cycle()
            async with gateway.running():
                await paused(gateway)

    run(scenario())


def test_a_budget_that_is_raised_ends_the_pause(memory_path: Path) -> None:
    clocks = Clocks.mid_month()

    async def scenario() -> None:
        async with parked(memory_path, clocks, budget=BUDGET) as (gateway, _, _):
            used_before(gateway, clocks, 11)
            async with gateway.running():
                await paused(gateway)
                path = gateway.top / "ztpd.toml"
                path.write_text(path.read_text().replace("per_month = 10", "per_month = 20"))
                os.kill(os.getpid(), signal.SIGHUP)
                await streams(gateway)

    run(scenario())


def test_a_budget_that_only_warns_keeps_the_session(
    memory_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = Clocks.mid_month()

    async def scenario() -> None:
        budget = BUDGET | {"then": "warn"}
        async with parked(memory_path, clocks, budget=budget) as (gateway, caster, _):
            used_before(gateway, clocks, 9.9)
            async with gateway.running():
                await streams(gateway)
                opened = caster.connections
                await asyncio.sleep(900)
                assert gateway.status["state"] == "streaming"
                assert caster.connections == opened

    run(scenario())
    events = [str(getattr(each, "ZTPD_EVENT", "")) for each in caplog.records]
    assert [each for each in events if each.startswith("budget.")] == [
        "budget.near",
        "budget.spent",
    ]


STILL = {"pause_when_still_minutes": 10}


def test_standing_still_pauses_and_a_move_ends_it_within_five_seconds(memory_path: Path) -> None:
    async def scenario() -> None:
        async with parked(memory_path, corrections=STILL) as (gateway, _, receiver):
            receiver.navigation.move(0, 0, speed_mps=2.0)
            async with gateway.running():
                await streams(gateway)
                await asyncio.sleep(900)
                assert gateway.status["state"] == "streaming", "it moves"
                receiver.navigation.move(3, 4)
                assert 595 < await paused(gateway, 660) < 610
                shown = status.read(gateway.runtime_dir).paused
                assert shown
                assert (shown.by, shown.why) == ("still", "standing still for 10 min")
                receiver.navigation.move(3 + 4, 4)
                await asyncio.sleep(60)
                assert gateway.status["state"] == "paused", "four metres"
                receiver.navigation.move(3 + 6, 4, speed_mps=1.0)
                assert await streams(gateway, 10) < 5.0

    run(scenario())


def test_a_pause_while_standing_still_survives_a_restart_and_ends_with_its_setting(
    memory_path: Path,
) -> None:
    async def scenario() -> None:
        async with parked(memory_path, corrections=STILL) as (gateway, _, receiver):
            async with gateway.running():
                await paused(gateway, 700)
            async with gateway.running():
                await paused(gateway)
                await until(lambda: gateway.status["receiver"]["fix"] not in ("unknown", "no fix"))
                await asyncio.sleep(30)
                assert gateway.status["state"] == "paused"
                receiver.navigation.move(10, 0, speed_mps=1.0)
                assert await streams(gateway, 10) < 5.0
                receiver.navigation.move(10, 0)
                await paused(gateway, 700)
                path = gateway.top / "ztpd.toml"
                path.write_text(path.read_text().replace("minutes = 10", "minutes = 0"))
                os.kill(os.getpid(), signal.SIGHUP)
                await streams(gateway)

    run(scenario())


async def _day(top: Path, drives: Callable[[SimReceiver, random.Random], Any]) -> dict[str, Any]:
    clocks = Clocks.mid_month()
    async with parked(top, clocks, position_every_s=10, corrections=STILL) as site:
        gateway, caster, receiver = site
        dice = random.Random(7)
        async with gateway.running():
            driving = asyncio.create_task(drives(receiver, dice))
            await asyncio.sleep(24 * HOUR_S)
            driving.cancel()
            day = gateway.status["traffic"]
            return {"bytes": day["month_bytes"], "h": day["month_session_s"] / HOUR_S} | {
                "sessions": caster.connections,
                "state": gateway.status["state"],
            }


async def _works_an_hour_and_is_parked(receiver: SimReceiver, dice: random.Random) -> None:
    """The position of a receiver that is parked wanders by metres without corrections."""
    north_m = 0.0
    for _ in range(360):
        north_m += 20.0
        receiver.navigation.move(north_m, 0, speed_mps=2.0)
        await asyncio.sleep(10)
    wander_m = [0.0, 0.0]
    while True:
        fixed = receiver.stage == "RTK fixed"
        for axis in (0, 1):
            noise_m = 0.006 if fixed else 0.15
            wander_m[axis] = 0.0 if fixed else 0.99 * wander_m[axis]
            wander_m[axis] += dice.gauss(0, noise_m)
        receiver.navigation.move(north_m + wander_m[0], wander_m[1], speed_mps=0.02)
        await asyncio.sleep(10)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_machine_that_is_parked_for_23_hours_has_less_than_an_hour_of_session_in_them(
    memory_path: Path,
) -> None:
    day = run(_day(memory_path, _works_an_hour_and_is_parked))
    print("a day with one hour of work:", day)
    assert 1.0 <= day["h"] < 2.0
    assert day["state"] == "paused"
