"""The request of a gateway to the provisioning service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.ztp_answers import TOKEN
from ztpd.errors import ConfigError, ZtpTokenMalformed, ZtpTokenMissing
from ztpd.model import Secret
from ztpd.wire import ztp


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
