"""Varlink messages, whole and in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.wire.varlink import REPLY_LIMIT, ReplyReader, VarlinkError, VarlinkReply, encode_call

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner),
    max_leaves=5,
)
PARAMETERS = st.dictionaries(st.text(max_size=9), JSON, max_size=4)


def read(message: bytes, *cuts: int) -> VarlinkReply | None:
    reader, places = ReplyReader(), [0, *sorted(cut % (len(message) + 1) for cut in cuts)]
    for begin, end in zip(places, [*places[1:], len(message)], strict=True):
        if found := reader.feed(message[begin:end]):
            return found
    return None


@given(PARAMETERS)
def test_a_call_is_one_json_object_and_a_nul(parameters: dict[str, Any]) -> None:
    message = encode_call("io.systemd.Credentials.Encrypt", parameters)

    assert message.index(0) == len(message) - 1
    expected = {"method": "io.systemd.Credentials.Encrypt", "parameters": parameters}
    assert json.loads(message[:-1]) == expected


@given(PARAMETERS, st.sampled_from(["", "io.systemd.System"]), st.lists(st.integers(0, 9999)))
def test_a_reply_is_read_however_it_is_cut(
    parameters: dict[str, Any], error: str, cuts: list[int]
) -> None:
    message = json.dumps({"error": error, "parameters": parameters}).encode() + b"\0"

    assert read(message, *cuts) == VarlinkReply(error, parameters)
    assert read(message[:-1], *cuts) is None, "the NUL ends it"


def test_absent_parts_are_empty() -> None:
    assert read(b"{}\0") == VarlinkReply("", {})
    assert read(b'{"parameters":null,"error":null}\0') == VarlinkReply("", {})


@given(st.binary(max_size=200), st.lists(st.integers(0, 9999), max_size=5))
def test_arbitrary_bytes_give_a_reply_an_error_or_nothing(data: bytes, cuts: list[int]) -> None:
    def result(*cuts: int) -> object:
        try:
            return read(data, *cuts)
        except VarlinkError as error:
            return str(error)

    assert result(*cuts) == result()


@pytest.mark.parametrize(
    "message",
    [b"", b"[]", b"1", b"\xff", b"{", b'{"error":1}', b'{"parameters":[1]}', b"[" * 100_000],
)
def test_another_form_is_an_error_that_repeats_nothing(message: bytes) -> None:
    with pytest.raises(VarlinkError) as caught:
        read(message + b"\0")
    assert caught.value.__cause__ is None
    assert "{" not in str(caught.value)


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_a_reply_that_is_too_long_is_given_up(end: bytes) -> None:
    reader = ReplyReader()
    assert reader.feed(b" " * REPLY_LIMIT) is None
    with pytest.raises(VarlinkError, match="too long"):
        reader.feed(b" " + end)


def test_secret_parameters_are_not_printed() -> None:
    assert "hunter2" not in repr(VarlinkReply("", {"data": "hunter2"}))
