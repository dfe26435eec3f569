"""The credentials read from an answer, whole, partial or damaged."""

from __future__ import annotations

import contextlib
import copy
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import ANSWERS
from tests.support.ztp_answers import (
    BOTH,
    CLIENT_ID,
    MQTT,
    NTRIP,
    PARTS,
    PORTAL,
    TOKEN,
    answer,
    encoded,
    fields,
    parse,
    seen,
    with_field,
)
from ztpd.errors import (
    Retry,
    ZtpBadAnswer,
    ZtpCaptivePortal,
    ZtpdError,
    ZtpError,
    ZtpNotActive,
    ZtpTooBig,
)
from ztpd.model import Credentials, MqttAccess, NtripAccess, Secret, Topic
from ztpd.wire import ztp


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


def test_Z09_unknown_fields_are_kept_and_ignored() -> None:
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
    with pytest.raises(ZtpBadAnswer, match="ServerURI"):
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
def test_data_that_is_no_answer_is_a_schema_error(given: object) -> None:
    with pytest.raises(ZtpBadAnswer):
        ztp.parse_answer("flex", encoded(given))


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b'{"a":NaN}', b'{"a":1e999}', b'{"a":' + b"1" * 5000 + b"}"]
)
def test_invalid_json_is_a_schema_error(raw: bytes) -> None:
    with pytest.raises(ZtpBadAnswer):
        ztp.parse_answer("flex", raw)


@pytest.mark.parametrize("raw", [b"<html></html>", b"\n <!DOCTYPE html>", b"\xef\xbb\xbf<html>"])
def test_N13_a_web_page_with_status_200_is_a_captive_portal(raw: bytes) -> None:
    with pytest.raises(ZtpCaptivePortal):
        ztp.parse_answer("flex", raw)


def test_T9_a_name_that_occurs_twice_is_refused() -> None:
    raw = encoded(NTRIP).replace(b'"userName"', b'"password": "x", "userName"')
    with pytest.raises(ZtpBadAnswer):
        ztp.parse_answer("flex", raw)


@pytest.mark.parametrize("depth", [17, 2_000, 100_000])
def test_T9_deep_nesting_is_refused(depth: int) -> None:
    raw = encoded(NTRIP)[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(ZtpBadAnswer):
        ztp.parse_answer("flex", raw)


def test_T9_the_size_is_capped() -> None:
    padded = encoded(NTRIP) + b" " * ztp.BODY_LIMIT
    with pytest.raises(ZtpTooBig):
        ztp.parse_answer("flex", padded)


def test_T9_the_worst_answer_that_is_taken_needs_little_memory() -> None:
    widest = b"[" + b"[]," * (ztp.BODY_LIMIT // 3 - 10) + b"[]]"
    tracemalloc.start()
    with pytest.raises(ZtpBadAnswer):
        ztp.parse_answer("flex", b'{"x":' + widest + b"}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16_000_000


WRONG = [..., None, "", 0, -1, 7, True, 1e300, "x" * 300, "a\x00b", "ü\n", [], [0], {}, {"a": 1}]


@pytest.mark.parametrize("whole", [MQTT, NTRIP, PORTAL], ids=["mqtt", "ntrip", "portal"])
def test_Z08_one_wrong_field_is_a_typed_error_or_no_matter(whole: dict[str, Any]) -> None:
    before = ztp.parse_answer("flex", whole)
    for path in fields(whole):
        for wrong in WRONG:
            try:
                found = ztp.parse_answer("flex", encoded(with_field(whole, path, wrong)))
            except (ZtpNotActive, ZtpBadAnswer):
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
    with pytest.raises(ZtpBadAnswer, match=named):
        ztp.parse_answer("flex", encoded(with_field(MQTT, path, wrong)))


def test_a_private_key_in_the_place_of_the_certificate_is_not_taken_for_one() -> None:
    swapped = MQTT | {"certificate": MQTT["privateKey"], "privateKey": MQTT["certificate"]}
    with pytest.raises(ZtpBadAnswer, match="certificate"):
        ztp.parse_answer("flex", encoded(swapped))


def test_credentials_do_not_print_their_secrets() -> None:
    for name in ("flex-both.json", "portal-ucenter.json"):
        found = parse(name)
        for part in PARTS:
            assert part not in f"{found} {found!r} {found.mqtt} {found.ntrip} {found.keys}"


@pytest.mark.parametrize("secret", ["synthPass001", TOKEN, "00112233445566778899aabbccddeeff"])
def test_no_error_shows_the_name_of_an_unknown_field(secret: str) -> None:
    nested: dict[str, Any] = {"x": {secret: {secret: []}}}
    twice = encoded({secret: 1, "?": 2}).replace(b"?", secret.encode())
    for raw in (encoded({secret: secret}), encoded(nested), encoded([nested]), twice):
        with pytest.raises(ZtpBadAnswer) as caught:
            ztp.parse_answer("flex", raw)
        assert secret not in seen(caught.value)


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
