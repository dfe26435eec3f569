"""Bytes and hours by day: their sums, and their file."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.relay_bench import MQTT, NTRIP, SPARTN
from tests.support.virtualtime import run
from ztpd.model import Frame, SourceEndpoint
from ztpd.relay.metering import FILE, TrafficMeter
from ztpd.relay.traffic import Traffic, TrafficRecord, month_of, total
from ztpd.sources import Session
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter
from ztpd.wire.frames import Counts

HOUR_S, DAY_S = 3600.0, 86_400.0
NOON_UNIX_S = datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()
DAY = date(2026, 12, 1)
RATE = 170  # bytes a second


@pytest.mark.parametrize(
    ("today", "begins_on", "first", "following"),
    [
        ("2026-11-29", 1, "2026-11-01", "2026-12-01"),
        ("2026-12-01", 1, "2026-12-01", "2027-01-01"),
        ("2026-11-14", 15, "2026-10-15", "2026-11-15"),
        ("2026-11-15", 15, "2026-11-15", "2026-12-15"),
        ("2027-01-05", 28, "2026-12-28", "2027-01-28"),
        ("2028-03-01", 28, "2028-02-28", "2028-03-28"),
    ],
)
def test_a_month_begins_on_its_day(today: str, begins_on: int, first: str, following: str) -> None:
    found = month_of(date.fromisoformat(today), begins_on)
    assert found == (date.fromisoformat(first), date.fromisoformat(following))


@given(st.dates(date(2026, 1, 1), date(2199, 1, 1)), st.integers(1, 28))
def test_months_follow_one_another_without_a_gap(today: date, begins_on: int) -> None:
    first, following = month_of(today, begins_on)
    assert first <= today < following
    assert month_of(following, begins_on)[0] == following
    assert month_of(following - timedelta(days=1), begins_on)[0] == first


def test_traffic_without_a_date_counts_at_once_and_is_of_the_day_that_the_clock_then_shows() -> (
    None
):
    record = TrafficRecord()
    record.add(None, "a", Traffic(5, 5.0))
    first, following = month_of(DAY, 1)
    assert total(record.between(first, following)) == Traffic(5, 5.0)

    record.date_is(DAY)
    record.date_is(DAY + timedelta(days=1))
    assert record.of_day(DAY) == {"a": Traffic(5, 5.0)}
    assert total(record.between(first, following)) == Traffic(5, 5.0)


def test_days_and_names_without_end_cost_bounded_room() -> None:
    record = TrafficRecord()
    for number in range(100):
        record.add(DAY + timedelta(days=number), "a", Traffic(1, 1.0))
        record.add(DAY, str(number), Traffic(1, 1.0))
    document = record.to_json()
    assert len(document["days"]) == 70
    last = TrafficRecord()
    for number in range(100):
        last.add(DAY, str(number), Traffic(1, 1.0))
    assert len(last.of_day(DAY)) <= 17
    assert total(last.of_day(DAY)).bytes == 100


def test_days_that_a_wrong_clock_has_made_push_out_none_of_this_month() -> None:
    record = TrafficRecord()
    for number in range(60):  # as many starts without a clock, each with another date
        record.add(DAY + timedelta(days=1000 * number + 1000), "a", Traffic(1, 1.0))
    record = read_again(record)
    for number in range(30):
        record.add(DAY + timedelta(days=number), "a", Traffic(1, 1.0))
    record = read_again(record)
    month = record.between(DAY, DAY + timedelta(days=30))
    assert month["a"] == Traffic(30, 30.0)


def read_again(record: TrafficRecord) -> TrafficRecord:
    again = TrafficRecord()
    again.merge(record.to_json())
    return again


counts = st.builds(Traffic, st.integers(0, 2**40), st.floats(0, DAY_S))
days = st.dictionaries(st.dates(), st.dictionaries(st.text("ab:/.1"), counts), max_size=9)


@given(days)
def test_what_is_written_is_read_again(written: dict[date, dict[str, Traffic]]) -> None:
    record, again = TrafficRecord(), TrafficRecord()
    for day, channels in written.items():
        for name, traffic in channels.items():
            record.add(day, name, traffic)
    again.merge(json.loads(json.dumps(record.to_json())))
    for day in written:
        assert total(again.of_day(day)).bytes == total(record.of_day(day)).bytes


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
odd_days = st.dictionaries(st.sampled_from(["2026-12-01", "2026-13-01", "", "x"]), anything)


@given(anything | st.fixed_dictionaries({"days": odd_days | anything, "undated": anything}))
def test_a_damaged_file_counts_as_far_as_it_goes(document: object) -> None:
    record = TrafficRecord()
    record.add(DAY, "a", Traffic(5, 5.0))
    record.merge(document)
    found = total(record.of_day(DAY))
    assert found.bytes >= 5
    assert found.session_s >= 5.0
    json.dumps(record.to_json(), allow_nan=False)


class SteadySession:
    """``RATE`` bytes a second; its connection costs as much again."""

    where, sample = "steady", b""

    def __init__(self, *, tells: bool = True) -> None:
        self._began_s, self._tells = _now(), tells

    @property
    def counts(self) -> Counts:
        counts = Counts()
        counts.bytes = int((_now() - self._began_s) * RATE)
        return counts

    @property
    def ip_bytes(self) -> int | None:
        return 2 * self.counts.bytes if self._tells else None

    def __aiter__(self) -> SteadySession:
        return self

    async def __anext__(self) -> Frame:
        return SPARTN


class MeterBench:
    """A meter with its disk and clocks, in virtual time."""

    def __init__(self, top: Path) -> None:
        self.unix_s = NOON_UNIX_S - _now()  # of the loop's time 0
        self.writes: list[float] = []
        self.path = top / FILE
        self.clock = Clock(now=lambda: self.unix_s + _now(), monotonic=_now)
        self.start()

    def start(self) -> None:
        self.disk = _Disk(self.writes)
        self.meter = TrafficMeter(self.path, self.disk, self.clock)
        self._open = self.meter.metered(self._session)

    @asynccontextmanager
    async def _session(self, endpoint: SourceEndpoint) -> AsyncIterator[Session]:
        yield SteadySession(tells=endpoint is not MQTT)

    async def works(self, for_s: float, endpoint: SourceEndpoint = NTRIP) -> None:
        """A session that lasts ``for_s``, and the daemon's heartbeat."""
        until_s = _now() + for_s
        async with self._open(endpoint):
            while _now() < until_s:
                self.meter.update()
                await asyncio.sleep(min(10.0, until_s - _now()))

    def month(self) -> Traffic:
        found = self.meter.month(1)
        assert found is not None
        return total(found.by_channel)


