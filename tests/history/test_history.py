"""24 hours of samples in little memory, and their way to another process."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory import size_bytes
from ztpd.history import transfer
from ztpd.history.columns import COLUMNS, EVERY_S, LENGTH, Sample, Signals
from ztpd.history.ring import MOST_KINDS, MOST_NAMES, OTHER, HistoryRing
from ztpd.model import Carrier, Fix
from ztpd.report.gather import history_rows
from ztpd.wire.ubx import Antenna, Jamming, Spoofing

DAY_SAMPLES = 8640
FIX = Fix(True, 47.2851234, -8.5654321, 410.123, 47.0, 0.014, 21, Carrier.FIXED, True, 2.0, None)


def busy(number: int) -> Sample:
    """A gateway whose every value changes, with as many kinds as a ring takes."""
    return Sample(
        at_s=number * EVERY_S,
        state=("streaming", "connecting")[number % 2],
        session=number // 360,
        channel=f"ntrip caster-{number // 5000 % 8}.example:2102",
        cause=f"session.cause_{number // 100 % 40}",
        use="used",
        fix=("RTK fixed", "RTK float", "3D")[number % 3],
        accuracy_m=0.01 + number % 100,
        satellites=number % 40,
        correction_age_s=number % 90,
        frame_age_s=0.3,
        bytes=3_000 + number % 7,
        frames={f"{1000 + kind}": number % 11 for kind in range(MOST_KINDS)},
        signals=Signals(Antenna.OK, Jamming.NONE, Spoofing.NONE, (44, 38, 20 + number % 20)),
        position=FIX,
    )


def fetched(ring: HistoryRing, *, now_s: float = 0.0, unix_s: float = 0.0) -> transfer.HistoryData:
    """As over the socket: every answer is a line of JSON."""

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if request:
            answer = {"series": transfer.series(ring, request["column"], request["until"])}
        else:
            answer = {"history": transfer.contents(ring, now_s=now_s, unix_s=unix_s)}
        line = json.dumps(answer)
        assert len(line) < 65_536, "an answer is soon made and soon sent"
        return dict(json.loads(line))

    return transfer.fetch(ask)


def test_the_ring_holds_24_hours_at_ten_seconds() -> None:
    assert LENGTH * EVERY_S == 24 * 3600


def test_24_hours_take_less_than_a_mebibyte_and_two_days_no_more() -> None:
    ring = HistoryRing()
    for number in range(DAY_SAMPLES):
        ring.add(busy(number))
    day_bytes = size_bytes(ring)
    assert day_bytes < 1 << 20
    for number in range(DAY_SAMPLES, 2 * DAY_SAMPLES):
        ring.add(busy(number))
    assert size_bytes(ring) <= day_bytes + 8192


@pytest.mark.slow
def test_a_month_of_samples_is_flat() -> None:
    ring = HistoryRing()
    for number in range(2 * DAY_SAMPLES):
        ring.add(busy(number))
    before_bytes = size_bytes(ring)
    for number in range(2 * DAY_SAMPLES, 30 * DAY_SAMPLES):
        ring.add(busy(number))
    assert size_bytes(ring) <= before_bytes + 8192
    assert ring.count == 30 * DAY_SAMPLES


def test_a_sample_comes_out_as_it_went_in() -> None:
    ring = HistoryRing()
    ring.add(
        Sample(
            at_s=100.0,
            state="streaming",
            session=3,
            channel="ntrip caster.example:2102",
            use="used",
            fix="RTK fixed",
            accuracy_m=0.014,
            satellites=21,
            correction_age_s=2.0,
            frame_age_s=0.4,
            bytes=1234,
            frames={"1077": 10, "1006": 1},
            signals=Signals(Antenna.OK, Jamming.WARNING, Spoofing.NONE, (48, 34, 41)),
            position=FIX,
        )
    )
    ring.add(Sample(at_s=110.0, state="waiting", cause="net.timeout"))
    found = fetched(ring, now_s=110.0, unix_s=1_800_000_010.0)
    assert found.unix_s == (1_800_000_000.0, 1_800_000_010.0)
    assert found.texts["state"] == ("streaming", "waiting")
    assert found.texts["channel"] == ("ntrip caster.example:2102", "")
    assert found.texts["cause"] == ("", "net.timeout")
    assert found.texts["fix"] == ("RTK fixed", "unknown")
    expected = {
        "accuracy_m": 0.014,
        "satellites": 21,
        "correction_age_s": 2.0,
        "frame_age_s": 0.4,
        "antenna": Antenna.OK,
        "jamming": Jamming.WARNING,
        "cno_median_dbhz": 41,
        "cno_best_dbhz": 48,
        "received": 3,
        "received_well": 2,
        "lat_deg": 47.2851234,
        "lon_deg": -8.5654321,
        "height_m": 410.123,
    }
    for name, value in expected.items():
        first, second = found.numbers[name]
        assert first == pytest.approx(value, abs=1e-9), name
        assert second is None, name
    assert found.numbers["session"] == (3, 0)
    assert found.numbers["bytes"] == (1234, 0)
    assert found.kinds == {"1077": (10, 0), "1006": (1, 0)}


def test_no_session_gets_the_number_that_stands_for_none() -> None:
    ring = HistoryRing()
    for number in (0, 1, 0xFFFE, 0xFFFF, 0x10000):
        ring.add(Sample(at_s=100.0, session=number))
    assert fetched(ring).numbers["session"] == (0, 1, 0xFFFE, 1, 2)


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 45))
def test_the_newest_samples_are_kept_in_their_order(length: int, count: int, until: int) -> None:
    ring = HistoryRing(length)
    for number in range(count):
        ring.add(Sample(at_s=number, frames={"1077": number, f"kind{number % 3}": 1}))
    kept = [number for number in range(max(0, count - length), count) if number < until]
    assert list(ring.read("at_s", until)) == kept
    for kind in ring.kinds:
        wanted = [number if kind == "1077" else int(kind == f"kind{number % 3}") for number in kept]
        assert list(ring.read(kind, until)) == wanted


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 15))
def test_of_the_last_samples_only_those_and_only_these_columns_are_fetched(
    length: int, count: int, last: int
) -> None:
    ring = HistoryRing(length)
    for number in range(count):
        ring.add(Sample(at_s=number, satellites=number, fix=f"fix {number}", frames={"1077": 1}))
    asked: list[dict[str, Any]] = []

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        if not request:
            return {"history": transfer.contents(ring, now_s=0.0, unix_s=0.0)}
        return {"series": transfer.series(ring, **{"name": request.pop("column")} | request)}

    found = transfer.fetch(ask, only=("fix", "satellites"), last=last)
    kept = range(max(0, count - min(last, length)), count)
    assert found.unix_s == found.numbers.get("satellites", ()) == tuple(kept)
    assert found.texts.get("fix", ()) == tuple(f"fix {number}" for number in kept)
    assert found.kinds == {}
    assert len(asked) == 4


def test_a_sample_that_comes_between_two_requests_moves_nothing() -> None:
    ring = HistoryRing(5)
    for number in range(5):
        ring.add(Sample(at_s=number, satellites=number))

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if not request:
            return {"history": transfer.contents(ring, now_s=0.0, unix_s=0.0)}
        if request["column"] == "satellites":
            ring.add(Sample(at_s=99, satellites=99))
        return {"series": transfer.series(ring, request["column"], request["until"])}

    found = transfer.fetch(ask)
    assert found.unix_s == found.numbers["satellites"] == (1, 2, 3, 4)


def test_values_beyond_their_field_are_the_largest_that_it_holds() -> None:
    ring = HistoryRing()
    ring.add(Sample(at_s=0, accuracy_m=1e9, satellites=400, correction_age_s=1e6, bytes=1 << 40))
    found = fetched(ring).numbers
    assert found["satellites"] == (254,)
    assert found["correction_age_s"] == (6553.4,)
    assert found["bytes"] == ((1 << 32) - 2,)


_KINDS = [f"kind{number}" for number in range(2 * MOST_KINDS)]


@given(st.lists(st.dictionaries(st.sampled_from(_KINDS), st.integers(0, 3)), max_size=8))
def test_no_message_is_left_out_whatever_kinds_come_in_one_sample(
    samples: list[dict[str, int]],
) -> None:
    samples = [dict.fromkeys(_KINDS[: MOST_KINDS - 1], 1), *samples]
    ring = HistoryRing(2)
    for number, frames in enumerate(samples):
        ring.add(Sample(at_s=number, frames=frames))
        kept = [sum(each.values()) for each in samples[max(0, number - 1) : number + 1]]
        series = [ring.read(kind, ring.count) for kind in ring.kinds]
        assert [sum(counts) for counts in zip(*series, strict=True)] == kept


def test_kinds_and_texts_without_number_do_not_grow_the_ring() -> None:
    ring = HistoryRing(100)
    for number in range(2 * MOST_NAMES):
        ring.add(Sample(at_s=number, cause=f"cause{number}", frames={f"kind{number}": 1}))
    found = fetched(ring)
    assert len(ring.kinds) <= MOST_KINDS + 1
    assert len(ring.names("cause")) <= MOST_NAMES
    assert found.texts["cause"] == tuple(f"cause{number}" for number in range(400, 500))
    assert sum(found.kinds[OTHER]) + sum(map(sum, found.kinds.values())) >= 100


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text() | st.none(), max_size=5))
def test_an_answer_that_is_no_history_is_an_empty_one(answer: dict[str, Any]) -> None:
    assert len(transfer.fetch(lambda _: {"history": answer})) == 0
    assert len(transfer.fetch(lambda _: answer)) == 0


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("unix_s", 10**400),
        ("unix_s", float("nan")),
        ("unix_s", float("-inf")),
        ("unix_s", 1e15),
        ("kinds", [str(number) for number in range(60_000)]),
        ("kinds", [["x"], None]),
        ("columns", ["at_s"]),
        ("columns", [["at_s"], {}, *(each.name for each in COLUMNS)]),
        ("data", "A"),
        ("data", "no base64 \u00e9"),
        ("data", None),
        ("data", base64.b64encode(bytes(700_000)).decode()),
        ("names", ["\x1b[2J" + "x" * 50_000] * 250),
        ("names", [["x"], None]),
    ],
)
def test_FR89_the_history_of_a_daemon_that_was_taken_over_is_read_within_bounds(
    part: str, value: Any
) -> None:
    ring = HistoryRing()
    ring.add(busy(1))
    asked = 0

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if "column" not in request:
            found = transfer.contents(ring, now_s=0.0, unix_s=1.8e9)
            return {"history": found | ({part: value} if part in found else {})}
        answer = transfer.series(ring, request["column"], 1)
        return {"series": answer | ({part: value} if part in answer else {})}

    def counted(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return ask(request) if known(request) else {}

    for column in ("fix", "accuracy_m"):
        few = transfer.fetch(counted, only=(column,))
        assert not len(few) or column in few.texts or column in few.numbers
    found = transfer.fetch(counted)
    assert asked < 100
    assert len(found) <= LENGTH
    assert set(found.texts) == {each.name for each in COLUMNS if each.is_text} or not len(found)
    text = "".join(cell for row in history_rows(found, with_position=True) for cell in row[:20])
    assert "\x1b" not in text
    assert len(text) < 10_000_000


def known(request: dict[str, Any]) -> bool:
    names = [each.name for each in COLUMNS] + [str(1000 + kind) for kind in range(MOST_KINDS)]
    return request.get("column", "at_s") in names
