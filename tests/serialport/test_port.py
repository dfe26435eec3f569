"""The serial port: access, writing, loss."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import re
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import virtualtime
from tests.support.ptybench import another_user, finish_threads, ordinary_user
from ztpd.errors import (
    NotASerialPort,
    PortAbsent,
    PortBusy,
    PortHung,
    PortLost,
    PortPermission,
)
from ztpd.serialport import holders
from ztpd.serialport.port import SerialPort
from ztpd.sim.pty import Pty


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "usb-gnss"


@contextlib.contextmanager
def held_by_another_process(path: str | Path, how: str) -> Iterator[int]:
    program = (
        "import fcntl, os, sys, termios\n"
        f"fd = os.open({str(path)!r}, os.O_RDWR | os.O_NOCTTY)\n"
        f"{how}\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-S", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            process.kill()


FLOCK = "fcntl.flock(fd, fcntl.LOCK_EX)"
TIOCEXCL = "fcntl.ioctl(fd, termios.TIOCEXCL)"


# Opening


async def test_bytes_travel_unchanged_both_ways(link: Path) -> None:
    every_byte = bytes(range(256))
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 115200)
        with contextlib.closing(port):
            port.write(every_byte)
            assert await pty.read() == every_byte
            await pty.write(every_byte)
            assert await port.read() == every_byte


async def test_bytes_from_before_the_opening_are_not_read(link: Path) -> None:
    async with Pty(link) as pty:
        await pty.write(b"stale")
        with contextlib.closing(await SerialPort.open(pty.path, 9600)) as port:
            await pty.write(b"fresh")
            assert await port.read() == b"fresh"


async def test_an_open_port_keeps_others_out_and_a_closed_one_does_not(link: Path) -> None:
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 9600)
        assert pty.exclusive
        with pytest.raises(PortBusy):
            await SerialPort.open(pty.path, 9600)
        port.close()
        port.close()
        assert not pty.exclusive
        assert pty.users() == []
        (await SerialPort.open(pty.path, 9600)).close()


async def test_the_lock_is_one_that_others_see(link: Path) -> None:
    async with Pty(link) as pty:
        with another_user(link) as other:
            port = await SerialPort.open(pty.path, 9600)
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            port.close()
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_absent_names_the_ports_that_exist(tmp_path: Path) -> None:
    (tmp_path / "usb-other-if00").touch()
    with pytest.raises(PortAbsent, match=r"usb-gnss; .* has usb-other-if00"):
        await SerialPort.open(str(tmp_path / "usb-gnss"), 9600)


async def test_a_link_that_points_nowhere_is_absent(link: Path) -> None:
    link.symlink_to("/dev/pts/999999")
    with pytest.raises(PortAbsent):
        await SerialPort.open(str(link), 9600)


async def test_U08_E66_a_lock_of_another_process_names_it(link: Path) -> None:
    async with Pty(link) as pty:
        with held_by_another_process(link, FLOCK) as pid, pytest.raises(PortBusy) as busy:
            await SerialPort.open(pty.path, 9600)
        assert re.search(rf"python.* \(process {pid}\)", str(busy.value))
        (await SerialPort.open(pty.path, 9600)).close()


async def test_E67_exclusive_use_stops_an_ordinary_user(link: Path) -> None:
    async with Pty(link) as pty:
        os.chmod(pty.terminal, 0o666)
        holder = held_by_another_process(link, TIOCEXCL)
        with holder, ordinary_user(), pytest.raises(PortBusy):
            await SerialPort.open(pty.terminal, 9600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is let past TIOCEXCL")
async def test_M10_exclusive_use_is_respected_by_root_too(link: Path) -> None:
    async with Pty(link) as pty:
        with held_by_another_process(link, TIOCEXCL) as pid, pytest.raises(PortBusy) as busy:
            await SerialPort.open(pty.path, 9600)
        assert f"(process {pid})" in str(busy.value)
        assert pty.exclusive, "a pty keeps the flag"
        with contextlib.closing(await SerialPort.open(pty.path, 9600)):
            assert pty.exclusive


async def test_E68_a_lock_file_with_a_living_process_is_respected(
    link: Path, tmp_path: Path
) -> None:
    async with Pty(link) as pty:
        with held_by_another_process(link, "pass") as pid:
            lock = tmp_path / f"LCK..{Path(pty.terminal).name}"
            lock.write_text(f"{pid:10d}\n")
            with pytest.raises(PortBusy, match=rf"process {pid}\) according to"):
                await SerialPort.open(pty.path, 9600, lock_directory=str(tmp_path))
            assert lock.exists()


def _fifo(lock: Path) -> None:
    os.mkfifo(lock)


def _device(lock: Path) -> None:
    lock.symlink_to("/dev/zero")


def _link(lock: Path) -> None:
    lock.with_name("mine").write_text(f"{os.getppid()}\n")
    lock.symlink_to("mine")


def _second_name(lock: Path) -> None:
    lock.with_name("mine").write_text(f"{os.getppid()}\n")
    lock.hardlink_to(lock.with_name("mine"))


def _folder(lock: Path) -> None:
    lock.mkdir()


def _of_a_living_process_without_the_port(lock: Path) -> None:
    lock.write_text(f"{os.getppid()}\n")


def _of_a_user_who_may_not_open_the_port(lock: Path) -> None:
    lock.write_text("1\n")
    os.chown(lock, 65534, -1)


@pytest.mark.parametrize(
    "make",
    [
        _fifo,
        _device,
        _link,
        _second_name,
        _folder,
        _of_a_living_process_without_the_port,
        pytest.param(
            _of_a_user_who_may_not_open_the_port,
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to play another user"),
        ),
    ],
)
async def test_FR85_a_lock_file_that_proves_nothing_locks_nothing(
    link: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    async with Pty(link) as pty:
        with contextlib.suppress(PermissionError):
            os.chmod(pty.terminal, 0o600)
        make(tmp_path / f"LCK..{link.name}")
        async with asyncio.timeout(2):
            port = await SerialPort.open(pty.path, 9600, lock_directory=str(tmp_path))
        port.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to play another user")
async def test_FR85_a_lock_file_of_a_user_with_access_to_the_port_counts(
    link: Path, tmp_path: Path
) -> None:
    async with Pty(link) as pty:
        os.chmod(pty.terminal, 0o666)
        with held_by_another_process(link, "pass") as pid:
            lock = tmp_path / f"LCK..{link.name}"
            lock.write_text(f"{pid}\n")
            os.chown(lock, 65534, -1)
            with pytest.raises(PortBusy):
                await SerialPort.open(pty.path, 9600, lock_directory=str(tmp_path))


@pytest.mark.parametrize("text", ["not a number", "", "-1"])
async def test_a_lock_file_that_names_no_process_is_ignored(
    link: Path, tmp_path: Path, text: str
) -> None:
    async with Pty(link) as pty:
        (tmp_path / f"LCK..{link.name}").write_text(text)
        (await SerialPort.open(pty.path, 9600, lock_directory=str(tmp_path))).close()


@pytest.mark.parametrize("text", ["   4194305\n", "99999999999999999999"])
async def test_E69_a_stale_lock_file_is_reported_and_not_removed(
    link: Path, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Pty(link) as pty:
        lock = tmp_path / f"LCK..{link.name}"
        lock.write_text(text)
        port = await SerialPort.open(pty.path, 9600, lock_directory=str(tmp_path))
        port.close()
        assert lock.read_text() == text
        assert f"{lock} belongs to a process that has ended" in caplog.text


async def test_U09_permission_denied_names_owner_and_mode(link: Path) -> None:
    async with Pty(link) as pty:
        os.chmod(pty.terminal, 0)
        with ordinary_user(), pytest.raises(PortPermission, match=r"pts/\d+ \(.*, mode 0000\)"):
            await SerialPort.open(pty.terminal, 9600)


@pytest.mark.parametrize("kind", ["file", "directory", "pipe", "/dev/null"])
async def test_U12_other_devices_than_serial_ports_are_refused(link: Path, kind: str) -> None:
    match kind:
        case "file":
            link.touch()
        case "directory":
            link.mkdir()
        case "pipe":
            os.mkfifo(link)
        case device:
            link.symlink_to(device)
    with pytest.raises(NotASerialPort):
        await SerialPort.open(str(link), 9600)


def hanging_driver(link: Path) -> tuple[threading.Event, Callable[..., int]]:
    """Opens ``link`` once the event is set, and other files at once."""
    done, real_open = threading.Event(), os.open

    def slow_open(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path) == str(link):
            done.wait(10)
        return real_open(path, *args, **kwargs)

    return done, slow_open


async def test_D62_an_open_that_hangs_ends_in_time_and_leaves_nothing_open(
    link: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver_done, slow_open = hanging_driver(link)
    async with Pty(link) as pty:
        monkeypatch.setattr(os, "open", slow_open)
        loop_turns = 0
        opening = asyncio.create_task(SerialPort.open(pty.path, 9600, timeout_s=0.1))
        while not opening.done():
            await asyncio.sleep(0.01)
            loop_turns += 1
        with pytest.raises(PortHung, match=r"after 0\.1 s"):
            await opening
        assert loop_turns > 4
        driver_done.set()
        finish_threads()
        assert pty.users() == []
        assert not pty.exclusive


async def test_a_driver_that_hangs_without_end_holds_one_thread(
    link: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver_done, slow_open = hanging_driver(link)
    async with Pty(link) as pty:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", slow_open)
            for _ in range(5):
                with pytest.raises(PortHung, match=r"after 0\.05 s"):
                    await SerialPort.open(pty.path, 9600, timeout_s=0.05)
            opening = [each for each in threading.enumerate() if each.name == "ztpd-run"]
            assert len(opening) == 1
            driver_done.set()
            (await SerialPort.open(pty.path, 9600)).close()
        finish_threads()


async def test_a_cancelled_open_is_undone(link: Path) -> None:
    async with Pty(link) as pty:
        opening = asyncio.create_task(SerialPort.open(pty.path, 9600))
        await asyncio.sleep(0)
        finish_threads()  # the port is open, and the loop does not know it yet
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        assert pty.users() == []
        assert not pty.exclusive


async def test_opening_again_and_again_leaks_nothing(link: Path) -> None:
    async with Pty(link) as pty:
        (await SerialPort.open(pty.path, 9600)).close()
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            port = await SerialPort.open(pty.path, 9600)
            port.write(b"frame")
            pty.replug()
            with pytest.raises(PortLost):
                await port.read()
            port.close()
        assert len(os.listdir("/proc/self/fd")) == before


# Loss


async def test_U01_unplug_ends_a_read_that_waits(link: Path) -> None:
    async with Pty(link) as pty:
        with contextlib.closing(await SerialPort.open(pty.path, 9600)) as port:
            reading = asyncio.create_task(port.read())
            await asyncio.sleep(0.01)
            pty.unplug()
            with pytest.raises(PortLost, match="usb-gnss"):
                await reading
            with pytest.raises(PortLost):
                port.write(b"frame")
            with pytest.raises(PortLost):
                await port.drained()


async def test_U01_unplug_is_noticed_by_writing(link: Path) -> None:
    async with Pty(link) as pty:
        with contextlib.closing(await SerialPort.open(pty.path, 9600)) as port:
            pty.unplug()
            port.write(b"frame")
            await asyncio.sleep(0)
            with pytest.raises(PortLost):
                port.write(b"frame")
            with pytest.raises(PortLost):
                await port.set_baudrate(115200)


async def test_U02_a_port_that_comes_back_under_another_name_is_found(link: Path) -> None:
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 9600)
        before = pty.terminal
        pty.replug()
        with pytest.raises(PortLost):
            await port.read()
        port.close()
        assert pty.terminal != before
        with contextlib.closing(await SerialPort.open(pty.path, 9600)) as port:
            await pty.write(b"back")
            assert await port.read() == b"back"


async def test_closing_ends_all_waits(link: Path) -> None:
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 300)
        port.write(b"x" * 1000)
        waiting = [asyncio.create_task(port.read()), asyncio.create_task(port.drained())]
        await asyncio.sleep(0)
        port.close()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, PortLost)


async def test_a_cancelled_read_loses_nothing(link: Path) -> None:
    async with Pty(link) as pty:
        with contextlib.closing(await SerialPort.open(pty.path, 9600)) as port:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await port.read()
            await pty.write(b"all of it")
            assert await port.read() == b"all of it"


async def test_U10_a_break_disturbs_nothing(link: Path) -> None:
    async with Pty(link) as pty:
        with another_user(link) as other:
            port = await SerialPort.open(pty.path, 9600)
            with contextlib.closing(port):
                termios.tcsendbreak(other, 0)
                await pty.write(b"after")
                assert await port.read() == b"after"


async def test_another_reader_is_not_taken_for_a_hang_up(link: Path) -> None:
    """Bytes read by another program leave a readiness without bytes."""
    async with Pty(link) as pty:
        with another_user(link) as thief:
            port = await SerialPort.open(pty.path, 9600)
            with contextlib.closing(port):
                reading = asyncio.create_task(port.read())
                await asyncio.sleep(0)
                await pty.write(b"stolen")
                time.sleep(0.01)
                assert os.read(thief, 100) == b"stolen"
                await asyncio.sleep(0.01)
                await pty.write(b"ours")
                assert await reading == b"ours"


async def test_a_device_that_never_pauses_leaves_others_their_turn(link: Path) -> None:
    async with Pty(link) as pty:
        with contextlib.closing(await SerialPort.open(pty.path, 9600)) as port:
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            for _ in range(160):
                pty.send(b"x" * 100)
            others = asyncio.create_task(other())
            reads = received = 0
            while received < 16_000:
                received += len(await port.read())
                reads += 1
            others.cancel()
            assert turns >= reads > 3


# Writing


def frame(number: int, size: int) -> bytes:
    """A frame with its number and its size, so that a torn one is noticed."""
    head = number.to_bytes(4, "big") + size.to_bytes(4, "big")
    return head + bytes([number % 251]) * (size - 8)


def frames(stream: bytes) -> list[tuple[int, int]]:
    found = []
    while stream:
        number, size = int.from_bytes(stream[:4], "big"), int.from_bytes(stream[4:8], "big")
        assert stream[:size] == frame(number, size), "a torn frame"
        found.append((number, size))
        stream = stream[size:]
    return found


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(8, 9000), min_size=1, max_size=40),
    takes=st.lists(st.integers(1, 5000), min_size=1, max_size=8),
    queue_bytes=st.integers(0, 20_000),
)
def test_U05_frames_leave_whole_and_in_order_at_any_rate_of_the_line(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], takes: list[int], queue_bytes: int
) -> None:
    link = tmp_path_factory.getbasetemp() / "u05"

    async def scenario() -> None:
        async with Pty(link) as pty:
            port = await SerialPort.open(pty.path, 4_000_000, queue_bytes=queue_bytes)
            with contextlib.closing(port):
                received, done = bytearray(), dict[int, bool]()
                for number, size in enumerate(sizes):
                    port.write(frame(number, size), partial(done.__setitem__, number))
                    assert port.queued_bytes <= queue_bytes + 2 * max(sizes)
                    if pty.pending():
                        received += await pty.read(takes[number % len(takes)])
                emptied = asyncio.create_task(port.drained())
                while not emptied.done() or len(received) < sum(
                    sizes[number] for number, sent in done.items() if sent
                ):
                    await asyncio.sleep(0)
                    if pty.pending():
                        received += await pty.read()
                got = frames(bytes(received))
                assert sorted(got) == got
                assert all(sizes[number] == size for number, size in got)
                assert [number for number, _ in got] == [
                    each for each in sorted(done) if done[each]
                ]
                assert len(done) == len(sizes)
                assert got[-1][0] == len(sizes) - 1, "the newest is always kept"
                assert port.queued_bytes == 0

    asyncio.run(scenario())


async def test_U04_a_device_that_takes_nothing_costs_bounded_memory_and_no_time(
    link: Path,
) -> None:
    async with Pty(link) as pty:
        with contextlib.closing(await SerialPort.open(pty.path, 4_000_000)) as port:
            started, done = time.monotonic(), list[bool]()
            for number in range(5000):
                port.write(frame(number, 200), done.append)
                await asyncio.sleep(0)
            assert time.monotonic() - started < 5
            assert port.queued_bytes <= 16384
            assert done.count(False) > 4000


async def test_frames_that_waited_too_long_are_not_sent(link: Path) -> None:
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 4_000_000, max_age_s=0.05)
        with contextlib.closing(port):
            done: list[bool] = []
            port.write(frame(0, 65_536))  # more than the kernel takes
            port.write(frame(1, 100), done.append)
            await asyncio.sleep(0.1)
            port.write(frame(2, 100))
            received = bytearray()
            while len(received) < 65_636:
                received += await pty.read()
            assert frames(bytes(received)) == [(0, 65_536), (2, 100)]
            assert done == [False]


def test_an_overloaded_line_carries_fresh_frames_only(link: Path) -> None:
    """38,400 baud, offered 1.67 times its capacity: no byte on the wire is 6 s old."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        line_bytes_per_s, step_s, size = 3840, 0.25, 200
        async with Pty(link) as pty:
            with contextlib.closing(await SerialPort.open(pty.path, 38400, timeout_s=None)) as port:
                received, offered = bytearray(), 0
                ages_s, done = [], list[bool]()
                while loop.time() < 30:
                    due = int(loop.time() * line_bytes_per_s * 1.67 / size)
                    while offered < due:
                        port.write(frame(offered, size), done.append)
                        offered += 1
                    sent, room = len(received), int(line_bytes_per_s * step_s)
                    while room > 0 and pty.pending():
                        data = await pty.read(room)
                        received += data
                        room -= len(data)
                    whole = received[sent // size * size : len(received) // size * size]
                    for number, _ in frames(bytes(whole)):
                        ages_s.append(loop.time() - number * size / line_bytes_per_s / 1.67)
                    await asyncio.sleep(step_s)
                assert max(ages_s) < 6
                assert len(received) > 0.9 * 30 * line_bytes_per_s, "the line is kept busy"
                assert done.count(False) > 0.3 * offered

    virtualtime.run(scenario())


class Writes:
    """A tap: the sizes of what the kernel was given."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def received(self, data: bytes) -> None:
        """Nothing comes."""

    def sent(self, data: bytes) -> None:
        self.sizes.append(len(data))


async def test_frames_of_one_turn_leave_together_and_single_ones_at_once(link: Path) -> None:
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 115200)
        port.tap = writes = Writes()
        with contextlib.closing(port):
            for _ in range(2):
                port.write(b"alone")
                assert writes.sizes == [5]
                await asyncio.sleep(0)
                writes.sizes.clear()
            for expected in ([5, 10], [15]):  # the first burst comes behind single frames
                for _ in range(3):
                    port.write(b"burst")
                await asyncio.sleep(0)
                assert writes.sizes == expected
                writes.sizes.clear()
            port.write(b"alone")
            assert not writes.sizes, "it may be the first of another burst"
            await asyncio.sleep(0)
            port.write(b"again")
            assert writes.sizes == [5, 5]


def test_nothing_ticks_while_nothing_waits(link: Path) -> None:
    async def scenario() -> None:
        loop: Any = asyncio.get_running_loop()
        async with Pty(link) as pty:
            with contextlib.closing(await SerialPort.open(pty.path, 9600, timeout_s=None)) as port:
                port.write(b"x" * 2000)
                await asyncio.sleep(0)
                assert loop._scheduled, "paced: 2000 bytes are two seconds of line time"
                await port.drained()
                assert 1.0 < loop.time() < 2.0
                assert not [timer for timer in loop._scheduled if not timer.cancelled()]

    virtualtime.run(scenario())


async def test_a_usb_modem_port_is_not_paced(tmp_path: Path) -> None:
    async with Pty(tmp_path / "ttyACM0") as pty:
        with contextlib.closing(await SerialPort.open(pty.path, 300)) as port:
            port.write(b"x" * 4000)
            await asyncio.sleep(0)
            assert port.queued_bytes == 0
            assert port.speed == ""


async def test_a_new_speed_applies_after_the_bytes_written_before(link: Path) -> None:
    async with Pty(link) as pty:
        with contextlib.closing(await SerialPort.open(pty.path, 9600)) as port:
            port.write(b"before" * 100)
            changing = asyncio.create_task(port.set_baudrate(115200))
            received = bytearray()
            while len(received) < 600:
                assert pty.baudrate == 9600
                received += await pty.read()
            await changing
            assert port.baudrate == pty.baudrate == 115200


@pytest.mark.parametrize(
    ("major", "is_one"), [(135, False), (136, True), (143, True), (144, False), (188, False)]
)
def test_FR44_only_a_pseudo_terminal_keeps_the_flag_of_a_dead_user(
    major: int, is_one: bool
) -> None:
    assert holders.is_pseudo_terminal(os.makedev(major, 0)) is is_one


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"\xff\xfebad", "\ufffd\ufffdbad"), (b"\x1b[2Jx\nMAINPID=1", ".[2Jx.MAINPID=1")],
)
def test_FR88_FR92_the_name_of_a_process_is_any_bytes(name: bytes, shown: str) -> None:
    program = (
        "import sys\n"
        f"open('/proc/self/comm', 'wb').write({name!r})\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-S", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert holders.describe([process.pid]) == f"{shown} (process {process.pid})"
        process.kill()


# Pieces of a UART


async def piecewise(pty: Pty, data: bytes, *, piece: int = 16, baudrate: int = 38_400) -> None:
    """As the driver of a UART gives them."""
    for at in range(0, len(data), piece):
        pty.send(data[at : at + piece])
        await asyncio.sleep(piece * 10 / baudrate)


def test_pieces_are_gathered_into_a_few_readings(tmp_path: Path) -> None:
    sent = bytes(range(256)) * 6

    async def main() -> list[int]:
        sizes = []
        async with Pty(tmp_path / "gnss") as pty:
            port = await SerialPort.open(pty.path, 38_400)
            sending = asyncio.create_task(piecewise(pty, sent))
            found = b""
            while len(found) < len(sent):
                found += (data := await port.read(gather_s=0.1))
                sizes.append(len(data))
            await sending
            port.close()
        assert found == sent
        return sizes

    sizes = virtualtime.run(main())
    assert len(sizes) <= 6


@pytest.mark.parametrize("baudrate", [38_400, 921_600])
def test_a_lone_report_is_no_older_than_the_time_of_gathering(
    baudrate: int, tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Pty(tmp_path / "gnss") as pty:
            port = await SerialPort.open(pty.path, baudrate)
            for _ in range(3):
                reading = asyncio.create_task(port.read(gather_s=0.1))
                await asyncio.sleep(1)
                pty.send(b"report")
                began_s = loop.time()
                assert await reading == b"report"
                assert loop.time() - began_s <= 0.101
            port.close()

    virtualtime.run(main())


def test_a_frame_that_is_sent_ends_the_gathering_and_begins_the_next(tmp_path: Path) -> None:
    """The daemon is awake then; and what is read so is about frames that were sent before."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Pty(tmp_path / "gnss") as pty:
            port = await SerialPort.open(pty.path, 38_400)
            reading = asyncio.create_task(port.read(gather_s=0.5))
            pty.send(b"epoch")
            await asyncio.sleep(0.1)
            sent_s = loop.time()
            port.write(b"correction")
            assert await reading == b"epoch"
            assert port.read_s == loop.time() == sent_s
            assert await pty.read() == b"correction"

            reading = asyncio.create_task(port.read(gather_s=0.5))
            await asyncio.sleep(0.1)
            pty.send(b"report")
            assert await reading == b"report"
            assert loop.time() - sent_s == pytest.approx(0.5, abs=0.01)
            port.close()

    virtualtime.run(main())


def test_a_burst_on_a_line_that_was_quiet_is_kept_whole(tmp_path: Path) -> None:
    """A window takes more than twice of what the kernel keeps for a reader; a pseudo-terminal's own
    buffers hold 8 KiB more, those of a driver 64."""
    sent = bytes(range(256)) * 40

    async def main() -> bytes:
        found = b""
        async with Pty(tmp_path / "gnss") as pty:
            port = await SerialPort.open(pty.path, 230_400)
            for each in (b"quiet", sent):
                sending = asyncio.create_task(piecewise(pty, each, piece=64, baudrate=230_400))
                found = b""
                while len(found) < len(each):
                    found += await port.read(gather_s=0.5)
                await sending
                await asyncio.sleep(1)
            port.close()
        return found

    assert virtualtime.run(main()) == sent


@pytest.mark.parametrize("name", ["gnss", "ttyACM0"])
def test_after_the_time_given_there_are_no_bytes(name: str, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Pty(tmp_path / name) as pty:
            port = await SerialPort.open(pty.path, 38_400)
            for gather_s in (0.0, 0.5):
                began_s = loop.time()
                assert await port.read(1.0, gather_s=gather_s) == b""
                assert loop.time() - began_s == pytest.approx(1.0, abs=0.01)
            port.close()

    virtualtime.run(main())


def test_more_than_one_reading_takes_is_read_without_delay(tmp_path: Path) -> None:
    async def main() -> None:
        async with Pty(tmp_path / "gnss") as pty:
            port = await SerialPort.open(pty.path, 38_400)
            writing = asyncio.create_task(pty.write(bytes(200_000)))
            found = 0
            began_s = asyncio.get_running_loop().time()
            while found < 200_000:
                found += len(await port.read(gather_s=0.1))
            assert (
                asyncio.get_running_loop().time() - began_s < 2.5
            )  # not 0.1 s for each of 49 readings
            await writing
            port.close()

    virtualtime.run(main())


async def test_U01_unplug_ends_a_read_that_gathers(link: Path) -> None:
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 38_400)
        for before in (b"", b"x" * 300):
            pty.send(before)
            if before:
                await port.read(gather_s=0.05)
        reading = asyncio.create_task(port.read(gather_s=0.05))
        await asyncio.sleep(0.02)
        pty.unplug()
        with pytest.raises(PortLost):
            await reading
        with pytest.raises(PortLost):
            await port.read(gather_s=0.05)


async def test_writing_is_not_delayed_by_gathering(link: Path) -> None:
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 38_400)
        reading = asyncio.create_task(port.read(gather_s=5.0))
        pty.send(b"x")
        await asyncio.sleep(0.05)
        port.write(b"correction")
        async with asyncio.timeout(1):
            assert await pty.read() == b"correction"
        reading.cancel()
        port.close()


# The end


async def test_FR80_finish_lets_the_frame_begun_leave_and_drops_the_others(link: Path) -> None:
    first, second = b"\xd3" * 4000, b"\xb5" * 900
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 38_400)
        done: list[bool] = []
        port.write(first, done.append)
        port.write(second, done.append)
        finishing = asyncio.create_task(port.finish())
        found = b""
        async with asyncio.timeout(5):
            while len(found) < len(first):
                found += await pty.read()
        await finishing
        assert found == first
        assert pty.pending() == 0
        assert done == [False, True], "the second was dropped while the first was leaving"
        assert not pty.exclusive


async def test_FR80_finish_is_bounded_where_the_device_takes_nothing(link: Path) -> None:
    async with Pty(link) as pty:
        port = await SerialPort.open(pty.path, 921_600)
        for _ in range(10):
            port.write(bytes(9000))
        began_s = time.monotonic()
        await port.finish()
        assert time.monotonic() - began_s < 4
        assert port.lost
