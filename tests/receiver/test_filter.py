"""Nothing from outside can reconfigure the receiver."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.receiver_bench import (
    ReceiverBench,
    bench,
    in_virtual_time,
    only_frame,
    rtcm,
    ubx_frame,
)
from tests.support.until import until
from ztpd.model import Frame, FrameKind
from ztpd.receiver.filter import is_assistance, is_correction, ubx_message
from ztpd.wire import ubx
from ztpd.wire.frames import rtcm_frame, spartn_frame
from ztpd.wire.ubx import CfgRst, CfgValset, Message

FACTORY_RESET = ubx.message(Message.CFG_RST, b"\xff\xff\0\0")

frames = st.builds(
    Frame,
    st.sampled_from(FrameKind),
    st.one_of(
        st.binary(max_size=60),
        st.builds(ubx.message, st.integers(0, 0xFFFF), st.binary(max_size=40)),
        st.builds(ubx.message, st.integers(0x1300, 0x13FF), st.binary(max_size=40)),
        st.builds(lambda data: b"\x73" + data, st.binary(max_size=60)),
    ),
    st.text(max_size=8),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(frames, max_size=40))
def test_of_all_frames_only_corrections_and_assistance_get_through(
    tmp_path_factory: pytest.TempPathFactory, delivered: list[Frame]
) -> None:
    @in_virtual_time
    async def deliver() -> None:
        async with bench(tmp_path_factory.mktemp("gate")) as b:
            await b.receiver.wait_ready()
            await asyncio.sleep(0.2)
            before = len(b.sim.received)
            for frame in delivered:
                b.receiver.deliver(frame)
            await asyncio.sleep(0.5)
            for frame in b.sim.received[before:]:
                assert frame.kind is not FrameKind.NMEA
                if frame.kind is FrameKind.UBX and frame.data != CfgRst().encode():
                    assert ubx.unwrap(frame.data)[0] >> 8 == 0x13

    deliver()


@pytest.mark.parametrize(
    "number", [each for each in Message if each >> 8 != 0x13 and each != Message.RXM_SPARTNKEY]
)
def test_no_other_ubx_message_is_a_correction(number: Message) -> None:
    frame = ubx_frame(number, bytes(12))
    assert not is_correction(frame)
    assert ubx_message(frame) == (number, bytes(12))
    assert not is_assistance(number)


@pytest.mark.parametrize(
    "hidden", [FACTORY_RESET, CfgValset({0x40520001: 9600}).encode(), b"\0" + FACTORY_RESET + b"\0"]
)
def test_ubx_hidden_in_a_correction_makes_it_none(hidden: bytes) -> None:
    """A receiver that has just restarted does not take SPARTN, and finds the UBX inside it."""
    for frame in (
        only_frame(spartn_frame(0, 0, bytes(40) + hidden, time_tag=5)),
        only_frame(rtcm_frame((1077 << 4).to_bytes(2, "big") + hidden)),
    ):
        assert not is_correction(frame)


def test_the_sync_of_ubx_alone_is_nothing_to_fear() -> None:
    assert is_correction(only_frame(spartn_frame(0, 0, b"\xb5\x62\x06\x8a" * 20, time_tag=5)))


def test_a_frame_of_another_kind_than_declared_is_refused() -> None:
    for kind in FrameKind:
        assert not is_correction(Frame(kind, FACTORY_RESET, "OCB-GPS"))
        assert not is_assistance(ubx_message(Frame(kind, FACTORY_RESET, "MGA-GPS"))[0])
        if kind is not FrameKind.UBX:
            assert ubx_message(Frame(kind, ubx.message(0x1300), "MGA-GPS")) == (0, b"")
    two = Frame(FrameKind.UBX, ubx.message(0x1300) + FACTORY_RESET, "MGA-GPS")
    assert ubx_message(two) == (0, b"")


async def sent(b: ReceiverBench, frame: Frame) -> list[Frame]:
    await b.receiver.wait_ready()
    await asyncio.sleep(1)
    before = len(b.sim.received)
    b.receiver.deliver(frame)
    await asyncio.sleep(0.5)
    return b.sim.received[before:]


@in_virtual_time
async def test_corrections_and_assistance_go_as_they_are(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        for frame in (b.spartn(), ubx_frame(Message.MGA_GPS, bytes(68))):
            assert await sent(b, frame) == [frame]
        view = b.receiver.view
        assert view.delivered_frames == 2
        assert view.refused == 0


@in_virtual_time
async def test_the_navigation_restarts_between_two_formats_so_that_they_are_not_mixed(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        first, second = b.spartn(), rtcm()
        assert await sent(b, first) == [first]
        restart, after = await sent(b, second)
        assert (restart.data, after) == (CfgRst().encode(), second)
        assert await sent(b, second) == [second], "once"
        (line,) = b.logged("gnss.format_changed")
        assert line.startswith("corrections come as RTCM3 instead of SPARTN")
        await asyncio.sleep(10)
        assert b.receiver.fix is not None
        assert b.receiver.fix.ok
        assert not b.logged("gnss.restarted"), "settings and ports stay"


@in_virtual_time
async def test_formats_stay_apart_where_the_line_was_lost_between_them(tmp_path: Path) -> None:
    """An adapter was unplugged: the receiver kept its power and what it has of the first one."""
    async with bench(tmp_path) as b:
        await sent(b, b.spartn())
        b.pty.unplug()
        b.receiver.deliver(rtcm())
        await asyncio.sleep(0)
        b.receiver.deliver(rtcm())
        await asyncio.sleep(1)
        b.pty.plug()
        restart, after = await sent(b, second := rtcm())
        assert (restart.data, after) == (CfgRst().encode(), second)


@in_virtual_time
async def test_a_restart_of_the_navigation_that_the_line_lost_is_sent_again(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        first, second = b.spartn(), rtcm()
        await sent(b, first)
        b.sim.faults.ignores_input = True
        for _ in range(30):
            b.receiver.deliver(second)
            await asyncio.sleep(1)
        b.sim.faults.ignores_input = False
        await asyncio.sleep(5)
        before = len(b.sim.received)
        b.receiver.deliver(second)
        await asyncio.sleep(0.5)
        received = [frame.data for frame in b.sim.received]
        assert received.count(CfgRst().encode()) >= 1
        assert received.index(CfgRst().encode()) < received.index(second.data)
        assert [each.data for each in b.sim.received[before:]][-1] == second.data


@in_virtual_time
async def test_corrections_before_the_receiver_is_ready_are_counted_and_dropped(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        b.receiver.deliver(b.spartn())
        await b.receiver.wait_ready()
        await asyncio.sleep(1)
        assert b.sim.corrections() == []
        assert b.receiver.view.undelivered == 1
        assert b.receiver.dropped == 0, "the line was not too slow"


@in_virtual_time
async def test_refused_frames_are_counted(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        b.receiver.deliver(ubx_frame(Message.CFG_RST, b"\xff\xff\0\0"))
        await until(lambda: b.receiver.view.refused == 1, 1)
