"""Frames from the port's bytes, and when half a frame is given up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ztpd.model import Frame
from ztpd.receiver.client import UbxClient
from ztpd.serialport.port import SerialPort
from ztpd.sim.pty import Pty
from ztpd.wire import ubx
from ztpd.wire.ubx import Message

REPORT = ubx.message(Message.NAV_SAT, bytes(600))


async def test_FR12_half_a_frame_is_not_given_up_while_its_rest_waits_in_the_kernel(
    tmp_path: Path,
) -> None:
    heard: list[str] = []

    def on_message(frame: Frame, *_: object) -> None:
        heard.append(frame.name)

    async with Pty(tmp_path / "gnss") as pty:
        port = await SerialPort.open(pty.path, 921_600)
        client = UbxClient(port, on_message)
        for gather_s in (0.0, 0.05):
            heard.clear()
            pty.send(REPORT[:300])
            await client.receive(1.0, gather_s=gather_s)
            receiving = asyncio.create_task(client.receive(1.0, gather_s=gather_s))
            await asyncio.sleep(0.01)
            pty.send(REPORT[300:])
            time.sleep(0.3)  # the event loop is late
            await receiving
            if not heard:
                await client.receive(1.0, gather_s=gather_s)
            assert heard == ["NAV-SAT"]
            assert client.scanner.counts.skipped_bytes == 0
        port.close()


async def test_half_a_frame_is_given_up_when_the_line_pauses(tmp_path: Path) -> None:
    async with Pty(tmp_path / "gnss") as pty:
        port = await SerialPort.open(pty.path, 921_600)
        client = UbxClient(port, lambda *_: None)
        for gather_s in (0.0, 0.02):
            pty.send(REPORT[:300])
            await client.receive(1.0, gather_s=gather_s)
            assert client.scanner.pending == 300
            async with asyncio.timeout(0.5):
                while client.scanner.pending:
                    await client.receive(1.0, gather_s=gather_s)
        assert client.scanner.counts.skipped_bytes == 600
        port.close()
