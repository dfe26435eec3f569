"""The format of a recording: whole, in pieces, cut anywhere, damaged."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.wire import recording
from ztpd.wire.recording import ReadRecording, Record, RecordingParser, RecordKind

ABOUT = {"begun": "2026-11-29T10:00:00+00:00", "version": "1.0", "position": False, "receiver": ""}
RECORDS = st.lists(
    st.builds(
        Record,
        st.integers(0, 9_999_999).map(lambda ms: ms / 1000),
        st.sampled_from(RecordKind),
        st.binary(max_size=200),
    ),
    max_size=12,
).map(lambda found: sorted(found, key=lambda each: each.at_s))


def encoded(records: list[Record]) -> bytes:
    return recording.header(ABOUT) + b"".join(each.encode() for each in records)


def read_or_words(data: bytes) -> ReadRecording | str:
    try:
        return recording.read(data)
    except ValueError as error:
        return str(error)


def test_the_format_is_text_around_the_bytes() -> None:
    whole = encoded(
        [
            Record(0.0, RecordKind.FROM_RECEIVER, b"$GNTXT,hi\r\n"),
            Record.event(1.5, "session-ended"),
        ]
    )
    assert whole == (
        b"ztpd recording 1\n"
        b'{"begun": "2026-11-29T10:00:00+00:00", "version": "1.0", "position": false, '
        b'"receiver": ""}\n'
        b"< 0.000 11\n$GNTXT,hi\r\n\n"
        b'! 1.500 26\n{"event": "session-ended"}\n'
    )


@given(RECORDS)
def test_what_is_written_is_read(records: list[Record]) -> None:
    for data in (encoded(records), recording.write(ABOUT, records)):
        found = recording.read(data)
        assert (found.about, list(found.records), found.is_cut) == (ABOUT, records, False)


@given(RECORDS, st.data())
def test_a_recording_that_is_cut_has_all_records_before_the_cut(
    records: list[Record], data: st.DataObject
) -> None:
    parts = [recording.header(ABOUT), *(each.encode() for each in records)]
    whole = b"".join(parts)
    cut = data.draw(st.integers(len(parts[0]), len(whole)))
    ends = [sum(map(len, parts[: count + 1])) for count in range(len(parts))]
    found = recording.read(whole[:cut])
    assert list(found.records) == records[: sum(end <= cut for end in ends) - 1]
    assert found.is_cut == (cut not in ends)


@given(RECORDS, st.integers(0, 10_000))
def test_a_compressed_recording_that_is_cut_has_a_beginning_of_it(
    records: list[Record], at: int
) -> None:
    whole = recording.write(ABOUT, records)
    found = read_or_words(whole[: at % len(whole)])
    if isinstance(found, str):
        assert found in ("it ends before its first record", "it is no recording of ztpd")
    else:
        assert list(found.records) == records[: len(found.records)]
        assert found.is_cut


@given(RECORDS, st.randoms(use_true_random=False))
def test_pieces_of_any_size_make_no_difference(records: list[Record], rng: random.Random) -> None:
    parser, whole, found = RecordingParser(), encoded(records), []
    while whole:
        size = rng.randrange(1, 40)
        found += parser.feed(whole[:size])
        whole = whole[size:]
    assert found == records
    assert parser.pending == 0


@given(st.binary(max_size=400))
def test_garbage_is_refused_in_words_or_waits_and_never_else(data: bytes) -> None:
    for begin in (b"", recording.MAGIC, recording.header(ABOUT), b"\x1f\x8b\x08\x00"):
        found = read_or_words(begin + data)
        if isinstance(found, str):
            assert found.startswith(("it ", "its ", "unpacked "))
        else:
            assert len(found.records) * 10 <= len(data)


@given(RECORDS, st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_noticed_or_within_the_bytes_of_a_record(
    records: list[Record], at: int, change: int
) -> None:
    whole = bytearray(encoded(records))
    whole[at % len(whole)] ^= change
    try:
        found = recording.read(bytes(whole))
    except ValueError:
        return
    assert len(found.records) <= len(records) + sum(len(each.data) for each in records)


def test_another_version_is_named() -> None:
    with pytest.raises(ValueError, match="version '2' of the format, this ztpd reads 1"):
        recording.read(b"ztpd recording 2\n{}\n")


def test_damage_is_placed_by_time() -> None:
    good = encoded([Record(12.25, RecordKind.FROM_RECEIVER, b"abc")])
    with pytest.raises(ValueError, match=r"it is damaged behind 12\.2 s"):
        recording.read(good + b"x" * 40)


def test_what_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_BYTES", 1 << 20)
    bomb = zlib.compress(recording.header(ABOUT) + bytes(1 << 21), wbits=31)
    with pytest.raises(ValueError, match="unpacked it has more than 1 MiB"):
        recording.read(bomb)


@pytest.mark.parametrize(("at_s", "size"), [(-1, 0), (1e9, 0), (0, 65_536)])
def test_a_record_out_of_range_is_not_written(at_s: float, size: int) -> None:
    with pytest.raises(ValueError, match="no record takes"):
        Record(at_s, RecordKind.EVENT, bytes(size)).encode()
