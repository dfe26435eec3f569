"""`output.pty`: other programs read the receiver's messages, and disturb nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from tests.support.receiver_bench import KEY, bench, current_and_next, in_virtual_time
from tests.support.until import until
from ztpd.model import FrameKind
from ztpd.wire.frames import Scanner

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the group dialout takes root")


class Reader:
    """A program that reads the shared terminal."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.data = b""
        self.scanner = Scanner(FrameKind.UBX, FrameKind.NMEA, FrameKind.RTCM3)

    def names(self) -> list[str]:
        """Of the frames that came since: a read gives what the kernel has moved so far."""
        names: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while found := os.read(self.file, 65536):
                self.data += found
                names += [frame.name for frame in self.scanner.feed(found)]
        return names


@in_virtual_time
async def test_a_reader_gets_every_message_whole(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with bench(tmp_path, settings={"share": str(shared)}) as b:
        await b.receiver.wait_ready()
        reader = Reader(shared)
        b.sim.send(b"\xff noise \xb5")
        await b.stream(10, b.spartn)
        names = reader.names()
        assert names.count("NAV-PVT") in (9, 10)
        assert names.count("GGA") in (9, 10)
        assert names.count("RXM-COR") in (9, 10)
        assert reader.scanner.counts.skipped_bytes == 0
        os.close(reader.file)
    assert not shared.is_symlink(), "a stop cleans up"


@in_virtual_time
async def test_the_decryption_keys_are_not_shared(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with bench(tmp_path, settings={"share": str(shared)}) as b:
        await until(shared.is_symlink, 5)
        reader = Reader(shared)
        b.receiver.set_keys(current_and_next())
        await b.receiver.wait_ready()
        await until(lambda: b.sim.keys, 5)
        await asyncio.sleep(5)
        assert "NAV-PVT" in reader.names()
        assert KEY not in reader.data
        os.close(reader.file)


@in_virtual_time
async def test_P16_a_reader_that_never_reads_slows_nothing(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with bench(tmp_path, settings={"share": str(shared)}) as b:
        await b.receiver.wait_ready()
        lazy = Reader(shared)
        b.sim.set("CFG-RATE-MEAS", 100)
        await b.stream(20, b.spartn)
        assert len(b.sim.corrections()) == 20
        assert b.receiver.view.fix == "RTK fixed"
        assert b.receiver.dropped == 0
        os.close(lazy.file)


@in_virtual_time
async def test_bytes_written_by_a_reader_reach_no_receiver(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with bench(tmp_path, settings={"share": str(shared)}) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(2)
        reader, before = Reader(shared), len(b.sim.received)
        os.write(reader.file, bytes.fromhex("b562060904000000ffff1119") * 20)
        await asyncio.sleep(5)
        assert b.sim.received[before:] == []
        os.close(reader.file)


@in_virtual_time
async def test_the_reader_keeps_its_terminal_while_the_receiver_is_away(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with bench(tmp_path, settings={"share": str(shared)}) as b:
        await b.receiver.wait_ready()
        reader = Reader(shared)
        await asyncio.sleep(3)
        b.pty.unplug()
        await asyncio.sleep(20)
        reader.names()
        b.sim.power_cycle()
        b.pty.plug()
        await until(lambda: b.receiver.ready, 10)
        await asyncio.sleep(3)
        assert "NAV-PVT" in reader.names()
        os.close(reader.file)


@in_virtual_time
async def test_FR109_a_place_that_cannot_be_used_yet_is_reported_and_used_later(
    tmp_path: Path,
) -> None:
    shared = tmp_path / "late/gnss"
    async with bench(tmp_path, settings={"share": str(shared)}) as b:
        await b.receiver.wait_ready()
        await b.stream(5, b.spartn)
        assert len(b.sim.corrections()) == 5
        assert str(shared) in b.receiver.view.share_problem
        await asyncio.sleep(30)
        assert len(b.logged("output.failed")) == 1
        shared.parent.mkdir()
        await until(shared.is_symlink, 15)
        assert b.receiver.view.share_problem == ""
        reader = Reader(shared)
        await asyncio.sleep(3)
        assert "NAV-PVT" in reader.names()
        os.close(reader.file)


@in_virtual_time
async def test_FR109_a_terminal_that_cannot_be_renewed_for_a_moment_comes_back(
    tmp_path: Path,
) -> None:
    shared = tmp_path / "place/gnss"
    shared.parent.mkdir()
    async with bench(tmp_path, settings={"share": str(shared)}) as b:
        await b.receiver.wait_ready()
        reader = Reader(shared)
        await asyncio.sleep(3)
        shared.parent.rename(tmp_path / "elsewhere")
        os.close(reader.file)  # as gpsd does when it restarts
        await asyncio.sleep(3)
        assert b.receiver.view.share_problem
        (tmp_path / "elsewhere").rename(shared.parent)
        await until(lambda: not b.receiver.view.share_problem, 15)
        reader = Reader(shared)
        await asyncio.sleep(3)
        assert "NAV-PVT" in reader.names()
        os.close(reader.file)


@in_virtual_time
async def test_a_name_that_cannot_be_made_keeps_no_corrections_from_the_receiver(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, settings={"share": f"/{300 * 'x'}"}) as b:
        await until(lambda: b.receiver.ready, 10)
        await b.stream(10, b.spartn)
        assert len(b.sim.corrections()) == 10
        assert "File name too long" in b.receiver.view.share_problem
