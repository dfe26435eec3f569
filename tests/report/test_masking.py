"""What the filter of the archive takes out, and what it lets through."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.config import load
from ztpd.model import Secret
from ztpd.report.masking import LEFT_OUT, Masking
from ztpd.wire import ubxcfg, ubxkeys
from ztpd.wire.redaction import holds_position

SECRETS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=4, max_size=40)


@given(SECRETS)
def test_a_secret_is_masked_in_every_form_of_a_file(secret: str) -> None:
    masking = Masking(with_position=True)
    masking.hide([Secret(secret)])
    for written in (
        secret,
        html.escape(secret),
        json.dumps(secret)[1:-1],
        html.escape(json.dumps(secret, ensure_ascii=False)[1:-1]),
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
    ):
        assert masking.mask(f"\n{written}\n") == "\n***\n"


def test_the_lines_of_a_private_key_are_masked_one_by_one() -> None:
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
    masking = Masking(with_position=True)
    masking.hide([Secret(f"-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n")])
    assert line not in masking.mask(f"a log of {line} alone")


def test_a_password_behind_a_link_is_masked_though_its_service_is_not_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    (tmp_path / "words").write_text("open sesame\n")
    (tmp_path / "password").symlink_to("words")
    file = tmp_path / "ztpd.toml"
    file.write_text(f'[mqtt]\nusername = "u"\npassword_file = "{tmp_path}/password"\n')
    masking = Masking(with_position=True)
    masking.hide_own(load(file))
    assert masking.mask("the words open sesame") == "the words ***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at 52.5200001, -13.4050001", "at *, *"),
        ("$GNGGA,120000.00,5231.2,N,01324.3,E,4*5A", LEFT_OUT),
        ("no pp/ip/L2N4775E00850/gad", "no pp/ip/*/gad"),
        ("IMEI 490154203237518", "IMEI 49015420*****18"),
        ("age 2.041 s, version 1.32, 10.0.0.1, 0x20910006", None),
        ("2026-11-29T08:00:00+00:00", None),
    ],
)
def test_places_and_whole_imeis_are_masked_and_other_numbers_stay(
    text: str, masked: str | None
) -> None:
    assert Masking(with_position=False).mask(text) == (text if masked is None else masked)


def test_places_stay_where_they_are_wanted() -> None:
    text = "at 52.5200001, -13.4050001, pp/ip/L2N4775E00850/gad"
    assert Masking(with_position=True).mask(text) == text


def test_receiver_settings_that_hold_a_position_are_known() -> None:
    held = {name for name, key in ubxkeys.KEYS.items() if holds_position(key)}
    assert {"CFG-TMODE-LAT", "CFG-TMODE-ECEF_X", "CFG-GEOFENCE-FENCE1_LON"} <= held
    assert not holds_position(ubxcfg.KEYS["CFG-TMODE-MODE"])
    assert not holds_position(ubxcfg.KEYS["CFG-RATE-MEAS"])
