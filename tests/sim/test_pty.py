"""The simulated serial line behaves like a real one, as far as ztpd can notice."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from ztpd.sim.pty import Pty


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "by-id" / "usb-modem-if02"


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


async def test_bytes_travel_unchanged_both_ways(link: Path) -> None:
    every_byte = bytes(range(256))
    async with Pty(link) as pty:
        with opened(link) as host:
            os.write(host, every_byte)
            assert await pty.read() == every_byte
            await pty.write(every_byte)
            assert os.read(host, 4096) == every_byte


async def test_a_device_does_not_hear_itself(link: Path) -> None:
    async with Pty(link) as pty:
        await pty.write(b"RDY\r\n")
        assert pty.pending() == 0


async def test_reading_survives_a_host_that_opens_and_closes(link: Path) -> None:
    async with Pty(link) as pty:
        for text in (b"one", b"two"):
            with opened(link) as host:
                os.write(host, text)
            assert await pty.read() == text


async def test_replug_is_another_terminal_behind_the_same_name(link: Path) -> None:
    async with Pty(link) as pty:
        before = pty.terminal
        reading = asyncio.create_task(pty.read())
        with opened(link) as host:
            await asyncio.sleep(0)
            pty.replug()
            with pytest.raises(OSError, match="Input/output error"):
                os.write(host, b"into the void")
        assert pty.terminal != before
        with opened(link) as host:
            os.write(host, b"here")
            assert await reading == b"here"


async def test_unplug_takes_the_name_away(link: Path) -> None:
    async with Pty(link) as pty:
        pty.unplug()
        assert not os.path.lexists(link)
        assert not pty.plugged
        await pty.write(b"lost")
        assert pty.baudrate == 0
        pty.plug()
        assert link.exists()
    assert not os.path.lexists(link)


async def test_write_waits_for_a_host_that_reads_slowly(link: Path) -> None:
    async with Pty(link) as pty:
        with opened(link) as host:
            writing = asyncio.create_task(pty.write(b"x" * 200_000))
            received = 0
            while received < 200_000:
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    received += len(os.read(host, 4096))
            await writing


async def test_unplug_ends_a_write_that_waits(link: Path) -> None:
    async with Pty(link) as pty:
        writing = asyncio.create_task(pty.write(b"x" * 200_000))
        await asyncio.sleep(0.01)
        pty.unplug()
        await asyncio.wait_for(writing, 1)


async def test_send_never_waits(link: Path) -> None:
    async with Pty(link) as pty:
        for _ in range(1000):
            pty.send(b"x" * 1000)


async def test_the_device_sees_the_speed_of_the_host(link: Path) -> None:
    async with Pty(link) as pty:
        with opened(link) as host:
            for speed, baudrate in ((termios.B9600, 9600), (termios.B921600, 921600)):
                attributes = termios.tcgetattr(host)
                attributes[4] = attributes[5] = speed
                termios.tcsetattr(host, termios.TCSANOW, attributes)
                assert pty.baudrate == baudrate


async def test_exclusive_use_is_seen_and_can_be_cleared(link: Path) -> None:
    async with Pty(link) as pty:
        with opened(link) as host:
            fcntl.ioctl(host, termios.TIOCEXCL)
        assert pty.exclusive, "a pty keeps the flag behind a host that died"
        pty.clear_exclusive()
        assert not pty.exclusive


async def test_users_are_counted(link: Path) -> None:
    async with Pty(link) as pty:
        assert pty.users() == []
        with opened(link), opened(link):
            assert pty.users() == [os.getpid()] * 2
        assert pty.users() == []
