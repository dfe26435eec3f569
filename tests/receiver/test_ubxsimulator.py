"""A receiver simulator that is not ours: pyubxutils' UBXSimulator.

It can serve for the steps before the set-up: it answers MON-VER and sends the NAV-PVT it is
configured to. It cannot serve for more: it acknowledges every message, also those that no receiver
knows, answers no CFG-VALGET, holds no settings and no keys, reports no RXM-COR, and its fix does
not depend on corrections. It is a stream in Python, so a pseudo-terminal is put before it here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ztpd.errors import ReceiverUnconfigurable
from ztpd.model import Carrier, Frame
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.receiver.client import UbxClient
from ztpd.receiver.identify import identify
from ztpd.serialport.port import SerialPort
from ztpd.sim.pty import Pty
from ztpd.wire.ubx import NavPvt, Parsed

pyubxutils = pytest.importorskip("pyubxutils", reason="pyubxutils is not installed")

FIXED = {"lat": 52.52, "lon": 13.405, "fixType": 3, "gnssFixOk": 1, "carrSoln": 2, "numSV": 20}
CONFIGURATION: dict[str, Any] = {
    "interval": 100,
    "timeout": 3,
    "ubxmessages": [{"msgCls": "NAV", "msgId": "NAV-PVT", "attrs": {**FIXED, "hAcc": 14}}],
}


@contextlib.asynccontextmanager
async def foreign_receiver(tmp_path: Path) -> AsyncIterator[Pty]:
    (tmp_path / "simulator.json").write_text(json.dumps(CONFIGURATION))
    simulator = pyubxutils.UBXSimulator(configfile=str(tmp_path / "simulator.json"))

    async def say(pty: Pty) -> None:
        while True:
            if count := simulator.in_waiting:
                await pty.write(simulator.read(count))
            await asyncio.sleep(0.02)

    async def hear(pty: Pty) -> None:
        while True:
            simulator.write(await pty.read())

    simulator.start()
    try:
        async with Pty(tmp_path / "gnss") as pty:
            tasks = [asyncio.create_task(say(pty)), asyncio.create_task(hear(pty))]
            yield pty
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    finally:
        simulator.stop()


async def test_it_is_found_and_its_position_read(tmp_path: Path) -> None:
    heard: list[Parsed | None] = []

    def note(_: Frame, message: Parsed | None, _s: float) -> None:
        heard.append(message)

    async with foreign_receiver(tmp_path) as pty:
        port = await SerialPort.open(pty.path, 38400)
        line = UbxClient(port, note)
        version = await identify(line, 38400)
        assert (version.software, version.model) == ("ROM_CORE UBXSIM", "")
        while not any(isinstance(message, NavPvt) for message in heard):
            await line.receive(1)
        port.close()
    fix = next(message for message in heard if isinstance(message, NavPvt)).to_fix()
    assert (fix.ok, fix.carrier, fix.satellites) == (True, Carrier.FIXED, 20)
    assert (fix.lat_deg, fix.lon_deg, fix.accuracy_m) == (52.52, 13.405, 0.014)


@pytest.mark.slow
async def test_a_receiver_that_acknowledges_all_and_answers_nothing_is_reported(
    tmp_path: Path,
) -> None:
    async with foreign_receiver(tmp_path) as pty:
        receiver = Receiver(ReceiverSettings(pty.path))
        running = asyncio.create_task(receiver.run())
        for _ in range(100):
            await asyncio.sleep(0.1)
            if receiver.error:
                break
        running.cancel()
        await asyncio.wait([running])
    assert isinstance(receiver.error, ReceiverUnconfigurable)
    assert "CFG-VALGET" in str(receiver.error)
