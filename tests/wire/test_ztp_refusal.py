"""The meaning of an answer without credentials."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ANSWERS
from tests.support.ztp_answers import BOTH, CANARIES, PARTS, TOKEN, encoded, seen
from ztpd.errors import (
    Retry,
    ZtpAlreadyRegistered,
    ZtpBadAnswer,
    ZtpCaptivePortal,
    ZtpError,
    ZtpHardwareCode,
    ZtpNoPlan,
    ZtpNotFound,
    ZtpNotListed,
    ZtpRedirect,
    ZtpRefused,
    ZtpServerError,
    ZtpThrottled,
    ZtpTokenRefused,
)
from ztpd.model import Secret
from ztpd.wire import ztp

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
    "token-format": ZtpTokenRefused,
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
def test_N13_a_login_page_is_a_captive_portal(status: int) -> None:
    assert type(ztp.refusal(status, {}, b"")) is ZtpCaptivePortal


@pytest.mark.parametrize(("raw", "kind"), [(b" <html>", ZtpCaptivePortal), (b"OK", ZtpBadAnswer)])
def test_success_without_credentials(raw: bytes, kind: type[ZtpError]) -> None:
    assert type(ztp.refusal(200, {}, raw)) is kind


@pytest.mark.parametrize("status", [-1, 0, 100, 199, 600, 999])
def test_a_status_that_does_not_exist_is_a_schema_error(status: int) -> None:
    assert type(ztp.refusal(status, {}, b"")) is ZtpBadAnswer


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


@pytest.mark.parametrize("off_s", [-6 * 3600, 6 * 3600])
def test_N24_C02_a_date_is_one_of_the_services_clock(off_s: int) -> None:
    dates = {
        "retry-after": formatdate(NOW + 120, usegmt=True),
        "date": formatdate(NOW, usegmt=True),
    }
    error = ztp.refusal(503, dates, b"", now=lambda: NOW + off_s)
    assert error.retry_after_s == 120


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


@pytest.mark.parametrize("status", [206, 400, 409, 500])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: text[:250],
        lambda text: json.dumps({"message": "exists", "details": json.loads(text)}),
        lambda text: json.dumps({"body": text}),
        lambda text: "\ufeff" + text,
    ],
    ids=["whole", "cut", "in an envelope", "as a text", "BOM"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_Z18_credentials_in_a_failure_are_not_shown(
    status: int, wrap: Callable[[str], str], encoding: str
) -> None:
    fields = ("rtcmCredentials", "dynamickeys", "privateKey")
    for raw in (json.dumps({name: BOTH[name]}) for name in fields):
        shown = seen(ztp.refusal(status, {}, wrap(raw).encode(encoding)))
        for part in (*PARTS, "synth.Pass", "s.y.n.t.h.P"):
            assert part not in shown


def test_a_short_secret_does_not_tear_a_longer_one_apart() -> None:
    error = ztp.refusal(403, {}, TOKEN.encode(), secrets=[Secret(TOKEN[9:13]), Secret(TOKEN)])
    assert error.detail == "status 403: ***"


def test_the_words_of_a_refusal_are_cut() -> None:
    assert len(ztp.refusal(403, {}, b"a" * 100_000).detail) < 230


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


@pytest.mark.parametrize("body", [b'{"message": "It is raining", "id": 7}', b"It is raining"])
def test_of_an_envelope_only_the_sentence_is_shown(body: bytes) -> None:
    assert ztp.refusal(403, {}, body).detail == "status 403: It is raining"


@pytest.mark.parametrize("body", [b'{"message": 7}', b"[]", b"{", b"[" * 10_000, b"\xff"])
def test_a_body_without_an_envelope_is_shown_unchanged(body: bytes) -> None:
    assert ztp.refusal(403, {}, body).detail.startswith("status 403: ")


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (
            '{"errors":["token invalid token format"]}',
            ZtpTokenRefused,
            "token invalid token format",
        ),
        (
            '{"errors":[{"message":"token invalid token format"}]}',
            ZtpTokenRefused,
            "token invalid token format",
        ),
        ('{"errors":{"token":["invalid format"]}}', ZtpTokenRefused, "token invalid format"),
        ('{"error":"Invalid token"}', ZtpTokenRefused, "Invalid token"),
        ('{"error":{"message":"unknown token"}}', ZtpTokenRefused, "unknown token"),
        ('{"Message":"The token is not valid"}', ZtpTokenRefused, "The token is not valid"),
        ("token invalid token format", ZtpTokenRefused, "token invalid token format"),
        ('{"errors":["hardwareId is required"]}', ZtpHardwareCode, "hardwareId is required"),
        ('{"errors":["givenName too long"]}', ZtpRefused, "givenName too long"),
        (
            '{"errors":["Device hardware code not whitelisted"]}',
            ZtpNotListed,
            "Device hardware code not whitelisted",
        ),
        ('{"errors":["Device already registered"]}', ZtpAlreadyRegistered, "Device already"),
        ('{"errors":["No plan for device device:1"]}', ZtpNoPlan, "No plan for device"),
        ('{"errors":["a","b"],"message":"Bad Request"}', ZtpRefused, "Bad Request; a; b"),
        ('{"errors":[]}', ZtpRefused, '{"errors":[]}'),
        ('{"code":7}', ZtpRefused, '{"code":7}'),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 422])
def test_FR57_the_sentences_are_taken_out_of_their_envelope_and_known(
    status: int, raw: str, kind: type[ZtpError], words: str
) -> None:
    error = ztp.refusal(status, {}, raw.encode())
    assert type(error) is kind
    assert error.detail.startswith(f"status {status}: {words}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["errors", "message", "token", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([400, 403, 422]))
def test_FR57_any_envelope_gives_one_refusal_in_one_line(envelope: Any, status: int) -> None:
    error = ztp.refusal(status, {}, json.dumps(envelope).encode())
    assert isinstance(error, ZtpRefused)
    assert error.detail.isprintable()
    assert len(error.detail) <= 220
