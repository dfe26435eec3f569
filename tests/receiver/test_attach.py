"""The receiver's port comes and goes, is slow, noisy, at another speed, or something else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from pathlib import Path

import pytest

from tests.support.ptybench import ordinary_user
from tests.support.receiver_bench import (
    ReceiverBench,
    bench,
    in_virtual_time,
    log_lines,
    only_frame,
    rtcm,
)
from tests.support.until import until
from ztpd.errors import (
    NotASerialPort,
    PortAbsent,
    PortBusy,
    PortLost,
    PortPermission,
    ReceiverSilent,
    ReceiverUnknown,
)
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.receiver.attach import Attachment
from ztpd.serialport.port import SerialPort
from ztpd.sim.pty import Pty
from ztpd.wire import ubx
from ztpd.wire.frames import rtcm_frame
from ztpd.wire.ubx import Message, MonVer


async def flowing(b: ReceiverBench, within_s: float) -> float:
    """Seconds until a correction delivered now arrives at the receiver."""
    before = len(b.sim.corrections())

    def arrived() -> bool:
        b.receiver.deliver(rtcm())
        return len(b.sim.corrections()) > before

    return await until(arrived, within_s)


@in_virtual_time
async def test_U01_P17_corrections_flow_five_seconds_after_the_port_is_back(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await flowing(b, 5)
        for away_s in (0.3, 2, 30, 100):
            b.pty.unplug()
            await asyncio.sleep(away_s)
            assert not b.receiver.ready
            assert isinstance(b.receiver.error, (PortLost, PortAbsent))
            b.sim.power_cycle()
            b.pty.plug()
            await flowing(b, 5)
            assert b.receiver.error is None


@in_virtual_time
async def test_U01_a_lost_port_is_logged_once_and_then_its_return(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(90)
        b.log.clear()
        b.pty.unplug()
        await asyncio.sleep(100)
        b.sim.power_cycle()
        b.pty.plug()
        await b.receiver.wait_ready()
        names = [line.split()[0] for line in b.log]
        assert names[:2] == ["serial.lost", "serial.absent"]
        assert names[-2:] == ["gnss.found", "gnss.configured"]
        assert len(names) <= 5


@in_virtual_time
async def test_U02_a_port_that_comes_back_as_another_terminal_is_followed(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await flowing(b, 5)
        before = b.pty.terminal
        b.pty.replug()
        assert b.pty.terminal != before
        await until(lambda: not b.receiver.ready, 1)
        await flowing(b, 5)


@in_virtual_time
async def test_U03_a_modem_behind_the_name_gets_nothing_but_the_question(tmp_path: Path) -> None:
    heard_there = bytearray()

    async def modem(pty: Pty) -> None:
        while True:
            data = await pty.read()
            heard_there.extend(data)
            pty.send(data + b"\r\nERROR\r\n")  # echo on

    async with Pty(tmp_path / "gnss") as pty:
        answering = asyncio.create_task(modem(pty))
        receiver = Receiver(ReceiverSettings(pty.path), rng=random.Random(1))
        running = asyncio.create_task(receiver.run())
        await until(lambda: receiver.error, 30)
        running.cancel()
        answering.cancel()
        assert isinstance(receiver.error, (ReceiverSilent, ReceiverUnknown))
        assert bytes(heard_there).replace(ubx.poll(Message.MON_VER), b"") == b""


@in_virtual_time
async def test_U04_U13_a_stalled_line_does_not_block_the_daemon(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        b.sim.faults.ignores_input = True
        for _ in range(120):
            b.receiver.deliver(only_frame(rtcm_frame(bytes(1000))))
            await asyncio.sleep(1 / 3)
        view = b.receiver.view
        assert b.receiver.ready, "it still reports its position"
        assert view.dropped > 20
        assert view.delivered_frames < 120 - view.dropped, "the newest still wait"
        assert view.dropped_share is not None
        assert view.dropped_share > 0.5
        b.sim.faults.ignores_input = False
        await asyncio.sleep(5)
        fresh = only_frame(rtcm_frame(b"\x43\x50 fresh"))
        b.receiver.deliver(fresh)
        await until(lambda: fresh in b.sim.corrections(), 15)


@in_virtual_time
async def test_U05_on_a_slow_line_frames_are_whole_or_not_there(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1", settings={"keys": {}, "queue_bytes": 4000}) as b:
        b.sim.saved |= {0x40520001: 9600}
        b.sim.reset()
        await asyncio.wait_for(b.receiver.wait_ready(), 30)
        skipped_before = b.sim.skipped_bytes
        source = random.Random(3)
        sent = []
        for _ in range(300):
            frame = only_frame(rtcm_frame(b"\x43\x50" + source.randbytes(source.randrange(900))))
            sent.append(frame)
            b.receiver.deliver(frame)
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        arrived = b.sim.corrections()
        assert b.sim.skipped_bytes == skipped_before, "no torn frame"
        assert [frame for frame in sent if frame in arrived] == arrived, "in order"
        assert 0 < b.receiver.dropped < 300
        assert len(arrived) + b.receiver.dropped == 300


@in_virtual_time
async def test_U06_noise_between_frames_costs_no_frame(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        noise = random.Random(5)
        for _ in range(40):
            b.sim.send(b"\xff" * 20 + noise.randbytes(50) + b"\xb5\x62\x01\x07\xff\x1f\xd3\x03\xff")
            b.receiver.deliver(b.spartn())
            await asyncio.sleep(1)
        assert b.receiver.ready
        assert b.receiver.fix_age_s is not None
        assert b.receiver.fix_age_s <= 2
        assert b.receiver.view.fix == "RTK fixed"
        assert b.receiver.view.skipped_bytes > 1000


@in_virtual_time
async def test_U10_a_break_on_the_line_costs_no_more_than_the_frame_it_hits(tmp_path: Path) -> None:
    """A tty in raw mode without IGNBRK gives a break as a zero byte."""
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        for _ in range(30):
            b.sim.send(b"\0")
            b.receiver.deliver(b.spartn())
            await asyncio.sleep(0.7)
        assert b.receiver.ready
        assert b.receiver.view.fix == "RTK fixed"
        assert len(b.logged("gnss.found")) == 1


@pytest.mark.parametrize("baudrate", [9600, 57600, 115200, 230400, 460800, 921600])
@in_virtual_time
async def test_U07_the_speed_of_the_receiver_is_found(tmp_path: Path, baudrate: int) -> None:
    async with bench(tmp_path, wired="UART1") as b:
        b.sim.set("CFG-UART1-BAUDRATE", baudrate)
        await asyncio.wait_for(b.receiver.wait_ready(), 20)
        assert b.receiver.view.baudrate == baudrate
        await flowing(b, 5)


@in_virtual_time
async def test_U07_an_unknown_speed_is_reported(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1", settings={"baudrate": 115200}) as b:
        b.sim.set("CFG-UART1-BAUDRATE", 14400)
        await until(lambda: b.receiver.error, 30)
        assert isinstance(b.receiver.error, ReceiverSilent)
        assert "its bytes are no known message at any speed tried, 115200 baud first" in str(
            b.receiver.error
        )


@in_virtual_time
async def test_G02_a_receiver_that_was_silent_for_long_is_noticed_by_its_first_byte(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        for silent_s in (60, 600):
            b.sim.faults.sends_nothing = True
            await asyncio.sleep(silent_s)
            assert isinstance(b.receiver.error, ReceiverSilent)
            assert "it sends nothing" in str(b.receiver.error)
            b.sim.faults.sends_nothing = False
            await flowing(b, 5)
            assert b.receiver.error is None
        assert len(b.logged("gnss.silent")) <= 4


@in_virtual_time
async def test_a_receiver_that_says_nothing_is_asked_every_two_minutes_at_last(
    tmp_path: Path,
) -> None:
    asked = ubx.poll(Message.MON_VER)

    async with Pty(tmp_path / "gnss") as pty:
        heard_there = bytearray()

        async def listen() -> None:
            while True:
                heard_there.extend(await pty.read())

        listening = asyncio.create_task(listen())
        receiver = Receiver(ReceiverSettings(pty.path), rng=random.Random(1))
        running = asyncio.create_task(receiver.run())
        await asyncio.sleep(600)
        heard_there.clear()
        await asyncio.sleep(3600)
        running.cancel()
        listening.cancel()
        rounds = heard_there.count(asked) / 9  # three at the first speed, one at each other
        assert 3600 / (120 + 10) <= rounds <= 3600 / 60
        assert bytes(heard_there).replace(asked, b"") == b""


@in_virtual_time
async def test_G10_a_speed_changed_by_another_program_is_followed(tmp_path: Path) -> None:
    async with bench(tmp_path, wired="UART1") as b:
        await flowing(b, 5)
        b.sim.set("CFG-UART1-BAUDRATE", 115200)
        await until(lambda: not b.receiver.ready, 10)
        await flowing(b, 30)
        assert b.receiver.view.baudrate == 115200


@in_virtual_time
async def test_U08_a_busy_port_is_reported_and_taken_when_free(tmp_path: Path) -> None:
    async with Pty(tmp_path / "gnss") as pty:
        other = await SerialPort.open(pty.path, 38400)
        receiver = Receiver(ReceiverSettings(pty.path), rng=random.Random(1))
        with log_lines() as log:
            running = asyncio.create_task(receiver.run())
            await until(lambda: receiver.error, 5)
            assert isinstance(receiver.error, PortBusy)
            other.close()
            await until(lambda: isinstance(receiver.error, ReceiverSilent), 60)
            running.cancel()
        assert log[0].startswith("serial.busy")


@in_virtual_time
async def test_U12_a_plain_file_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    receiver = Receiver(ReceiverSettings(str(tmp_path / "file")), rng=random.Random(1))
    running = asyncio.create_task(receiver.run())
    await until(lambda: receiver.error, 5)
    running.cancel()
    assert isinstance(receiver.error, NotASerialPort)
    assert (tmp_path / "file").read_bytes() == b""


@in_virtual_time
async def test_U11_ten_plugs_a_minute_leave_nothing_behind_and_few_lines(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        for _ in range(50):
            b.pty.unplug()
            await asyncio.sleep(1)
            b.sim.power_cycle()
            b.pty.plug()
            await asyncio.sleep(5)
        assert len(b.log) <= 20, "in five minutes"
        await until(lambda: b.receiver.ready, 5)
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        assert len(asyncio.all_tasks()) <= tasks
        b.log.clear()
        await asyncio.sleep(70)
        assert b.logged("gnss.found"), "calm again, and that is said"


@in_virtual_time
async def test_G12_a_flood_of_positions_costs_little(tmp_path: Path) -> None:
    changes = []
    async with bench(tmp_path, on_change=lambda: changes.append(1)) as b:
        await b.receiver.wait_ready()
        b.sim.set("CFG-RATE-MEAS", 3_600_000 - 1)
        flood = ubx.message(Message.NAV_PVT, bytes(92))
        await asyncio.sleep(0.5)
        changes.clear()
        began = time.process_time()
        for _ in range(100):  # ten seconds of 100 positions and 100 other messages a second
            b.sim.send((flood + ubx.message(Message.NAV_SAT, bytes(300))) * 10)
            await asyncio.sleep(0.1)
        assert time.process_time() - began < 2.5
        assert len(changes) < 10
        assert b.receiver.ready


async def opening(port: str) -> SerialPort:
    return await Attachment(ReceiverSettings(port=port), Path("/")).open()


async def test_a_pattern_in_place_of_a_port_is_a_port_that_is_away() -> None:
    with pytest.raises(PortAbsent, match=r"tty\*; /dev has tty"):
        await opening("/dev/tty*")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
async def test_a_port_in_a_folder_that_is_closed_to_the_daemon_is_said_to_be_so(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    (folder / "gnss").symlink_to("/dev/null")
    with ordinary_user(), pytest.raises(PortPermission, match="a folder on the way"):
        await opening(str(folder / "gnss"))


@in_virtual_time
async def test_cancelled_it_gives_the_port_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        running = next(t for t in asyncio.all_tasks() if "Receiver.run" in repr(t.get_coro()))
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        assert not b.receiver.ready
        port = await SerialPort.open(b.pty.path, 38400)
        port.close()


@in_virtual_time
async def test_another_device_behind_the_name_is_identified_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        assert b.receiver.view.model == "ZED-F9P"
        b.sim.model = type(b.sim.model)("ZED-X20P", "HPG 2.02", "50.10")
        b.pty.replug()
        await until(lambda: b.receiver.view.model == "ZED-X20P", 5)


def test_a_receiver_without_a_model_name_is_still_used() -> None:
    version = MonVer("ROM CORE 3.01", "00080000")
    assert version.model == ""
