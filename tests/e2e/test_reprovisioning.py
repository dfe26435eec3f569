"""New credentials for a gateway that has some: the real daemon, while it streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import virtualtime
from tests.support.gateway import Gateway
from tests.support.services import IMEI, services, state
from tests.support.until import until
from ztpd import status
from ztpd.errors import ZtpTokenMissing
from ztpd.health import cause
from ztpd.lifecycle import Event
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.caster import Caster
from ztpd.sim.portal import Profile
from ztpd.sim.ztp_service import Answer, Silence, ZtpService
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

BOTH = Profile(protocol="both")


def a_day_later(state_dir: Path) -> None:
    """As far as the schedule knows, the last call was long ago."""
    (state_dir / "ztp-schedule.json").write_text("{}")


async def test_Z17_when_no_new_ones_are_given_the_old_ones_are_used_on(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        a_day_later(gateway.state_dir)
        service.script.append(Answer(403, "No plan for device device:0"))
        async with gateway.running() as daemon:
            await until(lambda: state(gateway) == "streaming")
            daemon.dispatch(Event.REFUSED)
            await until(lambda: len(service.calls) == 2)
            await until(lambda: state(gateway) == "streaming")

    assert len(service.calls) == 2


async def test_Z17_new_ones_are_taken_up(tmp_path: Path) -> None:
    async with services(tmp_path, profile=BOTH) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        a_day_later(gateway.state_dir)
        service.portal.things[IMEI].credentials["note"] = "other ones"
        async with gateway.running() as daemon:
            await until(lambda: state(gateway) == "streaming")
            daemon.dispatch(Event.REFUSED)
            await until(lambda: len(service.calls) == 2)
            await until(lambda: state(gateway) == "streaming")

        loaded = CredentialStore(gateway.state_dir).load()
        assert loaded is not None
        assert loaded.stored.credentials.answer["note"] == "other ones"
        assert len(service.things) == 1


async def test_Z17_on_the_same_day_no_call_is_made(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, service, _), gateway.running() as daemon:
        await until(lambda: state(gateway) == "streaming")
        daemon.dispatch(Event.REFUSED)
        await until(lambda: state(gateway) == "streaming")

        assert len(service.calls) == 1


@pytest.mark.parametrize(
    "hindrance",
    [
        "refused",
        pytest.param("token gone", marks=pytest.mark.slow),
        pytest.param("modem gone", marks=pytest.mark.slow),
    ],
)
async def test_a_request_for_new_credentials_that_fails_costs_no_corrections(
    tmp_path: Path, hindrance: str
) -> None:
    async with services(tmp_path, identity={"timeout_s": 5}) as (gateway, service, caster):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        a_day_later(gateway.state_dir)
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
            match hindrance:
                case "token gone":
                    gateway.token_file.unlink()
                case "refused":
                    service.script.append(Answer(403, "No plan for device device:0"))
                case "modem gone":
                    (tmp_path / "modem").unlink()
            sessions = caster.sessions
            asked = {"do": Verb.PROVISION, "force": True}
            assert (await offload(control.ask, gateway.runtime_dir, asked))["ok"]
            await until(lambda: caster.sessions > sessions)
            await until(lambda: state(gateway) == "streaming")


@pytest.mark.slow
def test_credentials_for_an_unwanted_transport_are_replaced_when_the_portal_may_have_changed(
    tmp_path: Path,
) -> None:
    """MQTT only, and only NTRIP wanted: once a person has changed the profile, a day is enough."""

    async def scenario() -> None:
        mqtt_only = Profile(protocol="mqtt", format="spartn")
        async with services(
            tmp_path, profile=mqtt_only, speed=1.0, corrections={"prefer": ["ntrip"]}
        ) as (gateway, service, _):
            async with gateway.running():
                await until(lambda: state(gateway) == "blocked", within_s=60)
            service.portal.profile = Profile()
            service.portal.things.clear()
            a_day_later(gateway.state_dir)
            async with gateway.running():
                await until(lambda: state(gateway) == "blocked", within_s=60)
                await asyncio.sleep(3590)
                assert len(service.calls) == 1
                await asyncio.sleep(60)
                assert len(service.calls) == 2
                await until(lambda: state(gateway) == "streaming", within_s=60)

    virtualtime.run(scenario())


@asynccontextmanager
async def refused_account(
    top: Path,
) -> AsyncIterator[tuple[Gateway, ZtpService, Caster, dict[str, Any]]]:
    """A gateway a day after its call. The caster refuses its account, and takes the new one that
    the service then gives."""
    async with services(top, speed=1.0) as (gateway, service, caster):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming", within_s=60)
        a_day_later(gateway.state_dir)
        account = service.portal.things[IMEI].credentials["rtcmCredentials"]
        account["password"] = "another one"
        caster.users = {account["userName"]: account["password"]}
        yield gateway, service, caster, account


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_Z17_after_an_hour_of_refusals_the_service_is_asked_once_and_corrections_flow_again(
    tmp_path: Path,
) -> None:
    """The whole daemon, in virtual time."""

    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        async with refused_account(tmp_path) as (gateway, service, caster, account):
            connected, began_s = caster.connections, now()
            async with gateway.running():
                while len(service.calls) == 1 and now() - began_s < 3 * 3600:
                    await asyncio.sleep(10)
                asked_s, tries = now() - began_s, caster.connections - connected
                await until(lambda: state(gateway) == "streaming", within_s=60)

            assert 3600 <= asked_s <= 2.2 * 3600
            assert 2 <= tries <= 14, "5 to 60 minutes between two"
            loaded = CredentialStore(gateway.state_dir).load()
            assert loaded is not None
            assert loaded.stored.credentials.answer["rtcmCredentials"] == account

    virtualtime.run(scenario())


def test_Z17_refused_credentials_that_cannot_be_replaced_are_told_with_the_reason(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with refused_account(tmp_path) as (gateway, _, caster, _):
            gateway.token_file.unlink()
            async with gateway.running() as daemon:
                await until(lambda: state(gateway) == "blocked", within_s=60)
                assert "credentials_problem" not in gateway.status
                daemon.dispatch(Event.REFUSED)
                await until(lambda: state(gateway) == "waiting", within_s=60)
                known = cause(status.read(gateway.runtime_dir))
                assert known
                assert known.event == ZtpTokenMissing.code
                caster.users = None
                daemon.try_now("the caster takes it again")
                await until(lambda: state(gateway) == "streaming", within_s=60)
                assert "credentials_problem" not in gateway.status

    virtualtime.run(scenario())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_FR101_a_503_and_a_silent_service_cost_the_daily_call_minutes(
    tmp_path: Path,
) -> None:
    """The whole daemon, in virtual time: the second call after an hour of refusals fails, too."""

    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        async with refused_account(tmp_path) as (gateway, service, _, _):
            service.script += [Answer(503), Silence("handshake")]
            began_s = now()
            async with gateway.running():
                while len(service.calls) == 1 and now() - began_s < 3 * 3600:
                    await asyncio.sleep(10)
                failed_s = now()
                await until(lambda: state(gateway) == "streaming", within_s=1800)

            assert now() - failed_s < 600
            assert len(service.calls) == 3, "503, and the answer; the one between was not delivered"

    virtualtime.run(scenario())


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_C07_invariant_10_while_it_streams_it_renews_and_notices_another_modem(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soon = (datetime.now(UTC) + timedelta(days=3)).replace(tzinfo=None)

    def kept() -> str:
        """The client id of the stored credentials."""
        stored = json.loads((tmp_path / "state/credentials.json").read_text())["stored"]
        return str(stored["answer"]["clientId"])

    async with services(tmp_path, profile=BOTH) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        store = CredentialStore(gateway.state_dir)
        loaded = store.load()
        assert loaded is not None
        store.save(
            loaded.stored._replace(
                hardware_id="356938035643809",
                expires_unix_s=int(soon.replace(tzinfo=UTC).timestamp()),
            )
        )
        a_day_later(gateway.state_dir)
        service.portal.activate(IMEI)
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
            await until(lambda: len(service.calls) == 2, within_s=120)
            await until(lambda: kept().endswith("2"))
            await until(lambda: state(gateway) == "streaming")

        assert service.calls[1].hardware_id == "356938035643809"
        assert "the modem now says IMEI 49015420*****18" in caplog.text
        assert "expires in 2 days" in caplog.text
        assert kept().endswith("2"), "the Thing of that identity"
