"""The provisioning call without a network: what is sent, what every kind of answer means."""

from __future__ import annotations

import contextlib
import copy
import json
import tracemalloc
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ztpd.errors import (
    ConfigError,
    Retry,
    ZtpAlreadyRegistered,
    ZtpCaptivePortal,
    ZtpdError,
    ZtpError,
    ZtpHardwareCode,
    ZtpHostNotAllowed,
    ZtpNoPlan,
    ZtpNotActive,
    ZtpNotFound,
    ZtpNotListed,
    ZtpRedirect,
    ZtpRefused,
    ZtpSchema,
    ZtpServerError,
    ZtpThrottled,
    ZtpTokenMalformed,
    ZtpTokenMissing,
    ZtpTokenRefused,
    ZtpTooBig,
)
from ztpd.model import Credentials, MqttAccess, NtripAccess, Secret, Topic
from ztpd.wire import ztp

ANSWERS = Path(__file__).parents[1] / "data/ztp"
TOKEN = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1"
CLIENT_ID = "00000000-0000-4000-8000-000000000001"


def answer(name: str) -> dict[str, Any]:
    found = json.loads((ANSWERS / name).read_bytes())
    assert isinstance(found, dict)
    return found


def parse(name: str) -> Credentials:
    return ztp.parse_answer("flex", (ANSWERS / name).read_bytes())


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


BOTH = answer("flex-both.json")
NTRIP = answer("flex-ntrip-rtcm.json")
MQTT = answer("flex-mqtt-spartn.json")
PORTAL = answer("portal-ucenter.json")


@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", f"  {TOKEN}\r\n"])
def test_Z14_a_trailing_newline_is_no_part_of_the_token(text: str) -> None:
    assert ztp.check_token(text).reveal() == TOKEN


@pytest.mark.parametrize("text", ["", "\n", "  \r\n"])
def test_Z14_an_empty_token_is_missing(text: str) -> None:
    with pytest.raises(ZtpTokenMissing):
        ztp.check_token(text)


@pytest.mark.parametrize(
    "text",
    [
        TOKEN[:-1],
        TOKEN + "0",
        TOKEN.upper(),
        TOKEN.replace("-", ""),
        TOKEN.replace("-", "\n"),
        f"{TOKEN}\n{TOKEN}",
        f"token={TOKEN}",
        "g" + TOKEN[1:],
        TOKEN.replace("0", "\u0660"),
        "unset",
    ],
)
def test_Z14_a_token_of_another_form_is_not_sent(text: str) -> None:
    with pytest.raises(ZtpTokenMalformed) as caught:
        ztp.check_token(text)
    assert TOKEN[:8] not in str(caught.value).lower()


def test_capital_letters_are_named() -> None:
    with pytest.raises(ZtpTokenMalformed, match="capital letters"):
        ztp.check_token(TOKEN.upper())


def body(
    given_name: str = "gw-7", tags: tuple[str, ...] = ("ztp",), hardware_id: str = "356938035643809"
) -> Any:
    sent = ztp.request_body(
        token=Secret(TOKEN), given_name=given_name, tags=tags, hardware_id=hardware_id
    )
    assert sent.isascii()
    return json.loads(sent)


def test_the_request_has_token_name_tags_and_hardware_id() -> None:
    assert body() == {
        "token": TOKEN,
        "givenName": "gw-7",
        "tags": ["ztp"],
        "hardwareId": "356938035643809",
    }


def test_empty_optional_fields_are_left_out() -> None:
    assert body(given_name="", tags=()) == {"token": TOKEN, "hardwareId": "356938035643809"}


def test_Z16_quotes_and_emoji_arrive_unchanged() -> None:
    name, tag = 'Bagger "Ö" 🚜', "\\'};--"
    assert body(given_name=name, tags=(tag,)) | {"token": ""} == {
        "token": "",
        "givenName": name,
        "tags": [tag],
        "hardwareId": "356938035643809",
    }


@pytest.mark.parametrize("length", [50, 1000])
def test_Z16_a_longer_name_than_the_service_takes_is_a_configuration_error(length: int) -> None:
    body(given_name="n" * ztp.GIVEN_NAME_LIMIT)
    with pytest.raises(ConfigError, match="given_name"):
        body(given_name="n" * length)


