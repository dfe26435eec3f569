"""A restart of ztpd, or its end, in the middle of a frame to the receiver."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.support.receiver_bench import in_virtual_time, only_frame
from ztpd.model import Frame
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import SimReceiver
from ztpd.wire import ubx
from ztpd.wire.frames import rtcm_frame, spartn_frame

SOON_S = 5.0


@asynccontextmanager
async def line(tmp_path: Path) -> AsyncIterator[tuple[Pty, SimReceiver]]:
    """A receiver on a UART at 38400 baud, which loses a damaged frame with all that is in it."""
    async with Pty(tmp_path / "gnss") as pty, SimReceiver(pty, wired="UART1") as sim:
        sim.faults.drops_failed = True
        yield pty, sim


@asynccontextmanager
async def ztpd(pty: Pty) -> AsyncIterator[Receiver]:
    receiver = Receiver(ReceiverSettings(pty.path), rng=random.Random(1))
    running = asyncio.create_task(receiver.run())
    try:
        yield receiver
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def ready_after_s(receiver: Receiver) -> float:
    began_s = asyncio.get_running_loop().time()
    async with asyncio.timeout(300):
        await receiver.wait_ready()
    return asyncio.get_running_loop().time() - began_s


def burst(dice: random.Random) -> list[Frame]:
    return [
        only_frame(spartn_frame(1, 0, dice.randbytes(dice.randrange(100, 900)), time_tag=5 * each))
        for each in range(3)
    ]


@in_virtual_time
async def test_FR80_a_stop_at_any_moment_leaves_no_half_frame_behind(tmp_path: Path) -> None:
    dice = random.Random(80)
    async with line(tmp_path) as (pty, sim):
        for _ in range(50):
            async with ztpd(pty) as receiver:
                assert await ready_after_s(receiver) < SOON_S
                for frame in burst(dice):
                    receiver.deliver(frame)
                await asyncio.sleep(dice.random() * 0.6)
        await asyncio.sleep(1)
        assert sim.skipped_bytes == 0


@pytest.mark.parametrize(
    "frame",
    [
        spartn_frame(1, 0, bytes(1020), time_tag=1, encrypted=True, authentication=b"a" * 64),
        rtcm_frame(bytes(1023)),
        ubx.message(ubx.Message.MGA_GPS, bytes(600)),
    ],
    ids=["SPARTN", "RTCM 3", "UBX"],
)
@pytest.mark.parametrize("written", [6, 100, 400])
def test_FR80_a_receiver_that_holds_half_a_frame_is_reached_by_filler(
    frame: bytes, written: int, tmp_path: Path
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with line(tmp_path) as (pty, sim):
            async with ztpd(pty) as receiver:
                await receiver.wait_ready()
            host = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)
            os.write(host, frame[:written])  # as by a process that was killed
            os.close(host)
            await asyncio.sleep(1)
            async with ztpd(pty) as receiver:
                assert await ready_after_s(receiver) < SOON_S
            assert sim.skipped_bytes < 2200

    run()


@in_virtual_time
async def test_FR80_a_restart_within_a_frame_is_survived(tmp_path: Path) -> None:
    """The receiver sends NMEA alone then, and takes some bytes of the rest for a frame's head."""
    async with line(tmp_path) as (pty, sim):
        sim.set("CFG-{}INPROT-SPARTN", 1, saved=True)  # its parser goes on as before
        async with ztpd(pty) as receiver:
            await receiver.wait_ready()
            sim.reset()
            await asyncio.sleep(1.05)
            host = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)
            os.write(host, rtcm_frame(bytes(1023))[:6])
            os.close(host)
            await asyncio.sleep(3)
            assert await ready_after_s(receiver) < SOON_S


@in_virtual_time
async def test_FR80_a_receiver_that_takes_nothing_delays_no_stop(tmp_path: Path) -> None:
    async with line(tmp_path) as (pty, sim):
        async with ztpd(pty) as receiver:
            await receiver.wait_ready()
            sim.faults.ignores_input = True
            for frame in burst(random.Random(1)) * 4:
                receiver.deliver(frame)
            await asyncio.sleep(3)
            began_s = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began_s < SOON_S
