"""Files written beside the event loop."""

from __future__ import annotations

import asyncio
import os
import random
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PosixPath
from types import FrameType
from typing import Any, ClassVar

import pytest

from ztpd.system import disk
from ztpd.system.disk import DiskWriter


def refuse(path: Path, error: OSError) -> None:
    raise AssertionError(path) from error


@pytest.fixture
def slow_fifo(tmp_path: Path) -> Path:
    """A directory whose fsync is not needed: opening its FIFO waits for a reader, as a slow card
    lets a write wait."""
    path = tmp_path / f".slow.{os.getpid()}"
    os.mkfifo(path)
    return tmp_path / "slow"


@pytest.fixture
def slow_threads() -> Iterator[None]:
    """Each line of a thread takes 0.5 ms, so that the event loop goes on between any two."""

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename == disk.__file__:
            time.sleep(0.0005 if event == "line" else 0)
            return trace
        return None

    usual = threading.gettrace()
    threading.settrace(trace)
    yield
    threading.settrace(usual)


class Removed(PosixPath):
    """Notes its removal."""

    log: ClassVar[list[str]] = []

    def unlink(self, missing_ok: bool = False) -> None:
        self.log.append(self.name)


def test_what_waits_behind_a_failure_is_written_though_the_loop_has_closed(
    slow_fifo: Path, tmp_path: Path
) -> None:
    async def stop_at_once() -> None:
        writer = DiskWriter(refuse)
        writer.write(slow_fifo, b"1")  # fails: no FIFO can be synchronised
        writer.write(tmp_path / "next", b"2")

    asyncio.run(stop_at_once())
    reader = os.open(tmp_path / f".slow.{os.getpid()}", os.O_RDONLY | os.O_NONBLOCK)
    deadline_s = time.monotonic() + 5
    while not (tmp_path / "next").exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    os.close(reader)
    assert (tmp_path / "next").read_bytes() == b"2"


async def test_the_newest_content_is_on_the_disk_in_the_end(tmp_path: Path) -> None:
    disk, path = DiskWriter(refuse), tmp_path / "file"
    for number in range(50):
        disk.write(path, b'{"n": %d}' % number)
    assert await disk.read_json(path) == {"n": 49}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_can_be_removed(tmp_path: Path) -> None:
    disk, path = DiskWriter(refuse), tmp_path / "file"
    disk.write(path, b"{}")
    disk.write(path, None)
    disk.write(tmp_path / "never there", None)
    await disk.written()
    assert not list(tmp_path.iterdir())


async def test_each_content_is_written_once_and_in_order_wherever_the_thread_is(
    slow_threads: None,
) -> None:
    writer, rng, names = DiskWriter(refuse), random.Random(1), [str(each) for each in range(100)]
    for name in names:
        writer.write(Removed(name), None)
        await asyncio.sleep(rng.uniform(0, 0.02))
    await writer.written()
    assert Removed.log == names


async def test_a_failure_is_reported_in_the_event_loop_and_the_next_file_is_written(
    tmp_path: Path,
) -> None:
    failures: list[tuple[Path, int | None]] = []
    disk = DiskWriter(lambda path, error: failures.append((path, error.errno)))
    disk.write(tmp_path / "no such directory" / "file", b"")
    disk.write(tmp_path / "file", b"{}")
    await disk.written()
    await asyncio.sleep(0)
    assert [path.name for path, _ in failures] == ["file"]
    assert (tmp_path / "file").exists()


async def test_that_every_file_can_be_written_again_is_reported_once(tmp_path: Path) -> None:
    told: list[str] = []
    first, second = (tmp_path / name / "file" for name in ("first", "second"))
    disk = DiskWriter(lambda path, _: told.append(path.parent.name), lambda: told.append("works"))
    for made in (None, first, second, None):
        if made:
            made.parent.mkdir()
        for path in (first, second):
            disk.write(path, b"{}")
            await disk.written()
        await asyncio.sleep(0)
    assert told == ["first", "second", "second", "works"]


async def test_where_no_thread_can_be_started_this_file_and_the_next_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    disk = DiskWriter(refuse)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_room)
        disk.write(tmp_path / "first", b"{}")
    disk.write(tmp_path / "second", b"{}")
    await disk.written(timeout_s=5)
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


async def test_FR103_the_event_loop_goes_on_while_the_disk_is_slow(slow_fifo: Path) -> None:
    disk, loop = DiskWriter(lambda path, error: None), asyncio.get_running_loop()
    began_s = loop.time()
    disk.write(slow_fifo, b"{}")
    with pytest.raises(TimeoutError):
        await disk.written(timeout_s=0.2)
    assert 0.15 < loop.time() - began_s < 2
    reader = os.open(slow_fifo.with_name(f".slow.{os.getpid()}"), os.O_RDONLY | os.O_NONBLOCK)
    await disk.written(timeout_s=5)
    os.close(reader)
