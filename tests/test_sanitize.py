from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.sanitize import decoded, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  plain words \n", "plain words"),
        ("a\x00b\x1b[2Jc", "a.b.[2Jc"),
        ("two\r\nlines\u2028three", "two..lines.three"),
        ("\u202eturned", ".turned"),
        ("half \ud800 of a pair", "half . of a pair"),
        ("Grüße 🚜", "Grüße 🚜"),
    ],
)
def test_unprintable_characters_become_dots(text: str, shown: str) -> None:
    assert quoted(text) == shown


def test_long_texts_are_cut_visibly() -> None:
    assert quoted("abcdef", limit=4) == "abc…"
    assert quoted("abcd", limit=4) == "abcd"


@given(st.text(st.characters(), max_size=300))
def test_any_text_becomes_printable_and_short(text: str) -> None:
    shown = quoted(text, limit=100)
    assert shown.isprintable()
    assert len(shown) <= 100
    shown.encode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_FR34_a_text_is_read_with_and_without_a_byte_order_mark(text: str, marked: bool) -> None:
    data = text.removeprefix("\ufeff").encode()
    assert decoded(b"\xef\xbb\xbf" * marked + data) == data.decode()


@given(st.binary())
def test_FR34_bytes_that_are_no_text_are_refused_without_showing_them(data: bytes) -> None:
    try:
        text = decoded(data)
    except ValueError as error:
        text, reason = None, str(error)
    if text is None:
        known = r"is UTF-16: save it as UTF-8|is no UTF-8 text, from byte \d+ on"
        assert re.fullmatch(known, reason)
    else:
        assert text.encode() == data.removeprefix(b"\xef\xbb\xbf")
