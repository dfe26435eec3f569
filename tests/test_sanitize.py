from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.sanitize import quoted


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
