"""A page of any size shows as much as there is room for; nothing is wider than the terminal."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.cli.livepage import fitted, has_blocks

TEXT = """\
ztpd 0.2.0: \033[1;31mblocked\033[0m: there is no ZTP token in /etc/ztpd/token
          do  Give it one: `ztpd token set < token.txt`.

       state  blocked
"""
BELOW = "\n last 10 min  nothing\n"


def test_a_long_row_goes_on_below_its_text() -> None:
    assert fitted(TEXT, BELOW, 39, 24) == [
        "ztpd 0.2.0: \033[1;31mblocked\033[0m: there is no ZTP",
        "token in /etc/ztpd/token",
        "          do  Give it one: `ztpd token",
        "              set < token.txt`.",
        "",
        "       state  blocked",
        "",
        " last 10 min  nothing",
    ]


def test_a_page_without_room_says_how_much_is_hidden_and_keeps_the_part_below() -> None:
    lines = fitted("".join(f"line {number}\n" for number in range(30)), BELOW, 60, 24)
    assert len(lines) == 24
    assert lines[20:] == [
        "line 20",
        "... 9 more lines in a larger terminal",
        "",
        " last 10 min  nothing",
    ]


def test_a_very_small_page_begins_with_the_verdict() -> None:
    lines = fitted(TEXT, BELOW, 79, 3)
    assert lines[0].startswith("ztpd 0.2.0")
    assert lines[2] == "... 4 more lines in a larger terminal"


@given(
    st.text(st.characters(codec="latin-1", categories=("L", "P", "Zs")) | st.just("\n")),
    st.text(st.sampled_from(["a", " ", "\n"])),
    st.integers(1, 100),
    st.integers(1, 40),
)
def test_no_text_leaves_the_page(text: str, below: str, columns: int, rows: int) -> None:
    lines = fitted(text, below, columns, rows)
    assert len(lines) <= rows
    assert all(len(line) <= columns for line in lines)
    if not any("more lines"[:columns] in line for line in lines) and columns > 40:
        assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text + below)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LC_ALL": "de_DE.utf8"}, True),
        ({"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, False),
        ({"LC_CTYPE": "C.UTF-8"}, False),  # Python's own assumption
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ({}, False),
        ({"LANG": "en_GB.UTF-8", "TERM": "linux"}, False),
    ],
)
def test_block_characters_are_for_locales_and_terminals_that_have_them(
    environ: dict[str, str], expected: bool
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert has_blocks(stream, environ) is expected
    assert not has_blocks(io.TextIOWrapper(io.BytesIO(), encoding="ascii"), environ)
