"""From power-on to stored credentials: the real daemon, a simulated modem and service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.services import IMEI, kept, reason, services, state
from tests.support.until import until
from ztpd.sim.portal import TOKEN, Profile
from ztpd.sim.ztp_service import Answer, Cut, ZtpService
from ztpd.wire.ztp import PATHS


async def test_from_power_on_to_corrections(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, service, _), gateway.running():
        await until(lambda: state(gateway) == "streaming")

        assert [call.hardware_id for call in service.calls] == [IMEI]
        assert gateway.status["identity"]["id"] == "49015420*****18"


async def test_P3_a_restart_makes_no_provisioning_call(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, service, _):
        for _ in range(3):
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming")

        assert len(service.calls) == 1


async def test_T1_stored_files_are_for_the_owner_only(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, _, _), gateway.running():
        await until(lambda: state(gateway) == "streaming")

        assert set(gateway.files().values()) == {0o600}
        assert gateway.state_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("profile", "code"),
    [
        (Profile(allowlist=frozenset()), "ztp.refused.not_listed"),
        (Profile(enabled=False), "ztp.refused.unknown"),
        (Profile(service="live"), "ztp.refused.not_found"),
    ],
)
async def test_a_refusal_needs_a_person_and_has_a_remedy(
    tmp_path: Path, profile: Profile, code: str
) -> None:
    async with services(tmp_path, profile=profile) as (gateway, service, _), gateway.running():
        await until(lambda: state(gateway) == "blocked")

        assert reason(gateway) == code
        assert gateway.status["reason"]["advice"]
        assert gateway.status["next_attempt_s"] >= 1700
        assert len(service.calls) == 1


async def test_FR57_a_token_of_a_wrong_form_is_named_with_its_remedy(tmp_path: Path) -> None:
    refused = Answer(422, '{"errors":["token invalid token format"]}')
    async with services(tmp_path, script=(refused,)) as (gateway, _, _), gateway.running():
        await until(lambda: state(gateway) == "blocked")

        assert reason(gateway) == "ztp.refused.token"
        reported = gateway.status["reason"]
        assert reported["text"].endswith("status 422: token invalid token format")
        assert "ztpd token set" in reported["advice"]


@pytest.mark.parametrize("status", [201, 202, 203])
async def test_Z18_credentials_with_another_status_of_success_are_used(
    tmp_path: Path, status: int
) -> None:
    async with services(tmp_path) as (gateway, service, _):
        service.script.append(Answer(status, credentials_for(service)))
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")

        assert service.requests == 1
        assert kept(gateway).hardware_id == IMEI


@pytest.mark.parametrize("status", [409, 500])
async def test_Z18_T14_credentials_with_a_status_of_failure_are_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    async with services(tmp_path) as (gateway, service, _):
        service.script.append(Answer(status, credentials_for(service)))
        async with gateway.running():
            await until(lambda: f"status {status}" in str(gateway.status.get("reason")))
            shown = json.dumps(gateway.status)

        for secret in (service.portal.password.reveal(), "PRIVATE KEY"):
            assert secret not in caplog.text + shown


def credentials_for(service: ZtpService) -> str:
    """The answer of ``service``, which has made the gateway's Thing."""
    asked = json.dumps({"token": TOKEN.reveal(), "hardwareId": IMEI}).encode()
    headers = {"content-length": str(len(asked))}
    return service.portal.answer("POST", PATHS["flex"], headers, asked)[1].decode()


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            Answer(200, '{"error":"Device hardware code not whitelisted"}'),
            "ztp.refused.not_listed",
            "Device hardware code not whitelisted",
        ),
        (
            Answer(403, '{"message":"Missing Authentication Token"}'),
            "ztp.refused.not_found",
            "Missing Authentication Token",
        ),
        (
            Answer(409, '{"message":"hardware code already in use"}'),
            "ztp.refused.already_registered",
            "hardware code already in use",
        ),
        (Answer(409), "ztp.refused.already_registered", "status 409"),
        (
            Answer(403, "<html><title>403 ERROR</title><h1>Request blocked.</h1></html>"),
            "ztp.refused.unknown",
            "status 403: 403 ERROR Request blocked.",
        ),
    ],
)
async def test_Z19_a_refusal_in_an_odd_form_is_known_and_asked_about_once(
    tmp_path: Path, answer: Answer, code: str, words: str
) -> None:
    async with services(tmp_path, script=(answer,)) as (gateway, service, _), gateway.running():
        await until(lambda: state(gateway) == "blocked")

        assert reason(gateway) == code
        assert gateway.status["reason"]["text"].endswith(words)
        page = answer.text.startswith("<")
        assert ("firewall or proxy" in gateway.status["reason"]["advice"]) == page
        assert service.requests == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(202, '{"status":"pending"}'), "ztp.not_active"),
        (Answer(400, '{"message":"Rate exceeded"}'), "ztp.throttled"),
        (Answer(200, '{"outcome":"it rains"}'), "ztp.schema"),
    ],
)
async def test_Z19_a_delay_in_an_odd_form_needs_no_person(
    tmp_path: Path, answer: Answer, code: str
) -> None:
    async with services(tmp_path, script=(answer,)) as (gateway, _, _), gateway.running():
        await until(lambda: state(gateway) == "waiting")

        assert reason(gateway) == code
        assert answer.text.rpartition('"')[0].rpartition('"')[2] in gateway.status["reason"]["text"]


