"""Streams of other formats are named, and streams of ours never are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.sim.caster_answers import FOREIGN
from ztpd.wire.foreign import format_name, is_text
from ztpd.wire.frames import rtcm_frame, spartn_frame
from ztpd.wire.sourcetable import Sourcetable, sourcetable


@pytest.mark.parametrize(
    ("stream", "name"), [("cmr", "CMR"), ("rtcm2", "RTCM 2"), ("nmea", "NMEA")]
)
def test_FR27_the_formats_of_other_mountpoints_are_recognised(stream: str, name: str) -> None:
    data = FOREIGN[stream] * 3
    assert format_name(data) == name
    assert format_name(data[17:]) == name, "joined in the middle"


def test_FR27_a_sentence_is_text() -> None:
    assert format_name("Votre abonnement a expir\u00e9.".encode()) == "text"
    assert format_name(b"<html><body>Log in</body></html>") == "text"


@given(st.binary(max_size=2000))
def test_any_bytes_have_a_name_or_none(data: bytes) -> None:
    assert format_name(data) in ("", "NMEA", "CMR", "RTCM 2", "text")
    assert is_text(data) in (True, False)


@given(st.lists(st.binary(min_size=4, max_size=200), min_size=3, max_size=10))
def test_frames_of_ours_are_no_text_and_no_rtcm_2(payloads: list[bytes]) -> None:
    for make in (rtcm_frame, lambda data: spartn_frame(0, 0, data, time_tag=1)):
        assert format_name(b"".join(map(make, payloads))) not in ("text", "RTCM 2")


@given(
    st.lists(st.from_regex(rb"STR;[A-Z0-9]{1,8};[a-z;]{0,20}", fullmatch=True), max_size=20),
    st.integers(1, 50),
    st.booleans(),
)
def test_FR29_a_table_in_pieces_has_the_mountpoints_of_the_whole(
    lines: list[bytes], step: int, ends: bool
) -> None:
    text = b"".join(line + b"\r\n" for line in lines) + (b"ENDSOURCETABLE" if ends else b"")
    wanted = "BASE1"
    table = Sourcetable(wanted)
    for at in range(0, len(text), step):
        table.feed(text[at : at + step])
    names = {entry.name for entry in sourcetable(text)}
    assert set(table.names) == {name.upper() for name in names}
    assert table.lists_wanted is (wanted in names)
    assert table.complete is ends
