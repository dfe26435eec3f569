"""The whole daemon: its receiver's position for another program, switched on while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time
from tests.support.until import until
from ztpd import status
from ztpd.model import FrameKind
from ztpd.sim import corrections
from ztpd.sim.caster import Caster
from ztpd.wire.frames import Scanner


async def stream() -> AsyncIterator[bytes]:
    pieces = corrections.coalesce(corrections.rtcm(random.Random(1)))
    async for piece in corrections.paced(pieces):
        yield piece.data


@in_virtual_time
async def test_a_changed_configuration_sends_the_position_to_another_program(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader:
        reader.bind(("127.0.0.1", 0))
        reader.setblocking(False)
        async with Caster({"NEAR-RTCM": stream}) as caster, gateway.receiver():
            ntrip = {
                "host": "localhost",
                "port": caster.port,
                "mountpoint": "NEAR-RTCM",
                "tls": False,
            }
            gateway.configure(ntrip=ntrip)
            async with gateway.running():
                await until(lambda: read(gateway).receiver.fix == "RTK fixed", 120)
                assert received(reader) == []

                udp = [f"127.0.0.1:{reader.getsockname()[1]}"]
                gateway.configure(ntrip=ntrip, output={"udp": udp, "udp_kinds": ["nmea"]})
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: has_rtk_fix(received(reader)), 120)
                await until(lambda: read(gateway).state == "streaming", 60)
                assert read(gateway).receiver.share_problem == ""
        received(reader)
        await asyncio.sleep(5)
        assert received(reader) == [], "after the stop"


def read(gateway: Gateway) -> status.Status:
    return status.read(gateway.runtime_dir)


def received(reader: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(reader.recv(65536))
    return found


def has_rtk_fix(datagrams: list[bytes]) -> bool:
    """Whether a GGA of quality 4 is there; each datagram is one sentence."""
    for each in datagrams:
        (frame,) = Scanner(FrameKind.NMEA).feed(each)
        assert frame.data == each
    return any(re.match(rb"\$G[NP]GGA(,[^,]*){5},4,", each) for each in datagrams)