@pytest.mark.parametrize(
    "tags", [("t" * 1000,), ("a\nb",), tuple(f"tag-{n}" for n in range(17))], ids=repr
)
def test_Z16_tags_have_limits(tags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="tags"):
        body(tags=tags)


@pytest.mark.parametrize("hardware_id", ["", "h" * 65, "a\x00b", "geräte-id"])
def test_a_hardware_id_is_always_sent_and_plain(hardware_id: str) -> None:
    with pytest.raises(ConfigError, match="hardware_id"):
        body(hardware_id=hardware_id)


def test_flex_and_live_have_paths_of_their_own() -> None:
    assert ztp.PATHS == {
        "flex": "/ztp/pointperfect/credentials",
        "live": "/ztp/pointperfect-live/credentials",
    }


def test_Z12_an_ntrip_only_answer() -> None:
    assert parse("flex-ntrip-rtcm.json") == Credentials(
        service="flex",
        client_id=CLIENT_ID,
        mqtt=None,
        ntrip=NtripAccess(
            host="ppntrip.services.u-blox.com",
            username="synthUser001",
            password=Secret("synthPass001"),
            mountpoint="NEAR-RTCM",
            http_port=2101,
            https_port=2102,
        ),
        keys=(),
        answer=NTRIP,
    )


def test_Z12_an_mqtt_only_answer() -> None:
    found = parse("flex-mqtt-spartn.json")
    assert found.ntrip is None
    assert found.mqtt == MqttAccess(
        host="pp.services.u-blox.com",
        client_id=CLIENT_ID,
        certificate=MQTT["certificate"],
        private_key=Secret(MQTT["privateKey"]),
        topics=tuple(Topic(e["path"], e["description"]) for e in MQTT["subscriptions"]),
        port=8883,
    )
    assert len(found.mqtt.topics) == 23


def test_Z12_an_answer_with_both() -> None:
    found = parse("flex-both.json")
    assert found.mqtt
    assert found.ntrip
    assert found.ntrip.mountpoint == "NEAR-SPARTN"


def test_a_live_answer() -> None:
    found = ztp.parse_answer("live", (ANSWERS / "live-ntrip.json").read_bytes())
    assert found.service == "live"
    assert found.ntrip
    assert found.ntrip.host == "live-caster.example.invalid"


def test_Z07_the_answer_of_the_other_service_is_used_if_it_is_complete() -> None:
    assert ztp.parse_answer("flex", encoded(answer("live-ntrip.json"))).ntrip


@pytest.mark.parametrize("name", ["dynamickeys", "dynamicKeys"])
@pytest.mark.parametrize("as_text", [False, True])
def test_keys_are_read_with_either_spelling_and_from_either_type(name: str, as_text: bool) -> None:
    changed = copy.deepcopy(MQTT)
    changed[name] = changed.pop("dynamickeys")
    if as_text:
        for key in changed[name].values():
            key |= {"start": str(key["start"]), "duration": float(key["duration"])}
    current, following = ztp.parse_answer("flex", encoded(changed)).keys
    assert current.value.reveal() == "00112233445566778899aabbccddeeff"
    assert (current.start_ms, current.duration_ms) == (1794095982000, 2419199999)
    assert (following.start_ms, following.duration_ms) == (1796515182000, 3023999999)


def test_a_key_in_capitals_is_the_same_key() -> None:
    changed = copy.deepcopy(MQTT)
    for key in changed["dynamickeys"].values():
        key["value"] = key["value"].upper()
    assert ztp.parse_answer("flex", encoded(changed)).keys == parse("flex-mqtt-spartn.json").keys


@pytest.mark.parametrize("port", [2101, "2101", 2101.0])
def test_ports_are_read_from_numbers_and_texts(port: object) -> None:
    changed = copy.deepcopy(NTRIP)
    changed["rtcmCredentials"] |= {"httpPort": port, "httpsPort": None}
    found = ztp.parse_answer("flex", encoded(changed)).ntrip
    assert found
    assert (found.http_port, found.https_port) == (2101, None)


@pytest.mark.parametrize("where", [("ntripCredentials",), ("a", "b", 0, "c")])
def test_an_ntrip_account_is_found_wherever_it_is(where: tuple[Any, ...]) -> None:
    account = copy.deepcopy(NTRIP["rtcmCredentials"])
    for step in reversed(where):
        account = [account] if step == 0 else {step: account}
    found = ztp.parse_answer("flex", encoded({"clientId": CLIENT_ID} | account)).ntrip
    assert found
    assert found.username == "synthUser001"