async def test_Z04_once_the_person_has_helped_a_retry_provisions_at_once(tmp_path: Path) -> None:
    refusing = Profile(allowlist=frozenset())
    async with services(tmp_path, profile=refusing) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "blocked")
        service.portal.profile = Profile()
        schedule = gateway.state_dir / "ztp-schedule.json"
        kept = json.loads(schedule.read_text())
        assert kept["wait_s"] >= 1700, "the wait survives the restart"
        schedule.write_text(json.dumps(kept | {"wait_s": 0}))
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")


async def test_Z14_without_a_token_ztpd_waits_and_goes_on_as_soon_as_there_is_one(
    tmp_path: Path,
) -> None:
    async with services(tmp_path) as (gateway, service, _):
        gateway.token_file.unlink()
        async with gateway.running():
            await until(lambda: state(gateway) == "blocked")
            assert reason(gateway) == "ztp.token_missing"
            assert not service.calls
            gateway.token_file.touch(mode=0o600)
            gateway.token_file.write_text(TOKEN.reveal() + "\n")
            await until(lambda: state(gateway) == "streaming")


@pytest.mark.parametrize("fault", [Cut(1), Cut(100), Cut(300)])
@pytest.mark.slow
async def test_Z03_a_lost_answer_ends_with_one_thing(tmp_path: Path, fault: Cut) -> None:
    async with services(tmp_path, script=(fault,)) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "waiting" and service.calls)
        schedule = gateway.state_dir / "ztp-schedule.json"
        schedule.write_text(json.dumps(json.loads(schedule.read_text()) | {"wait_s": 0}))
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")

        assert len(service.things) == 1
        assert len(service.calls) == 2


async def test_N24_the_wait_that_the_service_asks_for_is_kept(tmp_path: Path) -> None:
    throttled = Answer(429, "Too Many Requests", {"Retry-After": "120"})
    async with (
        services(tmp_path, script=(throttled,)) as (gateway, service, _),
        gateway.running(),
    ):
        await until(lambda: state(gateway) == "waiting" and service.calls)
        assert reason(gateway) == "ztp.throttled"
        assert gateway.status["next_attempt_s"] >= 119


async def test_D08_a_crash_in_a_loop_makes_no_more_calls(tmp_path: Path) -> None:
    troubled = Answer(503, headers={"Retry-After": "120"})
    async with services(tmp_path, script=(troubled,) * 9) as (gateway, service, _):
        for _ in range(5):
            async with gateway.running():
                await until(lambda: state(gateway) == "waiting" and service.calls)

        assert len(service.calls) == 1


async def test_T3_credentials_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        gateway.state_dir.chmod(0o755)
        async with gateway.running():
            await until(lambda: state(gateway) == "blocked")
            assert reason(gateway) == "store.unsafe"
            gateway.state_dir.chmod(0o700)
            await until(lambda: state(gateway) == "streaming")

        assert len(service.calls) == 1


async def test_a_missing_authority_needs_a_person_and_its_correction_is_enough(
    tmp_path: Path,
) -> None:
    async with services(tmp_path) as (gateway, service, _):
        right = (tmp_path / "ztpd.toml").read_text()
        wrong = right.replace(str(gateway.ca_file), f"{tmp_path}/not-yet.pem", 1)
        (tmp_path / "ztpd.toml").write_text(wrong)
        async with gateway.running():
            await until(lambda: state(gateway) == "blocked")
            assert "not-yet.pem" in gateway.status["reason"]["text"]
            (tmp_path / "ztpd.toml").write_text(right)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: state(gateway) == "streaming")

    assert len(service.calls) == 1


async def test_Z15_a_second_daemon_ends_and_the_first_goes_on(tmp_path: Path) -> None:
    from ztpd.errors import LockHeld

    async with services(tmp_path) as (gateway, _, _), gateway.running():
        await until(lambda: state(gateway) == "streaming")
        with pytest.raises(LockHeld):
            async with gateway.running():
                await asyncio.sleep(0.1)

        assert state(gateway) == "streaming"
