"""A service is left when the receiver does not use its corrections, and comes back with proof."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.receiver_bench import log_lines
from tests.support.relay_bench import (
    BACKUP,
    HOUR_S,
    NTRIP,
    RTCM,
    SPARE,
    Receiver,
    RelayBench,
    Script,
    steady,
)
from tests.support.virtualtime import run
from ztpd.errors import (
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    CorrectionsUnused,
    SessionClosed,
)
from ztpd.model import Frame, FrameKind, ServiceUse, SourceEndpoint
from ztpd.relay.channels import PROVEN_S, Channel
from ztpd.retry import SESSION, Backoff
from ztpd.system.clock import Clock

DAY_S = 24 * HOUR_S
OTHER = Frame(FrameKind.RTCM3, b"o" * 100, "1077")
THIRD = Frame(FrameKind.RTCM3, b"t" * 100, "1077")
PATIENCE_S = 40.0


def every_5_s(frame: Frame) -> Script:
    return Script([(5.0, frame)] * (2 * DAY_S // 5))


@dataclass
class Judging(Receiver):
    """Reports after 40 s that the corrections are not used, as the real one does."""

    uses: Callable[[Frame, float], bool | None] = lambda frame, now_s: True
    last_used_s: float = 0.0

    def deliver(self, frame: Frame) -> None:
        now_s = asyncio.get_running_loop().time()
        super().deliver(frame)
        used = self.uses(frame, now_s)
        if used is not False:
            self.last_used_s = now_s
        if used is None:
            self.service_use = ServiceUse()
        elif now_s - self.last_used_s < PATIENCE_S:
            self.service_use = ServiceUse(used=used or None)
        else:
            self.service_use = ServiceUse(used=False, reason="the test says so")

    def service_changed(self) -> None:
        super().service_changed()
        self.last_used_s = asyncio.get_running_loop().time()
        self.service_use = ServiceUse()


def bench(
    uses: Callable[[Frame, float], bool | None],
    *,
    ntrip: Script | None = None,
    backup: Script | None = None,
) -> RelayBench:
    made = RelayBench(
        ntrip=[ntrip or every_5_s(RTCM)],
        backup=[backup or every_5_s(OTHER)],
        spare=[every_5_s(THIRD)],
    )
    made.receiver = Judging(uses=uses)
    return made


def changes(log: list[str]) -> list[str]:
    return [line for line in log if line.startswith("session.service_changed")]


def test_a_service_whose_corrections_are_not_used_is_left_after_two_minutes() -> None:
    made = bench(lambda frame, _: frame is OTHER)
    with log_lines() as log:
        relay = made.runs(300, NTRIP, BACKUP)
    (change,) = changes(log)
    assert "from backup (b.example:2101/VRS) instead of ntrip caster.example:2102" in change
    assert "does not use the corrections of this service" in change
    assert "the test says so" in change
    assert "its datum may differ" in change
    assert made.receiver.got.index(OTHER) == pytest.approx((120 + PATIENCE_S) / 5, abs=2)
    first, second = relay.channels
    assert (first.left, second.left) == (True, False)
    assert made.receiver.services == 2


def test_it_comes_back_after_ten_minutes_of_corrections_beside_the_other() -> None:
    made = bench(lambda frame, now_s: frame is OTHER or now_s > 400)
    with log_lines() as log:
        relay = made.runs(HOUR_S, NTRIP, BACKUP)
    assert len(changes(log)) == 2
    assert "it brought corrections for 10 min" in changes(log)[1]
    others = [frame for frame in made.receiver.got if frame is OTHER]
    assert len(others) == pytest.approx(600 / 5, abs=3)
    assert not relay.channels[0].left
    assert made.service.open_now["backup"] == 0


def test_each_time_in_vain_makes_the_absence_four_times_longer() -> None:
    made = bench(lambda frame, _: frame is OTHER)
    with log_lines() as log:
        made.runs(5 * HOUR_S, NTRIP, BACKUP)
    left = [line for line in changes(log) if "instead of ntrip" in line]
    assert len(left) == 4, "after 160 s, 920 s, 3480 s, 13240 s; it then stays away for 640 min"


def test_a_service_that_is_never_used_stays_away_for_a_day_each_time() -> None:
    rng = random.Random(1)
    channel = Channel(NTRIP, Backoff(SESSION, rng), rng)
    for _ in range(1000):
        channel.leave(CorrectionsUnused("the test says so"), 0.0)
    assert channel.left_until_s + PROVEN_S == DAY_S


def test_a_day_of_use_makes_the_next_absence_short_again() -> None:
    made = bench(lambda frame, now_s: frame is OTHER or not 12 * HOUR_S < now_s < 12.1 * HOUR_S)
    relay = made.runs(DAY_S, NTRIP, BACKUP)
    assert relay.channels[0].unused_times == 0
    assert made.receiver.got[-1] is RTCM


def test_a_service_is_not_left_for_another_that_cannot_be_reached() -> None:
    down = Script(refuses=ConnectRefused("b.example"))
    made = bench(lambda frame, _: frame is OTHER, backup=down)
    relay = made.runs(2 * HOUR_S, NTRIP, BACKUP)
    assert len(made.receiver.got) > 0.95 * 2 * HOUR_S / 5, "unused corrections may be used again"
    assert relay.channels[0].unused_times <= 12


def test_without_another_service_it_is_never_left() -> None:
    made = bench(lambda _, __: False)
    made.runs(2 * HOUR_S, NTRIP)
    assert len(made.service.opened) == 1


def test_time_without_a_verdict_counts_neither_way() -> None:
    def uses(frame: Frame, now_s: float) -> bool | None:
        return None if now_s % 60 < 30 else frame is OTHER

    made = bench(uses)
    made.receiver.last_used_s = -1e9  # type: ignore[attr-defined]
    with log_lines() as log:
        made.runs(600, NTRIP, BACKUP)
    assert len(changes(log)) <= 1
    made = bench(lambda _, __: None)
    made.runs(HOUR_S, NTRIP, BACKUP)
    assert made.service.opened_as("backup") == []


def test_a_third_service_is_tried_where_the_second_is_not_used_either() -> None:
    made = bench(lambda frame, _: frame is THIRD)
    with log_lines() as log:
        made.runs(HOUR_S, NTRIP, BACKUP, SPARE)
    assert "from spare" in changes(log)[1]
    assert made.receiver.got.index(THIRD) * 5 >= 160 + 600 - 30, "one change in ten minutes"


def test_a_restart_of_ztpd_keeps_what_the_receiver_did_not_use(tmp_path: Path) -> None:
    made = bench(lambda frame, _: frame is OTHER)
    began_s = 100.0
    clock = Clock(instant=lambda: ("boot", began_s + asyncio.get_running_loop().time()))
    state = tmp_path / "sessions.json"
    made.runs(300, NTRIP, BACKUP, channel_state=state, clock=clock)
    made.service.opened.clear()
    began_s = 400.0
    relay = made.runs(30, NTRIP, BACKUP, channel_state=state, clock=clock)
    assert made.service.opened[0][1] == "backup"
    assert relay.channels[0].unused_times == 1


def test_a_restart_of_ztpd_keeps_the_service_that_came_back(tmp_path: Path) -> None:
    made = bench(lambda frame, now_s: frame is OTHER or now_s > 400)
    began_s = 100.0
    clock = Clock(instant=lambda: ("boot", began_s + asyncio.get_running_loop().time()))
    state = tmp_path / "sessions.json"
    made.runs(HOUR_S, NTRIP, BACKUP, channel_state=state, clock=clock)
    assert made.receiver.got[-1] is RTCM
    made.service.opened.clear()
    began_s += HOUR_S
    made.runs(30, NTRIP, BACKUP, channel_state=state, clock=clock)
    assert [name for _, name in made.service.opened] == ["ntrip"]


@pytest.mark.parametrize("cuts_both", [False, True])
def test_a_service_that_was_left_proves_itself_in_several_sessions(*, cuts_both: bool) -> None:
    """One that is cut every five minutes would else be open beside the other one for ever."""
    cut = Script([(5.0, RTCM)] * 60, ends=ConnectionLost("reset by peer"))
    other = Script([(5.0, OTHER)] * 60, ends=cut.ends) if cuts_both else None
    made = bench(lambda frame, _: frame is OTHER, ntrip=cut, backup=other)
    with log_lines() as log:
        made.runs(DAY_S, NTRIP, BACKUP)
    assert len(made.service.opened_as("ntrip")) < 40, "three or four for each time in vain"
    assert len(changes(log)) <= 9


def test_a_person_who_asks_for_a_try_brings_it_back_at_once() -> None:
    made = bench(lambda frame, _: frame is OTHER)
    relay = made.relay(NTRIP, BACKUP)

    async def scenario() -> bool:
        running = asyncio.create_task(relay.run())
        await asyncio.sleep(300)
        was_left = relay.channels[0].left
        relay.retry_now()
        running.cancel()
        await asyncio.wait([running])
        return was_left and not relay.channels[0].left

    assert run(scenario())


def _drops(rng: random.Random) -> list[Script]:
    """Sessions of one to thirty minutes, each ended by a reset."""
    return [
        Script([(5.0, RTCM)] * rng.randrange(12, 360), ends=SessionClosed("x")) for _ in range(200)
    ]


FAULTS: dict[str, tuple[Callable[[Frame, float], bool | None], dict[str, list[Script]], int]] = {
    "none": (lambda _, __: True, {}, 0),
    "first service unused for ever": (lambda frame, _: frame is not RTCM, {}, 9),
    "first service unused for an hour": (
        lambda frame, now_s: frame is not RTCM or not HOUR_S < now_s < 2 * HOUR_S,
        {},
        6,
    ),
    "first service unused every second hour": (
        lambda frame, now_s: frame is not RTCM or now_s % (2 * HOUR_S) < HOUR_S,
        {},
        16,
    ),
    "no service is used": (lambda _, __: False, {}, 30),
    "no position for hours": (lambda _, now_s: None if now_s > HOUR_S else True, {}, 0),
    "use comes and goes by the minute": (lambda _, now_s: now_s % 120 < 60, {}, 0),
    "backup unused for ever": (lambda frame, _: frame is not OTHER, {}, 0),
    "first caster down for ever": (
        lambda _, __: True,
        {"ntrip": [Script(refuses=ConnectTimeout("x"))]},
        0,
    ),
    "first caster down for a while": (
        lambda _, __: True,
        {"ntrip": [steady(90, RTCM), *[Script(refuses=ConnectTimeout("x"))] * 9, every_5_s(RTCM)]},
        2,
    ),
    "first caster drops its sessions": (
        lambda _, __: True,
        {"ntrip": _drops(random.Random(4))},
        6,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_no_single_fault_makes_the_services_flap_in_24_hours(name: str) -> None:
    uses, scripts, most = FAULTS[name]
    made = bench(uses)
    made.service.scripts |= {key: list(value) for key, value in scripts.items()}
    endpoints: tuple[SourceEndpoint, ...] = (NTRIP, BACKUP)
    with log_lines() as log:
        made.runs(DAY_S, *endpoints)
    found = changes(log)
    assert len(found) <= most, name
    assert len(made.receiver.got) > 0.95 * DAY_S / 5, "corrections flow all the time"
    assert made.service.most_at_once["all"] <= 2
