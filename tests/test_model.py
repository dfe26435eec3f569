"""Values: the IMEI as TS 23.003 has it, secrets that cannot be seen, GPS time."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.errors import ImeiInvalid
from ztpd.model import (
    Carrier,
    Credentials,
    DynamicKey,
    Fix,
    Identity,
    Imei,
    MqttAccess,
    MqttEndpoint,
    NtripAccess,
    NtripEndpoint,
    Secret,
    StoredCredentials,
    fingerprint,
    luhn_digit,
    utc,
)

VALID = [
    "490154203237518",
    "352656100367872",
    "357520070120767",
    "867732039762018",
    "358480084593450",
    "260531793113837",  # the worked example of TS 23.003 annex B, completed
]


@pytest.mark.parametrize("digits", VALID)
def test_an_imei_is_taken_as_it_is(digits: str) -> None:
    assert Imei.normalise(digits) == (Imei(digits), "")


def test_the_check_digit_is_that_of_the_worked_example() -> None:
    assert luhn_digit("26053179311383") == "7"


def test_a_spare_digit_0_is_replaced_by_the_check_digit() -> None:
    imei, note = Imei.normalise("357520070120760")
    assert imei.digits == "357520070120767"
    assert "spare digit" in note


@pytest.mark.parametrize("digits", VALID)
def test_14_digits_get_their_check_digit(digits: str) -> None:
    imei, note = Imei.normalise(digits[:14])
    assert imei.digits == digits
    assert "computed" in note


@pytest.mark.parametrize("version", ["00", "17", "99"])
def test_an_imeisv_loses_its_software_version(version: str) -> None:
    imei, note = Imei.normalise("49015420323751" + version)
    assert imei.digits == "490154203237518"
    assert "IMEISV" in note


def test_17_digits_lose_their_software_version() -> None:
    imei, note = Imei.normalise("490154203237518" + "42")
    assert imei.digits == "490154203237518"
    assert "17 digits" in note


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("123456789012345", id="check digit should be 7"),
        pytest.param("001100110011002", id="check digit should be 1"),
        pytest.param("888888888888888", id="one digit repeated"),
        pytest.param("000000000000000", id="zeros pass the check"),
        pytest.param("00000000000000", id="14 zeros"),
        pytest.param("11111111111111", id="14 ones"),
        pytest.param("0000000000000000", id="16 zeros"),
        pytest.param("00000000000000000", id="17 zeros"),
        pytest.param("49015420323751842"[:14] + "942", id="17 digits, check digit wrong"),
        pytest.param("", id="empty"),
        pytest.param("4901542032375", id="13 digits"),
        pytest.param("490154203237518421", id="18 digits"),
        pytest.param("A0000012345678", id="MEID"),
        pytest.param("49015420323751A", id="a letter"),
        pytest.param("490154 03237518", id="a blank"),
        pytest.param("490154203237518\n", id="line end"),
        pytest.param("٤٩٠١٥٤٢٠٣٢٣٧٥١٨", id="digits that are not ASCII"),
        pytest.param("0fa4e7c2-5b8d-4c1e-9a1b-000000000000", id="UUID"),
    ],
)
def test_M06_other_texts_than_imeis_are_refused(text: str) -> None:
    with pytest.raises(ImeiInvalid):
        Imei.normalise(text)


def test_only_the_normal_form_makes_an_imei() -> None:
    for text in ("49015420323751", "357520070120760", "4901542032375100", "49015420323751x"):
        with pytest.raises(ImeiInvalid):
            Imei(text)


@given(st.text(max_size=20))
def test_any_text_is_an_imei_or_refused(text: str) -> None:
    try:
        imei, _ = Imei.normalise(text)
    except ImeiInvalid:
        return
    assert Imei.normalise(imei.digits) == (imei, "")


def test_an_imei_prints_masked() -> None:
    imei = Imei("490154203237518")
    for text in (str(imei), repr(imei), f"{imei}", f"{imei!r:>30}", str(Identity(imei, "test"))):
        assert "203237" not in text
        assert text.strip() == "49015420*****18"


def test_a_date_beyond_the_end_of_a_32_bit_clock_is_one() -> None:
    assert utc(2_524_607_999) == datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert utc(1e15).year == 9999


def test_a_fingerprint_shows_a_change_and_no_secret() -> None:
    mark = fingerprint(Secret("one"), "host", 1)

    assert mark == fingerprint(Secret("one"), "host", 1)
    assert mark != fingerprint(Secret("two"), "host", 1)
    assert mark != fingerprint(Secret("one"), "host", 2)
    assert len(mark) == 8
    assert fingerprint("\ud800")


def test_the_hardware_id_is_the_whole_imei_or_the_fixed_text() -> None:
    assert Identity(Imei("490154203237518"), "test").hardware_id == "490154203237518"
    assert Identity(None, "configuration", fixed="gw-7").hardware_id == "gw-7"
    assert str(Identity(None, "configuration", fixed="gw-7")) == "gw-7"


CANARY = "canary-3f9c"


def test_a_secret_never_prints() -> None:
    secret = Secret(CANARY)
    ways = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret:>40}",
        f"{[secret]} { ({'k': secret}) }",
        "%s %r" % (secret, secret),  # noqa: UP031
        "{} {!r}".format(secret, secret),  # noqa: UP032
    ]
    assert CANARY not in "".join(ways)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY), protocol)


def test_a_secret_is_not_copied_into_plain_data() -> None:
    with pytest.raises(TypeError):
        copy.deepcopy(Secret(CANARY))
    with pytest.raises(TypeError):
        json.dumps({"token": Secret(CANARY)})
    with pytest.raises(TypeError):
        copy.deepcopy(MqttEndpoint("host", password=Secret(CANARY)))


def test_a_secret_has_no_dictionary() -> None:
    assert not hasattr(Secret(CANARY), "__dict__")


def test_secrets_compare_by_their_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a")
    assert not Secret("")


def _credentials() -> Credentials:
    return Credentials(
        service="flex",
        client_id="client",
        mqtt=MqttAccess("host", "client", "certificate", Secret(CANARY + "-key"), ()),
        ntrip=NtripAccess("host", "user", Secret(CANARY + "-password"), "MOUNT"),
        keys=(DynamicKey(Secret(CANARY + "-dynamic"), 0, 0),),
        answer={"privateKey": CANARY},
    )


def test_credentials_print_without_secrets() -> None:
    credentials = _credentials()
    assert CANARY not in repr(credentials)
    assert CANARY not in repr(StoredCredentials(credentials, "490154203237518", "board", 0))
    assert CANARY not in repr(NtripEndpoint("host", 2102, "MOUNT", password=Secret(CANARY)))
    assert CANARY not in repr(MqttEndpoint("host", private_key=Secret(CANARY)))


def test_credentials_list_all_their_secrets() -> None:
    reported = {secret.reveal() for secret in _credentials().secrets()}
    assert reported == {CANARY + "-key", CANARY + "-password", CANARY + "-dynamic"}


@pytest.mark.parametrize(
    ("start_ms", "week", "tow_s"),
    [
        (1676159982000, 2249, 0),
        (1661558382000, 2224, 518400),  # the key of a published sample of the service's answer
        (1676159981000, 2248, 604799),
    ],
)
def test_C08_a_key_starts_at_gps_time(start_ms: int, week: int, tow_s: int) -> None:
    assert DynamicKey(Secret("00" * 16), start_ms, 2419199999).gps_time == (week, tow_s)


def test_gps_time_agrees_with_the_calendar() -> None:
    sunday = datetime(2024, 4, 28, tzinfo=UTC)  # GPS week 2312 began 18 s before that midnight
    start_ms = int(sunday.timestamp() * 1000)
    assert DynamicKey(Secret("00" * 16), start_ms, 1).gps_time == (2312, 18)


@pytest.mark.parametrize(
    ("ok", "carrier", "differential", "three_d", "label"),
    [
        (False, Carrier.FIXED, True, True, "no fix"),
        (True, Carrier.FIXED, True, True, "RTK fixed"),
        (True, Carrier.FLOAT, True, True, "RTK float"),
        (True, Carrier.NONE, True, True, "DGNSS"),
        (True, Carrier.NONE, False, True, "3D"),
        (True, Carrier.NONE, False, False, "2D"),
    ],
)
def test_a_fix_is_named_by_the_best_that_is_true(
    ok: bool, carrier: Carrier, differential: bool, three_d: bool, label: str
) -> None:
    fix = Fix(
        ok=ok,
        lat_deg=0,
        lon_deg=0,
        height_m=0,
        geoid_m=0,
        accuracy_m=1,
        satellites=9,
        carrier=carrier,
        differential=differential,
        correction_age_s=None,
        utc=None,
        three_d=three_d,
    )
    assert fix.label == label
