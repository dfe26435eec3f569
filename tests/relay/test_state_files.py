"""The relay's files within a boot, across boots, and damaged."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.support.relay_bench import HOUR_S, NTRIP
from tests.support.virtualtime import run
from ztpd import retry
from ztpd.relay.channels import MAX_SHORT_SESSIONS, Channel
from ztpd.relay.state_files import ChannelState, RefusalRecord
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter

ODD: some.SearchStrategy[Any] = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.just(10**400)
    | some.floats()
    | some.text(max_size=5)
    | some.just([[[[]]]])
)


@pytest.mark.parametrize(("name", "within_s"), [("other.json", 0.5), ("refused.json", 2.0)])
async def test_FR103_a_card_that_does_not_answer_keeps_no_session_waiting(
    tmp_path: Path, name: str, within_s: float
) -> None:
    disk = DiskWriter(lambda path, error: None)
    in_the_way = tmp_path / f".{name}.{os.getpid()}"
    os.mkfifo(in_the_way)  # to open it for writing waits for a reader
    disk.write(tmp_path / name, b"{}")
    async with asyncio.timeout(within_s):
        await RefusalRecord(tmp_path / "refused.json", [channel()], Clock(), disk).load()
    reader = os.open(in_the_way, os.O_RDONLY | os.O_NONBLOCK)
    await disk.written(timeout_s=5)
    os.close(reader)


async def test_FR103_a_record_on_a_slow_card_is_removed_by_corrections_all_the_same(
    tmp_path: Path,
) -> None:
    path, channels = tmp_path / "refused.json", [channel()]
    RefusalRecord(path, channels, Clock()).note()
    assert path.exists()
    disk = DiskWriter(lambda path, error: None)
    in_the_way = tmp_path / f".other.json.{os.getpid()}"
    os.mkfifo(in_the_way)
    disk.write(tmp_path / "other.json", b"{}")
    record = RefusalRecord(path, channels, Clock(), disk)
    await record.load()
    record.clear()
    reader = os.open(in_the_way, os.O_RDONLY | os.O_NONBLOCK)
    await disk.written(timeout_s=5)
    os.close(reader)
    assert not path.exists(), "else it counts for the next refusal, however much later"


class RecordBench:
    """A gateway whose channel is refused; its clocks are set by the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.boot, self.boot_s, self.date_s = "first", 50.0, 1.8e9
        self.clock = Clock(now=lambda: self.date_s, instant=lambda: (self.boot, self.boot_s))
        self.channels = [channel()]

    def record(self) -> RefusalRecord:
        """The one of a process that has just started."""
        record = RefusalRecord(self.path, self.channels, self.clock)
        asyncio.run(record.load())
        return record

    def passes(self, seconds: float) -> None:
        self.boot_s += seconds
        self.date_s += seconds


def channel() -> Channel:
    rng = random.Random(1)
    return Channel(NTRIP, retry.Backoff(retry.SESSION, rng), rng)


@pytest.fixture
def refused(tmp_path: Path) -> RecordBench:
    return RecordBench(tmp_path / "refused.json")


@pytest.mark.parametrize("set_by_s", [2 * HOUR_S, -2 * HOUR_S, 1.8e9])
def test_FR117_a_clock_that_is_set_during_refusals_changes_no_count(
    refused: RecordBench, set_by_s: float
) -> None:
    record = refused.record()
    record.note()
    refused.passes(600)
    refused.date_s += set_by_s
    assert record.note() == 600
    refused.passes(60)
    assert refused.record().note() == 660, "after a restart of the daemon"
    refused.boot, refused.boot_s = "second", 20.0
    refused.date_s += HOUR_S
    assert refused.record().note() == pytest.approx(660 + HOUR_S, abs=1), "after a reboot"


def test_FR117_a_reboot_with_a_clock_that_is_behind_counts_from_zero(
    refused: RecordBench,
) -> None:
    refused.record().note()
    refused.boot, refused.boot_s, refused.date_s = "second", 20.0, 0.0
    record = refused.record()
    assert record.note() == 0
    refused.passes(30)
    refused.date_s = 1.8e9 + 2 * HOUR_S
    assert record.note() == 30


@given(kept=some.dictionaries(some.sampled_from(["since_unix_s", "boot", "since_boot_s"]), ODD))
def test_FR119_any_content_of_the_refusal_record_is_counted_from_or_dropped(
    kept: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = RecordBench(tmp_path_factory.mktemp("odd") / "refused.json")
    marks = [each.mark for each in bench.channels]
    bench.path.write_text(json.dumps(kept | {"marks": marks}))
    record = bench.record()
    first_s = record.note()
    bench.passes(5)
    assert record.note() == pytest.approx(first_s + 5)
    record.clear()
    assert not bench.path.exists()


NAMES = ["steps", "short_lives", "due_boot_s", "worked"]


@given(
    mine=some.dictionaries(some.sampled_from(NAMES), ODD),
    top=some.dictionaries(some.sampled_from(["saved_boot_s", "boot"]), ODD),
)
def test_FR119_any_content_of_the_channels_file_gives_a_wait_of_an_hour_at_most(
    mine: dict[str, Any], top: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("odd") / "sessions.json"
    found = channel()
    known = {found.name: {"mark": found.mark} | mine}
    path.write_text(json.dumps({"boot": "b", "saved_boot_s": 90.0, "channels": known} | top))

    async def load() -> None:
        clock = Clock(instant=lambda: ("b", 100.0))
        ChannelState(path, clock).load([found])
        assert 0 <= found.due_s <= HOUR_S
        assert 0 <= found.short_sessions <= MAX_SHORT_SESSIONS
        ChannelState(path, clock).save([found])

    run(load())
