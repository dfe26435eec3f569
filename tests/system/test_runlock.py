"""One daemon per runtime directory, seen by root, by its own user and by all others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ztpd.errors import LockHeld
from ztpd.system import control_server
from ztpd.system.runlock import LOCK, RunLock, is_running

AS_NOBODY = """
import os, sys
from pathlib import Path
from ztpd.system.runlock import is_running
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(is_running(Path(sys.argv[1])))
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


def test_Z15_a_second_ztpd_names_the_first(tmp_path: Path) -> None:
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.take()

    with pytest.raises(LockHeld):
        second.take()
    assert is_running(tmp_path)
    first.release()
    assert is_running(tmp_path) is False
    second.take()
    second.release()


def test_reading_the_lock_does_not_keep_a_daemon_from_starting(tmp_path: Path) -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_running(tmp_path)
            time.sleep(0.001)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            lock = RunLock(tmp_path)
            lock.take()
            lock.release()
    finally:
        stop.set()
        looking.join()


def test_FR60_no_other_user_can_hold_the_lock(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch(mode=0o644)
    lock = RunLock(tmp_path)
    lock.take()

    assert (tmp_path / LOCK).stat().st_mode & 0o777 == 0o600
    lock.release()


@pytest.mark.parametrize("directory", ["", "gone"])
def test_where_there_never_was_a_daemon_none_is_running(tmp_path: Path, directory: str) -> None:
    assert is_running(tmp_path / directory) is False


def test_FR89_a_lock_that_is_a_fifo_or_a_link_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK)
    assert is_running(tmp_path) is False
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).symlink_to("/dev/zero")
    assert is_running(tmp_path) is False


def seen_by_nobody(directory: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(directory)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@needs_root
async def test_FR60_another_user_sees_by_the_socket_that_a_daemon_runs(
    open_directory: Path,
) -> None:
    lock = RunLock(open_directory)
    lock.take()

    async def answer(_: object) -> dict[str, object]:
        return {"ok": True}

    async with control_server.serve(open_directory, answer):
        assert await asyncio.to_thread(seen_by_nobody, open_directory) == "True"
    assert await asyncio.to_thread(seen_by_nobody, open_directory) == "False"
    lock.release()


@needs_root
def test_FR60_a_user_without_permission_is_not_shown_that_none_runs(
    open_directory: Path,
) -> None:
    lock = RunLock(open_directory)
    lock.take()
    open_directory.chmod(0o700)

    assert seen_by_nobody(open_directory) == "None"
    lock.release()
