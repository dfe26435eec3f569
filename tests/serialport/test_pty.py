"""A terminal for others to read: whole frames, and no waiting."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import grp
import os
import resource
import stat
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ptybench import ordinary_user
from ztpd.errors import OutputError
from ztpd.serialport.pty import SharedPort

DIALOUT = grp.getgrnam("dialout").gr_gid
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="another group's terminal takes root")
pytestmark = ROOT_ONLY


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SharedPort]:
    port = SharedPort(str(tmp_path / "gnss"))
    port.open()
    yield port
    port.close()


@contextlib.contextmanager
def reader(port: SharedPort) -> Iterator[int]:
    file = os.open(port.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield file
    finally:
        os.close(file)


def waits_so_far() -> int:
    """How often this thread went to sleep of its own; a machine that is busy adds none."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def read(file: int, size: int = 1, *, within_s: float = 1.0) -> bytes:
    """``size`` bytes at least, as far as they come: the kernel moves them when it has the time."""
    data = b""
    deadline = time.monotonic() + within_s
    while len(data) < size and time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            data += os.read(file, 65536)
    return data


def test_a_reader_gets_frames_written_while_it_reads_and_none_older(shared: SharedPort) -> None:
    shared.write_frame(b"before\n")
    with reader(shared) as file:
        shared.write_frame(b"one\r\n")
        shared.write_frame(b"\0two\x03\x11")
        expected = b"one\r\n\0two\x03\x11"
        assert read(file, len(expected), within_s=10) == expected, "raw: nothing is changed"
    shared.write_frame(b"between\n")
    with reader(shared) as file:
        shared.write_frame(b"three\n")
        assert read(file, 6, within_s=10) == b"three\n"


def test_it_belongs_to_the_group_dialout_alone(shared: SharedPort) -> None:
    facts = shared.path.stat()
    assert stat.S_ISCHR(facts.st_mode)
    assert (stat.S_IMODE(facts.st_mode), facts.st_gid) == (0o660, DIALOUT)


def test_a_restrictive_umask_takes_nothing_from_the_group(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        port = SharedPort(str(tmp_path / "gnss"))
        port.open()
        assert stat.S_IMODE(port.path.stat().st_mode) == 0o660
        port.close()
    finally:
        os.umask(before)


def test_writes_of_a_reader_go_nowhere_and_do_not_block_it(shared: SharedPort) -> None:
    with reader(shared) as file:
        for _ in range(100):
            assert os.write(file, bytes(1000)) == 1000
            shared.write_frame(b"$\n")
            time.sleep(0.001)
        assert set(read(file)) == set(b"$\n")


def test_U04_a_reader_that_does_not_read_costs_whole_frames_and_no_time(
    shared: SharedPort,
) -> None:
    frames = [b"<%05d>" % number * 20 for number in range(1000)]
    with reader(shared) as file:
        began_s, waits = time.process_time(), waits_so_far()
        for frame in frames:
            shared.write_frame(frame)
        assert time.process_time() - began_s < 0.5
        assert waits_so_far() - waits < 50, "it waits for no reader"
        first = b""
        while more := read(file):
            first += more
        deadline = time.monotonic() + 10
        while not first.endswith(b"<after>") and time.monotonic() < deadline:
            shared.write_frame(b"<after>")  # dropped, until the kernel has freed what was read
            first += read(file)
    got = first
    while got.endswith(b"<after>"):  # the kernel may have been late with one of them
        got = got.removesuffix(b"<after>")
    assert first != got, "and goes on afterwards"
    arrived = {got[at : at + 140] for at in range(0, len(got), 140)}
    assert arrived < set(frames), "whole frames"
    assert len(arrived) < 500, "the others were dropped"


def test_a_readers_leftovers_do_not_disturb_the_next_reader(shared: SharedPort) -> None:
    with reader(shared) as file:
        shared.write_frame(b"x")
        fcntl.ioctl(file, termios.TIOCEXCL)
        modes = termios.tcgetattr(file)
        modes[3] |= termios.ECHO | termios.ICANON
        termios.tcsetattr(file, termios.TCSANOW, modes)
    shared.write_frame(b"y")
    with reader(shared) as file:
        assert not termios.tcgetattr(file)[3] & (termios.ECHO | termios.ICANON)
        shared.write_frame(b"z")
        assert read(file) == b"z"


def test_closed_it_is_gone_and_a_reader_sees_it(tmp_path: Path) -> None:
    port = SharedPort(str(tmp_path / "gnss"))
    port.open()
    with reader(port) as file:
        port.close()
        assert not port.path.is_symlink()
        assert os.read(file, 10) == b""
    port.close()
    port.write_frame(b"nobody")


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    port = SharedPort(str(tmp_path / "gnss"))
    for _ in range(20):
        port.open()
        with reader(port):
            port.write_frame(b"x")
        port.write_frame(b"x")
    port.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_left_by_a_crash_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "gnss").symlink_to("/dev/pts/4711")
    port = SharedPort(str(tmp_path / "gnss"))
    port.open()
    assert port.path.exists()
    port.close()
    (tmp_path / "gnss").write_text("precious")
    with pytest.raises(OutputError, match="is no link"):
        port.open()
    assert (tmp_path / "gnss").read_text() == "precious"


def test_a_folder_that_this_user_may_not_enter_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    port = SharedPort(str(folder / "gnss"))
    with ordinary_user(), pytest.raises(OutputError, match="Permission denied"):
        port.open()


@pytest.mark.parametrize(("path", "group"), [("gone/gnss", "dialout"), ("gnss", "no-such-group")])
def test_a_terminal_that_cannot_be_made_is_reported(tmp_path: Path, path: str, group: str) -> None:
    gc.collect()  # descriptors of earlier tests must not go away meanwhile
    before = len(os.listdir("/proc/self/fd"))
    port = SharedPort(str(tmp_path / path), group=group)
    with pytest.raises(OutputError):
        port.open()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_that_another_program_took_over_is_not_removed(shared: SharedPort) -> None:
    shared.path.unlink()
    shared.path.symlink_to("/dev/null")
    shared.close()
    assert os.readlink(shared.path) == "/dev/null"
    shared.path.unlink()