def test_rtcmCredentials_is_preferred_to_any_other_account() -> None:
    other = NTRIP["rtcmCredentials"] | {"userName": "other"}
    found = ztp.parse_answer("flex", encoded({"aaa": other} | NTRIP)).ntrip
    assert found
    assert found.username == "synthUser001"


def test_an_account_without_mountpoint_leaves_it_to_the_configuration() -> None:
    changed = copy.deepcopy(NTRIP)
    del changed["rtcmCredentials"]["mountPoint"]
    found = ztp.parse_answer("flex", encoded(changed)).ntrip
    assert found
    assert found.mountpoint == ""


def test_Z09_unknown_fields_are_kept_and_not_looked_at() -> None:
    extra = {"plan": {"name": "x", "ports": [1, 2, None]}, "": True}
    found = ztp.parse_answer("flex", encoded(BOTH | extra))
    assert found.answer == BOTH | extra
    assert found.mqtt == parse("flex-both.json").mqtt


def test_a_stored_answer_is_read_as_the_received_one() -> None:
    received = parse("flex-both.json")
    assert ztp.parse_answer("flex", received.answer) == received


def test_a_byte_order_mark_is_no_reason_to_refuse() -> None:
    assert ztp.parse_answer("flex", b"\xef\xbb\xbf" + encoded(NTRIP)).ntrip


def test_the_portal_download_is_read_by_the_same_function() -> None:
    found = parse("portal-ucenter.json")
    assert found.client_id == CLIENT_ID
    assert found.mqtt
    assert (found.mqtt.host, found.mqtt.port) == ("pp.services.u-blox.com", 8883)
    assert [topic.path for topic in found.mqtt.topics] == [
        "/pp/ubx/0236/ip",
        "/pp/ubx/mga",
        "/pp/ip/eu",
        "/pp/ip/eu/gad",
        "/pp/ip/eu/hpac",
        "/pp/ip/eu/ocb",
        "/pp/ip/eu/clk",
    ]
    assert found.keys == parse("flex-both.json").keys
    assert found.answer["MQTT"]["Connectivity"]["ClientCredentials"]["RootCA"]


def test_the_portals_bare_base64_becomes_the_same_pem() -> None:
    imported, provisioned = parse("portal-ucenter.json").mqtt, parse("flex-both.json").mqtt
    assert imported
    assert provisioned
    assert imported.certificate == provisioned.certificate
    assert imported.private_key == provisioned.private_key


@pytest.mark.parametrize("uri", ["tcp://broker.example:1883", "broker.example", "ssl://h", 7, None])
def test_the_portals_broker_must_be_reached_by_tls(uri: object) -> None:
    changed = copy.deepcopy(PORTAL)
    changed["MQTT"]["Connectivity"]["ServerURI"] = uri
    with pytest.raises(ZtpSchema, match="ServerURI"):
        ztp.parse_answer("flex", encoded(changed))


@pytest.mark.parametrize("kind", ["mqtt", "ntrip"])
def test_an_answer_without_credentials_means_not_active_yet(kind: str) -> None:
    with pytest.raises(ZtpNotActive) as caught:
        parse(f"flex-{kind}-not-active-yet.json")
    assert caught.value.retry is Retry.SERVER


@pytest.mark.parametrize(
    "given",
    [{}, {"rtcmCredentials": None}, {"message": "hello"}, {"MQTT": {}}, [], None, "text", 7, True],
    ids=repr,
)
def test_what_is_no_answer_at_all_is_a_schema_error(given: object) -> None:
    with pytest.raises(ZtpSchema):
        ztp.parse_answer("flex", encoded(given))


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b'{"a":NaN}', b'{"a":1e999}', b'{"a":' + b"1" * 5000 + b"}"]
)
def test_what_is_not_sound_json_is_a_schema_error(raw: bytes) -> None:
    with pytest.raises(ZtpSchema):
        ztp.parse_answer("flex", raw)


@pytest.mark.parametrize("raw", [b"<html></html>", b"\n <!DOCTYPE html>", b"\xef\xbb\xbf<html>"])
def test_N13_a_web_page_with_status_200_is_a_captive_portal(raw: bytes) -> None:
    with pytest.raises(ZtpCaptivePortal):
        ztp.parse_answer("flex", raw)


