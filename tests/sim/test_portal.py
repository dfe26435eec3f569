"""The answers of the simulated service, for each setting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ztpd.errors import (
    ZtpAlreadyRegistered,
    ZtpdError,
    ZtpHardwareCode,
    ZtpNoPlan,
    ZtpNotActive,
    ZtpNotFound,
    ZtpNotListed,
    ZtpRefused,
    ZtpTokenRefused,
)
from ztpd.model import Credentials, Secret
from ztpd.provisioning.call import check_pair
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN, Portal, Profile
from ztpd.wire import ztp

IMEI = "356938035643809"
AUTHORITY = Authority()
NOW = 1_795_000_000.0


def portal(said: list[str] | None = None, **settings: Any) -> Portal:
    return Portal(
        Profile(**settings),
        AUTHORITY,
        broker_host="localhost",
        caster_host="localhost",
        caster_ports=(12101, 12102),
        now=lambda: NOW,
        say=(said if said is not None else []).append,
    )


def ask(
    there: Portal,
    *,
    token: Secret = TOKEN,
    hardware_id: str = IMEI,
    service: str = "flex",
    method: str = "POST",
) -> tuple[int, bytes]:
    body = ztp.request_body(token=token, given_name="gw", tags=("ztp",), hardware_id=hardware_id)
    return there.answer(method, ztp.PATHS[service], {"content-length": str(len(body))}, body)


def credentials(there: Portal, **request: Any) -> Credentials:
    status, body = ask(there, **request)
    assert status == 200
    return ztp.parse_answer("flex", body)


def error(there: Portal, **request: Any) -> type[ZtpdError]:
    status, body = ask(there, **request)
    return type(ztp.refusal(status, {}, body))


@pytest.mark.parametrize("service", ["flex", "live"])
def test_each_service_has_its_path(service: str) -> None:
    there = portal(service=service)
    assert credentials(there, service=service)
    other = "live" if service == "flex" else "flex"
    assert error(there, service=other) is ZtpNotFound


@pytest.mark.parametrize(
    ("protocol", "mqtt", "ntrip"),
    [("mqtt", True, False), ("ntrip", False, True), ("both", True, True)],
)
def test_Z12_the_protocol_decides_the_content_of_the_answer(
    protocol: str, mqtt: bool, ntrip: bool
) -> None:
    found = credentials(portal(protocol=protocol))
    assert (bool(found.mqtt), bool(found.ntrip)) == (mqtt, ntrip)


@pytest.mark.parametrize("form", ["spartn", "rtcm"])
def test_the_format_decides_the_mountpoint(form: str) -> None:
    found = credentials(portal(format=form)).ntrip
    assert found
    assert found.mountpoint == f"NEAR-{form.upper()}"
    assert (found.host, found.http_port, found.https_port) == ("localhost", 12101, 12102)


def test_a_client_certificate_and_its_key_belong_together() -> None:
    found = credentials(portal(protocol="mqtt")).mqtt
    assert found
    check_pair(found.certificate, found.private_key)
    assert "/pp/ip/jp/ocb" in [topic.path for topic in found.topics]


def test_the_keys_are_those_of_this_period_and_the_next() -> None:
    current, following = credentials(portal(protocol="mqtt")).keys
    assert current.start_ms <= NOW * 1000 < following.start_ms
    assert following.start_ms - current.start_ms == current.duration_ms + 1 == 28 * 86_400_000
    assert current.gps_time[1] == 0


def test_the_same_hardware_code_gets_the_same_thing_again() -> None:
    there = portal(protocol="both")
    assert credentials(there) == credentials(there)
    assert len(there.things) == 1


def test_many_hardware_codes_get_a_thing_each() -> None:
    there = portal()
    ids = {credentials(there, hardware_id=f"gw-{number}").client_id for number in range(50)}
    assert len(ids) == len(there.things) == 50


def test_without_auto_activate_a_person_has_to() -> None:
    there = portal(auto_activate=False)
    for _ in range(2):
        with pytest.raises(ZtpNotActive):
            ztp.parse_answer("flex", ask(there)[1])
    there.activate(IMEI)
    assert credentials(there).ntrip
    assert len(there.things) == 1


def test_Z04_only_listed_hardware_codes_are_taken() -> None:
    there = portal(allowlist=frozenset({IMEI}))
    assert error(there, hardware_id="stranger") is ZtpNotListed
    assert credentials(there)


def test_Z01_an_existing_hardware_code_can_be_an_error() -> None:
    there = portal(existing="error")
    assert credentials(there)
    assert error(there) is ZtpAlreadyRegistered


def test_Z02_a_thing_without_plan_is_refused() -> None:
    there = portal()
    credentials(there)
    there.profile = Profile(plan=False)
    assert error(there) is ZtpNoPlan


def test_Z06_a_disabled_profile_refuses_every_gateway() -> None:
    assert error(portal(enabled=False)) is ZtpRefused


def test_a_wrong_token_is_refused() -> None:
    other = Secret("ffffffff-4b5a-4978-8695-a4b3c2d1e0f1")
    assert error(portal(), token=other) is ZtpTokenRefused


@pytest.mark.parametrize("mandatory", [True, False])
def test_a_hardware_code_is_needed_where_the_profile_says_so(mandatory: bool) -> None:
    there = portal(hardware_code_mandatory=mandatory)
    body = json.dumps({"token": TOKEN.reveal()}).encode()
    status, text = there.answer("POST", ztp.PATHS["flex"], {"content-length": "9"}, body)
    if mandatory:
        assert type(ztp.refusal(status, {}, text)) is ZtpHardwareCode
    else:
        assert status == 200


@pytest.mark.parametrize(
    ("method", "headers", "body", "status"),
    [
        ("GET", {"content-length": "2"}, b"{}", 405),
        ("POST", {}, b"{}", 411),
        ("POST", {"content-length": "2"}, b"{}", 400),
        ("POST", {"content-length": "2"}, b"no", 400),
        ("POST", {"content-length": "2"}, b"[]", 400),
        ("POST", {"content-length": "2"}, b'{"token":5}', 400),
    ],
)
def test_a_request_that_is_none_is_refused(
    method: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    assert portal().answer(method, ztp.PATHS["flex"], headers, body)[0] == status


def test_T14_the_record_has_no_secret_and_no_whole_imei() -> None:
    said: list[str] = []
    there = portal(said, protocol="both", existing="error")
    found = credentials(there)
    ask(there)
    assert said == [
        "created Thing 1 for 35693803*****09",
        "refused 35693803*****09: 403 Device already registered",
    ]
    for secret in (TOKEN, there.password, *found.secrets()):
        assert secret.reveal() not in f"{there.things} {there.profile}"
