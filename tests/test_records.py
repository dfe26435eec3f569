"""Named tuples from JSON that another version, or an enemy, has written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd import records


class Part(NamedTuple):
    name: str
    size: int = 7


class Whole(NamedTuple):
    text: str = "default"
    number: int = 1
    share: float = 0.5
    flag: bool = False
    maybe: float | None = None
    counts: Mapping[str, int] = {}
    names: tuple[str, ...] = ()
    part: Part = Part("none")
    parts: tuple[Part, ...] = ()


FULL = Whole("t", 2, 0.25, True, 1.5, {"a": 1}, ("b",), Part("c", 3), (Part("d", 4),))


def test_a_record_comes_back_as_it_was() -> None:
    assert records.from_json(Whole, records.to_json(FULL)) == FULL


@pytest.mark.parametrize("data", [None, [], "text", 3, {}, {"unknown": 1}])
def test_data_that_is_no_record_gives_the_defaults(data: Any) -> None:
    assert records.from_json(Whole, data) == Whole()


@pytest.mark.parametrize(
    "data",
    [
        {"text": 1},
        {"number": "1"},
        {"number": True},
        {"number": 10**400},
        {"number": -(2**60)},
        {"share": float("inf")},
        {"share": float("nan")},
        {"share": 10**400},
        {"flag": 1},
        {"maybe": []},
        {"counts": []},
        {"counts": {"a": None}},
        {"names": "text"},
        {"names": [1, None]},
        {"part": []},
        {"parts": {"name": "x"}},
        {"parts": [1, []]},
    ],
)
def test_FR89_a_field_of_the_wrong_type_or_too_large_gives_its_default(data: Any) -> None:
    assert records.from_json(Whole, data) == Whole()


def test_a_field_without_a_default_gives_the_zero_of_its_type() -> None:
    assert records.from_json(Part, {"name": 3}) == Part("", 7)


def test_an_absent_value_may_be_null() -> None:
    assert records.from_json(Whole, {"maybe": None}).maybe is None


def test_FR88_texts_come_out_in_one_printable_line() -> None:
    found = records.from_json(Whole, {"text": "a\x1b[2J\nb\u202ec", "names": ["\x07"]})
    assert found.text == "a.[2J.b.c"
    assert found.names == (".",)


def test_a_long_text_is_cut() -> None:
    assert len(records.from_json(Whole, {"text": "x" * 100_000}).text) == 2000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(list(records.to_json(FULL))), inner)
    ),
)


@given(JSON)
def test_FR89_any_input_gives_a_record_that_can_be_written(data: Any) -> None:
    found = records.from_json(Whole, data)
    assert isinstance(found, Whole)
    assert records.from_json(Whole, json.loads(json.dumps(records.to_json(found)))) == found