class _Disk(DiskWriter):
    def __init__(self, writes: list[float]) -> None:
        super().__init__(lambda path, error: None)
        self._writes = writes

    def write(self, path: Path, content: bytes | None) -> None:
        self._writes.append(_now())
        super().write(path, content)


def _now() -> float:
    return asyncio.get_running_loop().time()


def on_bench(top: Path, scenario: Callable[[MeterBench], Awaitable[None]]) -> None:
    async def play() -> None:
        bench = MeterBench(top)
        await bench.meter.load()
        await scenario(bench)
        await bench.disk.written()

    run(play())


def test_a_session_counts_its_seconds_and_the_bytes_of_its_connection(tmp_path: Path) -> None:
    async def scenario(bench: MeterBench) -> None:
        await bench.works(100.0)
        await asyncio.sleep(50.0)
        await bench.works(20.0, MQTT)
        month = bench.meter.month(1)
        assert month is not None
        assert month.by_channel[NTRIP.label] == Traffic(2 * RATE * 100, 100.0)
        assert month.by_channel[MQTT.label] == Traffic(RATE * 20, 20.0), "the stream's alone"
        assert month.today == month.by_channel

    on_bench(tmp_path, scenario)


def test_midnight_and_the_end_of_a_month_divide_a_session(tmp_path: Path) -> None:
    async def scenario(bench: MeterBench) -> None:
        bench.unix_s -= DAY_S  # the last day of November
        await bench.works(DAY_S)
        assert bench.month().session_s == pytest.approx(DAY_S / 2, abs=10.0)
        both = bench.meter.month(2)
        assert both is not None
        assert both.first == date(2026, 11, 2)
        assert total(both.by_channel).session_s == DAY_S

    on_bench(tmp_path, scenario)


def test_it_is_written_once_an_hour_and_at_an_orderly_stop(tmp_path: Path) -> None:
    async def scenario(bench: MeterBench) -> None:
        await bench.works(5 * HOUR_S + 60)
        assert len(bench.writes) == 5
        assert min(b - a for a, b in zip(bench.writes, bench.writes[1:], strict=False)) >= HOUR_S
        bench.meter.save()
        await bench.disk.written()
        before = bench.month()
        bench.start()
        await bench.meter.load()
        assert bench.month() == before
        bench.meter.save()
        assert len(bench.writes) == 6, "nothing new, nothing written"
        assert bench.path.stat().st_mode & 0o777 == 0o600

    on_bench(tmp_path, scenario)


