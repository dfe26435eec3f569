"""`output.udp`: the receiver's messages as datagrams, beside the corrections and at no cost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.support.receiver_bench import (
    KEY,
    bench,
    current_and_next,
    in_virtual_time,
    only_frame,
    rtcm,
)
from tests.support.until import until
from ztpd.model import Frame, FrameKind


class Listener:
    """A program that reads datagrams."""

    def __init__(self, bound: socket.socket) -> None:
        self.target = f"127.0.0.1:{bound.getsockname()[1]}"
        self._bound = bound

    def frames(self) -> list[Frame]:
        """The datagrams that came since; fails for one that is not exactly one frame."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(only_frame(self._bound.recv(65536)))
        return found

    def names(self) -> list[str]:
        return [frame.name for frame in self.frames()]


@contextlib.contextmanager
def listener() -> Iterator[Listener]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        yield Listener(bound)


@in_virtual_time
async def test_every_target_gets_every_message_whole_in_a_datagram_of_its_own(
    tmp_path: Path,
) -> None:
    with listener() as one, listener() as two:
        async with bench(tmp_path, settings={"udp": (one.target, two.target)}) as b:
            await b.receiver.wait_ready()
            one.frames(), two.frames()
            b.sim.send(b"\xff noise \xb5")
            await b.stream(10, b.spartn)
            for reader in (one, two):
                names = reader.names()
                assert names.count("NAV-PVT") in (9, 10)
                assert names.count("GGA") in (9, 10)
                assert names.count("RXM-COR") in (9, 10)


@in_virtual_time
async def test_only_the_kinds_that_are_set_go_there(tmp_path: Path) -> None:
    with listener() as reader:
        settings = {"udp": (reader.target,), "udp_kinds": ("nmea", "rtcm")}
        async with bench(tmp_path, settings=settings) as b:
            await b.receiver.wait_ready()
            b.sim.send(rtcm().data)
            await b.stream(5, b.spartn)
            frames = reader.frames()
            assert {frame.kind for frame in frames} == {FrameKind.NMEA, FrameKind.RTCM3}
            assert rtcm().data in [frame.data for frame in frames]


@in_virtual_time
async def test_the_decryption_keys_are_not_sent(tmp_path: Path) -> None:
    with listener() as reader:
        async with bench(tmp_path, settings={"udp": (reader.target,)}) as b:
            b.receiver.set_keys(current_and_next())
            await b.receiver.wait_ready()
            await until(lambda: b.sim.keys, 5)
            await asyncio.sleep(5)
            frames = reader.frames()
            assert "NAV-PVT" in [frame.name for frame in frames]
            assert not [frame for frame in frames if KEY in frame.data]
            assert "RXM-SPARTNKEY" not in [frame.name for frame in frames]


@in_virtual_time
async def test_P16_targets_that_are_not_there_or_never_read_slow_nothing(tmp_path: Path) -> None:
    with listener() as lazy:
        settings = {"udp": (lazy.target, "127.0.0.1:9")}
        async with bench(tmp_path, settings=settings) as b:
            await b.receiver.wait_ready()
            b.sim.set("CFG-RATE-MEAS", 100)
            await b.stream(20, b.spartn)
            assert len(b.sim.corrections()) == 20
            assert b.receiver.view.fix == "RTK fixed"
            assert b.receiver.view.share_problem == ""
            assert b.receiver.dropped == 0
            assert b.logged("output") == []


@in_virtual_time
async def test_a_target_gets_on_after_the_receiver_was_unplugged(tmp_path: Path) -> None:
    with listener() as reader:
        async with bench(tmp_path, settings={"udp": (reader.target,)}) as b:
            await b.receiver.wait_ready()
            b.pty.unplug()
            await asyncio.sleep(20)
            reader.frames()
            b.sim.power_cycle()
            b.pty.plug()
            await until(lambda: b.receiver.ready, 10)
            await asyncio.sleep(3)
            assert "NAV-PVT" in reader.names()


@in_virtual_time
async def test_FR109_an_address_that_this_host_refuses_is_reported_once_and_tried_again(
    tmp_path: Path,
) -> None:
    with listener() as reader:
        refused = "127.255.255.255:10110"  # a broadcast address: the kernel asks for a permission
        async with bench(tmp_path, settings={"udp": (refused, reader.target)}) as b:
            await b.receiver.wait_ready()
            await b.stream(60, b.spartn)
            assert refused in b.receiver.view.share_problem
            assert len(b.logged("output.failed")) == 1
            assert len(b.sim.corrections()) == 60
            assert "NAV-PVT" in reader.names(), "the other target"
