"""Streams without corrections, with bytes between them, and receivers that go away."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.support.relay_bench import HOUR_S, MQTT, NTRIP, RTCM, SPARTN, RelayBench, Script, steady
from tests.support.virtualtime import run
from ztpd.errors import (
    FormatExcluded,
    PortAbsent,
    ReceiverNotSet,
    SessionEmpty,
    SessionStale,
    SessionUnreadable,
    ZtpdError,
)
from ztpd.lifecycle import Event
from ztpd.model import MqttEndpoint, SourceEndpoint, Topic
from ztpd.sim.caster_answers import FOREIGN
from ztpd.wire.frames import Counts

NMEA = FOREIGN["nmea"]


def bench_with(sample: bytes, octets: int, script: Script, skipped: int = 0) -> RelayBench:
    bench = RelayBench(ntrip=[script])
    before = bench.service.open

    def open_it(endpoint: SourceEndpoint) -> Any:
        return _Sampled(before(endpoint), sample, octets, skipped)

    bench.service.open = open_it  # type: ignore[method-assign]
    return bench


class _Sampled:
    def __init__(self, inner: Any, sample: bytes, octets: int, skipped: int) -> None:
        self._inner, self._sample = inner, sample
        self._octets, self._skipped = octets, skipped

    async def __aenter__(self) -> Any:
        session = await self._inner.__aenter__()
        session.sample = self._sample
        session.counts = _Growing(self._octets, self._skipped)
        return session

    async def __aexit__(self, *error: object) -> None:
        await self._inner.__aexit__(*error)


class _Growing(Counts):
    """Skipped bytes grow with the time, as in a stream that has some between its frames."""

    __slots__ = ("_rate",)

    def __init__(self, octets: int, rate: int) -> None:
        super().__init__()
        self.bytes = octets
        self._rate = rate

    def __getattribute__(self, name: str) -> Any:
        if name == "skipped_bytes":
            rate: int = object.__getattribute__(self, "_rate")
            return int(asyncio.get_running_loop().time()) * rate
        return object.__getattribute__(self, name)


def ends_with(bench: RelayBench, **given: Any) -> ZtpdError:
    relay = bench.runs(100, NTRIP, **given)
    error = relay.channels[0].error
    assert error is not None
    return error


@pytest.mark.parametrize(("name", "found"), [("cmr", "CMR"), ("rtcm2", "RTCM 2"), ("nmea", "NMEA")])
def test_FR27_bytes_of_another_format_are_named(name: str, found: str) -> None:
    error = ends_with(bench_with(FOREIGN[name] * 4, 4500, Script()))

    assert isinstance(error, SessionUnreadable)
    assert f"4500 bytes came, none of them SPARTN or RTCM 3, but {found}: " in str(error)
    assert "check the mountpoint's format" in str(error)
    assert error.needs_person


def test_FR27_bytes_of_no_known_format_are_counted() -> None:
    error = ends_with(bench_with(bytes(range(128, 256)) * 4, 9000, Script()))

    assert isinstance(error, SessionUnreadable)
    assert "9000 bytes came, none of them SPARTN or RTCM 3: check" in str(error)


def test_FR27_silence_and_a_few_bytes_are_no_format() -> None:
    assert isinstance(ends_with(bench_with(b"", 0, Script())), SessionStale)
    assert isinstance(ends_with(bench_with(b"\x80" * 20, 20, Script())), SessionStale)


def test_FR26_words_before_a_close_are_no_format() -> None:
    words = Script(ends=SessionEmpty('x; it said "No base near you, sorry, none at all"'))
    error = ends_with(bench_with(b"No base near you, sorry, none at all. " * 2, 76, words))
    assert isinstance(error, SessionEmpty)


@pytest.mark.parametrize(
    ("format", "frame", "sent", "wanted"),
    [("spartn", RTCM, "RTCM 3", "SPARTN"), ("rtcm", SPARTN, "SPARTN", "RTCM 3")],
)
def test_FR63_a_format_that_the_configuration_excludes_is_named(
    format: str, frame: Any, sent: str, wanted: str
) -> None:
    bench = RelayBench(ntrip=[Script([(1, frame)] * 100)])
    error = ends_with(bench, format=format)

    assert isinstance(error, FormatExcluded)
    assert f"sends {sent}, and [corrections] format" in str(error)
    assert f"lets only {wanted} through" in str(error)
    assert bench.receiver.got == []


@pytest.mark.parametrize(("sample", "named"), [(NMEA, True), (b"\r\n" * 40, False)])
def test_FR33_bytes_between_frames_are_logged_once_and_then_a_sum_each_day(
    sample: bytes, named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench = bench_with(sample, 100, steady(60 * HOUR_S), skipped=2)
    with caplog.at_level(logging.WARNING):
        bench.runs(50 * HOUR_S, NTRIP)

    lines = [
        record.getMessage()
        for record in caplog.records
        if "part of a valid frame" in record.getMessage()
    ]
    assert len(lines) == 3
    assert lines[0].startswith("120 bytes in the last minute")
    assert "in the last day" in lines[1]
    assert int(lines[1].split()[0]) == pytest.approx(2 * 86_400, rel=0.01)
    assert all(("NMEA" in line) is named for line in lines)


def offer(*paths: str, region: str = "auto") -> MqttEndpoint:
    topics = tuple(Topic(path) for path in paths)
    return MqttEndpoint(host="broker.example", topics=topics, topics_offered=True, region=region)


@pytest.mark.parametrize(
    ("endpoint", "waits"),
    [
        (offer("/pp/ip/eu", "/pp/ip/us"), True),
        (offer("/pp/ip/eu", "/pp/ip/us", region="eu"), False),
        (offer("/pp/ip/eu", "/pp/ubx/mga", "/pp/ubx/0236/ip"), False),
        (offer("/pp/ip/eu", "/pp/ip/eu/gad", "/pp/ip/eu/hpac"), False),
        (MQTT, False),
    ],
    ids=["several regions", "region set", "one region", "one region in parts", "own topics"],
)
def test_FR111_a_position_is_waited_for_only_where_the_region_depends_on_it(
    endpoint: MqttEndpoint, waits: bool
) -> None:
    bench = RelayBench(mqtt=[steady(100)])
    bench.runs(80, endpoint)

    assert bench.service.opened[0][0] == (60 if waits else 0)


def away(bench: RelayBench, from_s: float, for_s: float, until_s: float) -> None:
    """Run a relay whose receiver is unplugged for a while."""
    relay = bench.relay(NTRIP)

    async def scenario() -> None:
        async with asyncio.timeout(until_s), asyncio.TaskGroup() as group:
            group.create_task(relay.run())
            await asyncio.sleep(from_s)
            bench.receiver.ready, bench.receiver.error = False, PortAbsent("/dev/gnss")
            await asyncio.sleep(for_s)
            bench.receiver.ready, bench.receiver.error = True, None

    with pytest.raises(TimeoutError):
        run(scenario())


def test_FR113_the_session_is_closed_while_the_receiver_is_unplugged() -> None:
    bench = RelayBench(ntrip=[steady(10 * HOUR_S)])
    away(bench, 100, 3 * HOUR_S, 4 * HOUR_S)

    opened_s = bench.service.opened_as("ntrip")
    assert len(opened_s) == 2
    assert opened_s[1] == pytest.approx(100 + 3 * HOUR_S, abs=2)
    delivered_meanwhile = 4 * HOUR_S - 3 * HOUR_S
    assert len(bench.receiver.got) < delivered_meanwhile + 70
    assert bench.reports.entries[2:] == [
        (Event.BACKOFF, PortAbsent.code),
        (Event.ENDED, f"closed, because the receiver is away ({PortAbsent('/dev/gnss')})"),
        (Event.BACKOFF, PortAbsent.code),
        (Event.CONNECT, "ntrip caster.example:2102"),
        (Event.FIRST_FRAME, "SPARTN from ntrip://caster.example"),
    ]


def test_FR113_a_receiver_that_is_back_within_a_minute_keeps_its_session() -> None:
    bench = RelayBench(ntrip=[steady(1000)])
    away(bench, 100, 30, 200)

    assert len(bench.service.opened) == 1
    assert [event for event, _ in bench.reports.entries][2:] == [Event.BACKOFF, Event.FIRST_FRAME]


def test_FR105_another_cause_of_the_absence_is_reported_at_once() -> None:
    """As when a receiver that refuses its settings is unplugged."""
    bench = RelayBench(ntrip=[steady(1000)])
    relay = bench.relay(NTRIP)

    async def scenario() -> None:
        async with asyncio.timeout(150), asyncio.TaskGroup() as group:
            group.create_task(relay.run())
            await asyncio.sleep(100)
            bench.receiver.ready = False
            for error in (
                ReceiverNotSet("locked"),
                PortAbsent("/dev/gnss"),
                PortAbsent("/dev/gnss"),
            ):
                bench.receiver.error = error
                await asyncio.sleep(12)

    with pytest.raises(TimeoutError):
        run(scenario())
    assert bench.reports.entries[2:] == [
        (Event.BLOCKED, ReceiverNotSet.code),
        (Event.BACKOFF, PortAbsent.code),
    ]


def test_FR113_a_restart_of_the_receiver_is_not_reported() -> None:
    bench = RelayBench(ntrip=[steady(1000)])
    away(bench, 100, 8, 200)

    assert bench.reports.events == [Event.CONNECT, Event.FIRST_FRAME]
