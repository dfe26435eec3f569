"""Debian's real gpsd on the datagrams and on the shared terminal, while corrections flow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.receiver_bench import rtcm
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import SimReceiver

GPSD, GPSPIPE = shutil.which("gpsd") or "/usr/sbin/gpsd", shutil.which("gpspipe")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (Path(GPSD).exists() and GPSPIPE), reason="gpsd or gpsd-clients is not installed"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="gpsd becomes another user only as root"),
]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A place that gpsd's own user can reach, as /run/ztpd is."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def gpsd(device: Path | str) -> AsyncIterator[int]:
    port = free_port()
    running = await asyncio.create_subprocess_exec(
        GPSD, "-N", "-S", str(port), str(device), stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(50):
            await asyncio.sleep(0.1)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield port
    finally:
        running.terminate()
        await running.wait()


async def piped(port: int, seconds: int) -> list[dict[str, Any]]:
    """The output of `gpspipe -w` in that time."""
    assert GPSPIPE is not None
    pipe = await asyncio.create_subprocess_exec(
        GPSPIPE, "-w", "-x", str(seconds), f"localhost:{port}", stdout=subprocess.PIPE
    )
    text, _ = await pipe.communicate()
    return [json.loads(line) for line in text.splitlines() if line.startswith(b"{")]


def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_gpsd_takes_the_fix_from_datagrams_while_corrections_flow(tmp_path: Path) -> None:
    target = f"127.0.0.1:{udp_port()}"
    async with Pty(tmp_path / "gnss") as pty, SimReceiver(pty) as sim:
        receiver = Receiver(ReceiverSettings(pty.path, udp=(target,)))

        async def feed() -> None:
            while True:
                receiver.deliver(rtcm())
                await asyncio.sleep(0.2)

        tasks = [asyncio.create_task(receiver.run()), asyncio.create_task(feed())]
        await asyncio.wait_for(receiver.wait_ready(), 10)
        async with gpsd(f"udp://{target}") as port:
            reports = await piped(port, 12)
        async with gpsd(f"udp://{target}") as port:  # gpsd is restarted, ztpd is not
            again = await piped(port, 6)
        before = set(sim.received)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    for found in (reports, again):
        fixes = [each for each in found if each["class"] == "TPV" and each["mode"] == 3]
        last = next(each for each in reversed(fixes) if "time" in each)
        assert (round(last["lat"], 3), round(last["lon"], 3)) == (52.52, 13.405)
        assert last["status"] == 3, "RTK fixed"
    assert not [frame for frame in before if frame.name == "CFG-PRT"], "gpsd's own settings"


async def test_gpspipe_shows_the_fix_of_the_terminal_while_corrections_flow(
    open_folder: Path,
) -> None:
    async with Pty(open_folder / "gnss") as pty, SimReceiver(pty) as sim:
        shared = open_folder / "shared"
        receiver = Receiver(ReceiverSettings(pty.path, share=str(shared)))

        async def feed() -> None:
            while True:
                receiver.deliver(rtcm())
                await asyncio.sleep(0.2)

        tasks = [asyncio.create_task(receiver.run()), asyncio.create_task(feed())]
        await asyncio.wait_for(receiver.wait_ready(), 10)
        async with gpsd(shared) as port:
            reports = await piped(port, 15)
            again = await piped(port, 4)  # gpsd has closed the terminal meanwhile
        delivered, before = receiver.view.delivered_frames, set(sim.received)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    fixes = [each for each in reports if each["class"] == "TPV" and each["mode"] == 3]
    assert fixes
    last = next(each for each in reversed(fixes) if "eph" in each and "time" in each)
    assert (round(last["lat"], 3), round(last["lon"], 3)) == (52.52, 13.405)
    assert last["status"] == 3, "RTK fixed"
    assert last["eph"] < 0.02
    assert [each for each in again if each["class"] == "TPV" and each["mode"] == 3]
    (device,) = next(each for each in reports if each["class"] == "DEVICES")["devices"]
    assert device["path"] == str(shared)
    assert delivered > 60
    assert not [frame for frame in before if frame.name == "CFG-PRT"], "gpsd's own settings"