def test_T9_a_name_that_occurs_twice_is_refused() -> None:
    raw = encoded(NTRIP).replace(b'"userName"', b'"password": "x", "userName"')
    with pytest.raises(ZtpSchema):
        ztp.parse_answer("flex", raw)


@pytest.mark.parametrize("depth", [17, 2_000, 100_000])
def test_T9_deep_nesting_is_refused(depth: int) -> None:
    raw = encoded(NTRIP)[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(ZtpSchema):
        ztp.parse_answer("flex", raw)


def test_T9_the_size_is_capped() -> None:
    padded = encoded(NTRIP) + b" " * ztp.BODY_LIMIT
    with pytest.raises(ZtpTooBig):
        ztp.parse_answer("flex", padded)


def test_T9_the_worst_answer_that_is_taken_needs_little_memory() -> None:
    widest = b"[" + b"[]," * (ztp.BODY_LIMIT // 3 - 10) + b"[]]"
    tracemalloc.start()
    with pytest.raises(ZtpSchema):
        ztp.parse_answer("flex", b'{"x":' + widest + b"}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16_000_000


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field in ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for step, below in inner:
        yield (*path, step)
        if isinstance(below, (dict, list)):
            yield from fields(below, (*path, step))


def with_field(value: Mapping[str, Any], path: tuple[Any, ...], new: Any) -> dict[str, Any]:
    """A copy of ``value`` with another field at ``path``; ``...`` takes it away."""
    changed: Any = copy.deepcopy(value)
    below = changed
    for step in path[:-1]:
        below = below[step]
    if new is ...:
        del below[path[-1]]
    else:
        below[path[-1]] = new
    assert isinstance(changed, dict)
    return changed


WRONG = [..., None, "", 0, -1, 7, True, 1e300, "x" * 300, "a\x00b", "ü\n", [], [0], {}, {"a": 1}]


@pytest.mark.parametrize("whole", [MQTT, NTRIP, PORTAL], ids=["mqtt", "ntrip", "portal"])
def test_Z08_one_wrong_field_is_a_typed_error_or_no_matter(whole: dict[str, Any]) -> None:
    before = ztp.parse_answer("flex", whole)
    for path in fields(whole):
        for wrong in WRONG:
            try:
                found = ztp.parse_answer("flex", encoded(with_field(whole, path, wrong)))
            except (ZtpNotActive, ZtpSchema):
                continue
            assert bool(found.mqtt) == bool(before.mqtt)
            assert bool(found.ntrip) == bool(before.ntrip)


@pytest.mark.parametrize("path", list(fields(MQTT)), ids=str)
def test_a_wrong_mqtt_field_leaves_ntrip_usable(path: tuple[Any, ...]) -> None:
    for wrong in WRONG:
        found = ztp.parse_answer("flex", encoded(with_field(BOTH, path, wrong)))
        assert found.ntrip == parse("flex-both.json").ntrip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_ntrip_field_leaves_mqtt_usable(wrong: object) -> None:
    for path in fields(NTRIP["rtcmCredentials"]):
        changed = with_field(BOTH, ("rtcmCredentials", *path), wrong)
        found = ztp.parse_answer("flex", encoded(changed))
        assert found.mqtt == parse("flex-both.json").mqtt


@pytest.mark.parametrize(
    ("path", "wrong", "named"),
    [
        (("brokerHost",), 7, "brokerHost"),
        (("certificate",), {}, "certificate"),
        (("privateKey",), "not a key!", "privateKey"),
        (("dynamickeys", "next", "value"), "00", "dynamickeys.next.value"),
        (("dynamickeys", "next", "start"), 1796515182, "dynamickeys.next.start"),
        (("dynamickeys", "current", "duration"), -1, "dynamickeys.current.duration"),
        (("subscriptions", 0, "path"), "a b", "subscriptions"),
    ],
)
def test_Z08_the_field_that_is_wrong_is_named(
    path: tuple[Any, ...], wrong: object, named: str
) -> None:
    with pytest.raises(ZtpSchema, match=named):
        ztp.parse_answer("flex", encoded(with_field(MQTT, path, wrong)))


def test_a_private_key_in_the_place_of_the_certificate_is_not_taken_for_one() -> None:
    swapped = MQTT | {"certificate": MQTT["privateKey"], "privateKey": MQTT["certificate"]}
    with pytest.raises(ZtpSchema, match="certificate"):
        ztp.parse_answer("flex", encoded(swapped))


NO_NAME = [
    "a b",
    "a\x00.example",
    "a\r\nHost: b",
    "-a.example",
    "a..example",
    "a.example/../../etc",
    "user@a.example",
    "a.example:443",
    "https://a.example",
    "ex ämple.com",
    "xn--" + "a" * 64 + ".example",
    "a." * 130 + "example",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "017700000001",
    "a.0x7f000001",
]


@pytest.mark.parametrize("host", NO_NAME)
def test_T9_a_host_that_is_no_host_name_is_refused(host: str) -> None:
    changed = with_field(NTRIP, ("rtcmCredentials", "endpoint"), host)
    with pytest.raises(ZtpSchema, match="endpoint"):
        ztp.parse_answer("flex", encoded(changed))


def pointing_to(host: str) -> Credentials:
    return ztp.parse_answer("flex", with_field(NTRIP, ("rtcmCredentials", "endpoint"), host))


PUBLIC = ["ppntrip.services.u-blox.com", "Caster.Example.COM.", "a-1.b_c.example"]
INNER = [
    "localhost",
    "caster",
    "caster.localhost",
    "caster.local",
    "router.home.arpa",
    "metadata.google.internal",
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "100.64.0.1",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
]
ADDRESSES = ["8.8.8.8", "2001:4860:4860::8888", "224.0.0.1"]
SERVICE = "api.thingstream.io"


@pytest.mark.parametrize("host", PUBLIC)
@pytest.mark.parametrize("service_host", [SERVICE, "localhost"])
def test_Z13_a_public_name_is_allowed(host: str, service_host: str) -> None:
    ztp.check_hosts(pointing_to(host), allowed_hosts=(), service_host=service_host)


@pytest.mark.parametrize("host", [*INNER, *ADDRESSES])
def test_Z13_T10_an_address_or_inner_name_is_refused(host: str) -> None:
    with pytest.raises(ZtpHostNotAllowed):
        ztp.check_hosts(pointing_to(host), allowed_hosts=(), service_host=SERVICE)


@pytest.mark.parametrize("host", INNER)
@pytest.mark.parametrize("service_host", ["localhost", "127.0.0.1", "::1", "10.0.0.1", "ztp.local"])
def test_a_private_service_may_name_private_hosts(host: str, service_host: str) -> None:
    ztp.check_hosts(pointing_to(host), allowed_hosts=(), service_host=service_host)


@pytest.mark.parametrize("host", ADDRESSES)
def test_a_private_service_may_not_name_public_addresses(host: str) -> None:
    with pytest.raises(ZtpHostNotAllowed):
        ztp.check_hosts(pointing_to(host), allowed_hosts=(), service_host="127.0.0.1")


@pytest.mark.parametrize(
    ("host", "allowed_hosts", "allowed"),
    [
        ("caster.example.com", ["caster.example.com"], True),
        ("caster.example.com", ["other.example", "Caster.Example.com"], True),
        ("caster.example.com", [".example.com"], True),
        ("10.1.2.3", ["10.1.2.3"], True),
        ("caster.example.com", ["example.com"], False),
        ("evilexample.com", [".example.com"], False),
        ("caster.example.com", ["other.example"], False),
    ],
)
def test_Z13_allowed_hosts_lists_all_that_is_allowed(
    host: str, allowed_hosts: list[str], allowed: bool
) -> None:
    credentials = pointing_to(host)
    if allowed:
        ztp.check_hosts(credentials, allowed_hosts=allowed_hosts, service_host=SERVICE)
    else:
        with pytest.raises(ZtpHostNotAllowed):
            ztp.check_hosts(credentials, allowed_hosts=allowed_hosts, service_host="localhost")


def test_every_host_of_an_answer_is_checked() -> None:
    credentials = ztp.parse_answer("flex", BOTH | {"brokerHost": "10.0.0.1"})
    with pytest.raises(ZtpHostNotAllowed, match=r"10\.0\.0\.1"):
        ztp.check_hosts(credentials, allowed_hosts=(), service_host=SERVICE)


def test_an_unknown_service_host_is_not_taken_for_a_private_one() -> None:
    with pytest.raises(ZtpHostNotAllowed):
        ztp.check_hosts(pointing_to("localhost"), allowed_hosts=(), service_host="")


CASES = {
    "already-registered": ZtpAlreadyRegistered,
    "no-plan": ZtpNoPlan,
    "not-whitelisted": ZtpNotListed,
    "malformed-body": ZtpRefused,
    "bad-token": ZtpTokenRefused,
    "profile-disabled": ZtpRefused,
    "hardware-code-missing": ZtpHardwareCode,
    "wrong-endpoint-for-token": ZtpNotFound,
    "rate-limited": ZtpThrottled,
    "server-error": ZtpServerError,
    "gateway": ZtpServerError,
}
ERRORS = json.loads((ANSWERS / "errors.json").read_bytes())


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row["case"])
@pytest.mark.parametrize("envelope", ["{}", '{{"message": "{}"}}', "<p>{}</p>"])
def test_every_refusal_known_or_likely(row: dict[str, Any], envelope: str) -> None:
    error = ztp.refusal(row["status"], {}, envelope.format(row["text"]).encode())
    assert type(error) is CASES[row["case"]]
    assert (error.retry is Retry.SERVER) == row["retry"]


def test_the_list_of_refusals_is_complete() -> None:
    assert {row["case"] for row in ERRORS} == set(CASES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("error-403-already-registered.json", ZtpAlreadyRegistered),
        ("error-403-no-plan.json", ZtpNoPlan),
        ("error-403-not-whitelisted.json", ZtpNotListed),
        ("error-403-not-whitelisted.txt", ZtpNotListed),
    ],
)
def test_Z01_Z02_Z04_the_refusals_that_are_known_by_their_words(
    name: str, kind: type[ZtpError]
) -> None:
    raw = (ANSWERS / name).read_bytes()
    assert type(ztp.refusal(403, {}, raw)) is kind
    assert type(ztp.refusal(403, {}, raw.upper())) is kind


def test_Z05_Z06_other_words_are_shown() -> None:
    error = ztp.refusal(403, {}, b"  The moon is in the wrong house\x1b[2J\n")
    assert type(error) is ZtpRefused
    assert error.detail == "status 403: The moon is in the wrong house.[2J"


@pytest.mark.parametrize("status", [400, 405, 411, 413, 415, 422, 499])
def test_N21_a_client_error_is_a_refusal(status: int) -> None:
    error = ztp.refusal(status, {}, b"no")
    assert type(error) is ZtpRefused
    assert error.exit_status == 76


def test_N22_401_is_about_the_token() -> None:
    assert type(ztp.refusal(401, {}, b"")) is ZtpTokenRefused


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 599])
def test_N23_a_server_error_is_worth_another_try(status: int) -> None:
    error = ztp.refusal(status, {}, b"Device hardware code not whitelisted")
    assert type(error) is ZtpServerError
    assert error.exit_status == 75


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_N20_a_redirect_is_named_and_not_followed(status: int) -> None:
    error = ztp.refusal(status, {"location": "https://evil.example/?t=\r\n1"}, b"<html>")
    assert type(error) is ZtpRedirect
    assert error.detail == f"status {status}: to https://evil.example/?t=..1"


