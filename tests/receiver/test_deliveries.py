"""Each correction message is counted once, by how its way to the receiver ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.support.receiver_bench import bench, in_virtual_time, only_frame, rtcm
from tests.support.until import until
from ztpd.receiver.deliveries import SHARE_WINDOW_S, DeliveryCounts
from ztpd.wire.frames import rtcm_frame


@in_virtual_time
async def test_FR61_messages_dropped_on_a_slow_line_are_not_counted_as_delivered(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, wired="UART1", settings={"baudrate": 9600}) as b:
        await b.receiver.wait_ready()
        for _ in range(60):  # 2000 bytes a second, and the line takes 960
            for _ in range(2):
                b.receiver.deliver(only_frame(rtcm_frame(b"\x43\x50" + bytes(990))))
            await asyncio.sleep(1)
        await until(lambda: len(b.sim.corrections()) + b.receiver.view.dropped == 120, 30)
        view = b.receiver.view
        assert view.delivered_frames == len(b.sim.corrections())
        assert view.delivered_bytes == sum(len(each.data) for each in b.sim.corrections())
        assert view.dropped > 30
        assert view.dropped_share == view.dropped / 120


@in_virtual_time
async def test_FR61_messages_that_wait_when_the_port_is_lost_count_as_undelivered(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, wired="UART1", settings={"baudrate": 9600}) as b:
        await b.receiver.wait_ready()
        for _ in range(10):
            b.receiver.deliver(only_frame(rtcm_frame(b"\x43\x50" + bytes(990))))
        await asyncio.sleep(1)
        b.pty.unplug()
        await until(lambda: not b.receiver.ready, 5)
        view = b.receiver.view
        assert view.undelivered > 0
        assert view.delivered_frames + view.undelivered == 10
        assert view.dropped == 0


@in_virtual_time
async def test_a_line_that_keeps_up_drops_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        assert b.receiver.view.dropped_share is None
        await b.stream(20, rtcm)
        assert b.receiver.view.dropped_share == 0


def test_old_drops_are_not_in_the_share() -> None:
    counts = DeliveryCounts()
    counts.on_dropped(0)
    counts.on_sent(100, SHARE_WINDOW_S + 60)
    assert counts.dropped_share(SHARE_WINDOW_S + 60) == 0
    assert counts.dropped_share(10 * SHARE_WINDOW_S) is None
    assert counts.dropped == 1


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=200))
def test_the_share_is_one_of_the_whole_and_costs_little_memory(
    ends: list[tuple[float, bool]],
) -> None:
    counts, now_s = DeliveryCounts(), 0.0
    for step_s, sent in ends:
        now_s += step_s
        if sent:
            counts.on_sent(1, now_s)
        else:
            counts.on_dropped(now_s)
    share = counts.dropped_share(now_s)
    assert (share is None) is not bool(ends)
    assert share is None or 0 <= share <= 1
    assert counts.frames + counts.dropped == len(ends)
    assert len(counts._recent) <= SHARE_WINDOW_S / 10 + 2
