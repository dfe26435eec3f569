"""Decryption keys: which two are current and next, which ones from outside are used, and that the
receiver always has them."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receiver_bench import (
    KEY,
    NEXT_KEY,
    PERIOD,
    WRONG_KEY,
    ReceiverBench,
    bench,
    current_and_next,
    dynamic_key,
    in_virtual_time,
    ubx_frame,
)
from tests.support.until import until
from ztpd.model import DynamicKey, Secret
from ztpd.receiver.keys import KeyRing, received, slots, starts
from ztpd.sim.receiver import F9P_OLD
from ztpd.wire.ubx import KeySlot, Message, SpartnKey

START = datetime(2026, 11, 15, tzinfo=UTC)  # a Sunday: GPS weeks begin 18 s before midnight UTC
NOW = START + timedelta(days=8)
FOUR = tuple(KeySlot(bytes([number]) * 16, 2445 + 4 * number, 0) for number in range(4))


def message(*keys: KeySlot) -> bytes:
    return SpartnKey(keys).encode()[6:-2]


def key_at(start: datetime, value: bytes = KEY) -> KeySlot:
    (slot,) = slots([dynamic_key(value, start)])
    return slot


def test_leap_seconds_count_where_a_key_begins() -> None:
    (slot,) = slots([dynamic_key(KEY, datetime.fromtimestamp(1676159982, UTC))])
    assert (slot.week, slot.tow_s) == (2249, 0)
    assert starts(slot) == datetime(2023, 2, 11, 23, 59, 42, tzinfo=UTC)


def test_two_keys_are_both_given_in_the_order_of_their_time() -> None:
    ring = KeyRing()
    ring.add(reversed(FOUR[1:3]))
    assert ring.chosen([]) == FOUR[1:3]


@pytest.mark.parametrize(
    "clock", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)]
)
def test_G09_a_wrong_clock_loses_neither_of_two_keys(clock: datetime) -> None:
    ring = KeyRing()
    ring.add(FOUR[:2])
    assert ring.chosen([clock]) == FOUR[:2]


def test_G09_of_more_keys_the_clock_that_agrees_with_them_decides() -> None:
    ring = KeyRing()
    ring.add(FOUR)
    inside = starts(FOUR[1]) + timedelta(days=3)
    era_off = inside - timedelta(weeks=1024)
    assert ring.chosen([era_off, inside]) == FOUR[1:3]
    assert ring.chosen([inside, era_off]) == FOUR[1:3]
    assert ring.chosen([era_off]) == FOUR[2:], "no clock agrees: the newest two"


def test_the_last_key_alone_is_better_than_an_old_one() -> None:
    ring = KeyRing()
    ring.add(FOUR[:3])
    assert ring.chosen([starts(FOUR[2]) + timedelta(days=1)]) == (FOUR[2],)


def test_of_two_keys_with_one_start_the_later_received_counts() -> None:
    ring = KeyRing()
    ring.add([key_at(START, WRONG_KEY)])
    ring.add([key_at(START, KEY)])
    assert [slot.value for slot in ring.chosen([])] == [KEY]


def test_old_keys_received_again_do_not_displace_newer_ones() -> None:
    ring = KeyRing()
    ring.add(FOUR[2:])
    ring.add(FOUR[:2])
    assert ring.chosen([starts(FOUR[2]) + timedelta(days=1)]) == FOUR[2:]


def test_a_service_gone_astray_fills_no_memory() -> None:
    ring = KeyRing()
    for week in range(2000):
        ring.add([KeySlot(KEY, week, 0)])
    assert len(ring._by_start) <= 6


def test_the_same_keys_again_are_no_reason_to_give_them_again() -> None:
    ring = KeyRing()
    ring.add(FOUR)
    assert ring.due(5)
    ring.add(FOUR)
    assert not ring.due(5)


def test_keys_that_do_not_fit_are_checked_less_and_less_often() -> None:
    ring = KeyRing()
    ring.add(FOUR)
    looks = []
    for second in range(3600):
        ring.on_undecryptable()
        if ring.due(second):
            looks.append(second)
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert gaps[0] <= 10
    assert gaps == sorted(gaps)
    assert len(looks) < 12


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "version"),
        (message(), "0 keys"),
        (message(key_at(NOW), key_at(NOW + PERIOD), key_at(NOW + 2 * PERIOD)), "3 keys"),
        (message(key_at(NOW))[:-1], "bytes"),
        (message(key_at(NOW)) + b"\0", "bytes"),
        (b"\x02" + message(key_at(NOW))[1:], "version"),
        (message(key_at(NOW - timedelta(weeks=7))), "2026-10-05"),
        (message(key_at(NOW), key_at(NOW + timedelta(weeks=7))), "2027-01-11"),
        (message(KeySlot(KEY, 43, 0)), "1980-11-01"),
    ],
)
def test_a_key_message_that_is_damaged_or_absurd_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        received(payload, [NOW])


def test_a_key_message_is_taken_if_one_of_the_clocks_agrees() -> None:
    keys = (key_at(START), key_at(START + PERIOD, NEXT_KEY))
    assert received(message(*keys), [datetime(1970, 1, 1, tzinfo=UTC), NOW]) == keys


@given(st.binary(max_size=80))
def test_any_bytes_for_a_key_message_raise_nothing_unexpected(payload: bytes) -> None:
    try:
        keys = received(payload, [NOW])
    except ValueError:
        return
    assert len(keys) in (1, 2)
    assert all(len(key.value) == 16 for key in keys)


def values_held(b: ReceiverBench) -> list[bytes]:
    return [slot.value for slot in b.sim.keys]


@in_virtual_time
async def test_keys_known_before_the_start_are_given_at_the_start(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.receiver.set_keys(current_and_next())
        await b.receiver.wait_ready()
        await until(lambda: values_held(b) == [KEY, NEXT_KEY], 2)
        assert b.logged("key.sent") == ["2 decryption keys sent to the receiver"]


@in_virtual_time
async def test_later_keys_are_sent_within_two_seconds(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(30)
        b.receiver.set_keys(current_and_next())
        await until(lambda: values_held(b) == [KEY, NEXT_KEY], 3)
        await b.stream(15, lambda: b.spartn(encrypted=True))
        assert b.receiver.view.use == "used"


@in_virtual_time
async def test_keys_the_receiver_holds_already_are_not_given_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.keys = slots(current_and_next())
        b.receiver.set_keys(current_and_next())
        await b.receiver.wait_ready()
        await asyncio.sleep(5)
        assert not b.logged("key.sent")


@in_virtual_time
async def test_keys_of_the_key_topic_reach_the_receiver(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        frame = ubx_frame(Message.RXM_SPARTNKEY, message(*slots(current_and_next())))
        b.receiver.deliver(frame)  # not ready yet: remembered
        await b.receiver.wait_ready()
        await until(lambda: values_held(b) == [KEY, NEXT_KEY], 2)


@in_virtual_time
async def test_unusable_keys_are_logged_once_a_minute_and_the_old_ones_kept(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.receiver.set_keys(current_and_next())
        await b.receiver.wait_ready()
        for _ in range(50):
            b.receiver.deliver(ubx_frame(Message.RXM_SPARTNKEY, b"\1\1\0\0\0\2"))
        b.receiver.set_keys([DynamicKey(Secret("no key"), 0, 0)])
        await until(lambda: values_held(b) == [KEY, NEXT_KEY], 2)
        assert len(b.logged("key.invalid")) == 1
        assert b.receiver.view.refused == 51


@in_virtual_time
async def test_P18_keys_are_back_ten_seconds_after_a_restart(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.receiver.set_keys(current_and_next())
        await until(lambda: values_held(b), 5)
        b.sim.reset()
        assert not values_held(b)
        await until(lambda: values_held(b) == [KEY, NEXT_KEY], 10)


@in_virtual_time
async def test_G04_lost_keys_are_noticed_by_undecryptable_messages(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        b.receiver.set_keys(current_and_next())
        await until(lambda: values_held(b), 5)
        await b.stream(20, lambda: b.spartn(encrypted=True))
        b.sim.keys = ()
        await b.stream(10, lambda: b.spartn(encrypted=True))
        assert values_held(b) == [KEY, NEXT_KEY]
        assert len(b.logged("key.sent")) == 2


@in_virtual_time
async def test_G11_a_rejected_key_is_logged_and_sent_again_later(tmp_path: Path) -> None:
    seldom = {"CFG-RATE-MEAS": 20_000}  # positions: a long test in little time
    async with bench(tmp_path, settings={"keys": seldom}) as b:
        b.sim.faults.keys_held = 1
        b.receiver.set_keys(current_and_next())
        await until(lambda: b.logged("key.missing"), 5)
        assert values_held(b) == [KEY], "the current one serves meanwhile"
        assert b.logged("key.missing")[0].startswith("the receiver holds 1 of 2 decryption keys")
        b.sim.faults.keys_held = 2
        await until(lambda: values_held(b) == [KEY, NEXT_KEY], 650)


@in_virtual_time
async def test_firmware_without_spartn_is_given_no_keys(tmp_path: Path) -> None:
    async with bench(tmp_path, F9P_OLD) as b:
        b.receiver.set_keys(current_and_next())
        await b.receiver.wait_ready()
        await asyncio.sleep(5)
        assert not [frame for frame in b.sim.received if frame.name == "RXM-SPARTNKEY"]