@pytest.mark.parametrize("status", [407, 511])
def test_N13_a_login_on_the_way_is_a_captive_portal(status: int) -> None:
    assert type(ztp.refusal(status, {}, b"")) is ZtpCaptivePortal


@pytest.mark.parametrize(("raw", "kind"), [(b" <html>", ZtpCaptivePortal), (b"OK", ZtpSchema)])
def test_success_without_credentials(raw: bytes, kind: type[ZtpError]) -> None:
    assert type(ztp.refusal(200, {}, raw)) is kind


@pytest.mark.parametrize("status", [-1, 0, 100, 199, 600, 999])
def test_a_status_that_does_not_exist_is_a_schema_error(status: int) -> None:
    assert type(ztp.refusal(status, {}, b"")) is ZtpSchema


NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        (formatdate(NOW + 300, usegmt=True), 300.0),
        (formatdate(NOW - 300, usegmt=True), 0.0),
        ("1000000000", 86_400.0),
        ("9" * 5000, 86_400.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("-1", None),
        ("abc", None),
        ("1.5", None),
        ("\u0663", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_N24_retry_after(status: int, text: str, wait_s: float | None) -> None:
    error = ztp.refusal(status, {"retry-after": text}, b"", now=lambda: NOW)
    assert error.retry_after_s == wait_s


CANARIES = [
    Secret(TOKEN),
    Secret(BOTH["privateKey"]),
    Secret("synthPass001"),
    Secret("00112233445566778899aabbccddeeff"),
    Secret("ffeeddccbbaa99887766554433221100"),
]
PARTS = [*(c.reveal() for c in CANARIES), "MIIEpAIBAAKCAQEAzDIQJU", "PRIVATE KEY"]


def seen(error: BaseException | None) -> str:
    """All that a traceback or a debugger's view of ``error`` shows."""
    text = ""
    while error is not None:
        text += f"{error!s} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    return text


def test_credentials_do_not_print_their_secrets() -> None:
    for name in ("flex-both.json", "portal-ucenter.json"):
        found = parse(name)
        for part in PARTS:
            assert part not in f"{found} {found!r} {found.mqtt} {found.ntrip} {found.keys}"


@given(st.data())
def test_no_error_shows_a_secret_of_the_answer(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([BOTH, PORTAL]))
    raw = encoded(whole)
    cut = data.draw(st.integers(0, len(raw)))
    junk = data.draw(st.binary(max_size=4))
    shown = ""
    try:
        ztp.parse_answer("flex", raw[:cut] + junk + raw[cut + len(junk) :])
    except ZtpdError as error:
        shown = seen(error)
    assert not [part for part in PARTS if part in shown]


@given(
    st.integers(100, 599),
    st.text(max_size=60),
    st.text(max_size=220),
    st.sampled_from([TOKEN, TOKEN.upper(), encoded(BOTH["privateKey"]).decode()]),
)
def test_a_refusal_that_quotes_a_secret_is_scrubbed(
    status: int, before: str, after: str, secret: str
) -> None:
    raw = (before + secret + after).encode(errors="replace")
    headers = {"location": f"https://evil.example/?token={secret}"}
    shown = seen(ztp.refusal(status, headers, raw, secrets=CANARIES)).lower()
    for part in PARTS:
        assert part.lower() not in shown


def test_a_short_secret_does_not_tear_a_longer_one_apart() -> None:
    error = ztp.refusal(403, {}, TOKEN.encode(), secrets=[Secret(TOKEN[9:13]), Secret(TOKEN)])
    assert error.detail == "status 403: ***"


def test_the_words_of_a_refusal_are_cut() -> None:
    assert len(ztp.refusal(403, {}, b"a" * 100_000).detail) < 230


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [step for path in fields(BOTH) for step in path if isinstance(step, str)]
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
@example({"MQTT": {"Connectivity": None}})
@example({"MQTT": {"Connectivity": {"ServerURI": "ssl://a:0"}}})
@example({"rtcmCredentials": {"endpoint": "a", "userName": [1], "password": "c"}})
@example({"dynamickeys": {"current": {"start": float("inf")}}})
def test_any_json_is_credentials_or_a_typed_error(value: Any) -> None:
    with contextlib.suppress(ZtpError):
        assert isinstance(ztp.parse_answer("flex", encoded(value)), Credentials)
    if isinstance(value, dict):
        with contextlib.suppress(ZtpError):
            assert isinstance(ztp.parse_answer("live", value), Credentials)


@given(st.binary(max_size=300))
@example(b'{"a"')
def test_any_bytes_are_credentials_or_a_typed_error(raw: bytes) -> None:
    with contextlib.suppress(ZtpError):
        assert isinstance(ztp.parse_answer("flex", raw), Credentials)


@given(
    st.integers(-10, 1000),
    st.dictionaries(st.sampled_from(["retry-after", "location", "date"]), st.text(max_size=40)),
    st.binary(max_size=300),
)
def test_any_refusal_is_a_typed_error_fit_for_a_log(
    status: int, headers: dict[str, str], raw: bytes
) -> None:
    error = ztp.refusal(status, headers, raw, now=lambda: NOW)
    assert isinstance(error, ZtpError)
    assert str(error).isprintable()
    assert error.retry_after_s is None or 0 <= error.retry_after_s <= 86_400