def test_trips_of_less_than_an_hour_that_end_with_the_power_count_in_part(tmp_path: Path) -> None:
    async def scenario(bench: MeterBench) -> None:
        for _ in range(10):
            await bench.works(HOUR_S / 2)
            await bench.disk.written()
            await asyncio.sleep(HOUR_S / 4)
            bench.start()
            await bench.meter.load()
        assert bench.month().session_s >= 5 * 600.0
        pairs = zip(bench.writes, bench.writes[1:], strict=False)
        assert min(after_s - before_s for before_s, after_s in pairs) >= HOUR_S

    on_bench(tmp_path, scenario)


def test_trips_that_begin_with_the_clock_of_an_earlier_day_count_in_part(tmp_path: Path) -> None:
    """Without a clock chip: the network sets the clock a minute after each start."""

    async def scenario(bench: MeterBench) -> None:
        right = bench.unix_s
        for _ in range(10):
            bench.unix_s = right - _now()
            bench.start()
            await bench.meter.load()
            await bench.works(60.0)
            bench.unix_s = right
            await bench.works(HOUR_S / 2)
            await bench.disk.written()
            await asyncio.sleep(8 * HOUR_S)
        bench.start()
        await bench.meter.load()
        assert bench.month().session_s >= 10 * 600.0
        assert len(bench.writes) == 10

    on_bench(tmp_path, scenario)


def test_a_gateway_without_a_session_writes_nothing(tmp_path: Path) -> None:
    async def scenario(bench: MeterBench) -> None:
        for _ in range(1000):
            bench.meter.update()
            await asyncio.sleep(10.0)
        bench.meter.save()
        assert bench.writes == []

    on_bench(tmp_path, scenario)


def test_twenty_power_cuts_at_random_moments_lose_an_hour_each_at_most(tmp_path: Path) -> None:
    dice = random.Random(19)

    async def scenario(bench: MeterBench) -> None:
        true_s = kept_s = 0.0
        for _ in range(20):
            on_s = dice.uniform(60.0, 4 * HOUR_S)
            await bench.works(on_s)
            await bench.disk.written()
            bench.start()  # nothing but the disk is left of the meter before
            await bench.meter.load()
            true_s += on_s
            after_s = bench.month().session_s
            assert kept_s + on_s - HOUR_S - 10 <= after_s <= kept_s + on_s
            kept_s = after_s
        assert kept_s > true_s / 2
        assert bench.month().bytes == pytest.approx(kept_s * 2 * RATE, rel=0.001)

    on_bench(tmp_path, scenario)


def test_a_clock_in_1970_moves_nothing_into_another_month(tmp_path: Path) -> None:
    async def scenario(bench: MeterBench) -> None:
        right = bench.unix_s
        await bench.works(HOUR_S)
        bench.meter.save()
        await bench.disk.written()
        bench.unix_s = -_now()  # a reboot, without a clock chip
        bench.start()
        await bench.meter.load()
        await bench.works(2 * HOUR_S)
        assert bench.meter.month(1) is None
        bench.meter.save()
        await bench.disk.written()
        bench.start()  # and another one before the network came
        await bench.meter.load()
        await bench.works(600.0)
        bench.unix_s = right
        await bench.works(600.0)
        assert bench.month().session_s == pytest.approx(3 * HOUR_S + 1200, abs=10)
        bench.meter.save()
        await bench.disk.written()
        assert list(json.loads(bench.path.read_bytes())["days"]) == [DAY.isoformat()]

    on_bench(tmp_path, scenario)


def test_a_file_that_was_not_read_so_far_is_neither_overwritten_nor_ignored(
    tmp_path: Path,
) -> None:
    async def scenario(bench: MeterBench) -> None:
        await bench.works(HOUR_S)
        bench.meter.save()
        await bench.disk.written()
        before = bench.path.read_bytes()
        bench.start()
        await bench.works(2 * HOUR_S)
        assert bench.meter.month(1) is None
        bench.meter.save()
        await bench.disk.written()
        assert bench.path.read_bytes() == before
        await bench.meter.load()
        assert bench.month().session_s == 3 * HOUR_S

    on_bench(tmp_path, scenario)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 60_000, b'{"days": {"x": 1}}'])
def test_an_odd_file_begins_a_new_count(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)

    async def scenario(bench: MeterBench) -> None:
        await bench.works(HOUR_S)
        assert bench.month() == Traffic(int(2 * RATE * HOUR_S), HOUR_S)

    on_bench(tmp_path, scenario)


def test_the_file_holds_days_and_names_alone(tmp_path: Path) -> None:
    async def scenario(bench: MeterBench) -> None:
        await bench.works(HOUR_S + 60)
        await bench.disk.written()
        document: dict[str, Any] = json.loads(bench.path.read_bytes())
        assert set(document) == {"schema", "days", "undated", "written_unix_s"}
        assert set(document["days"][DAY.isoformat()]) == {NTRIP.label}

    on_bench(tmp_path, scenario)
