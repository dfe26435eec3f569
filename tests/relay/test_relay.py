"""The relay against scripted sources and a scripted receiver, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.relay_bench import (
    FIX,
    FLEX,
    HOUR_S,
    KEY,
    MQTT,
    NTRIP,
    RTCM,
    SPARTN,
    RelayBench,
    Script,
    steady,
)
from tests.support.virtualtime import run
from ztpd.errors import (
    CasterForbidden,
    ConnectRefused,
    ConnectTimeout,
    FormatUnsupported,
    GgaRequired,
    MountpointUnknown,
    MqttWithdrawn,
    NoRoute,
    ResolveFailed,
    SessionClosed,
    SessionRefused,
    ZtpdError,
)
from ztpd.lifecycle import Event
from ztpd.model import (
    Frame,
    FrameKind,
    Secret,
    SourceEndpoint,
)
from ztpd.system.clock import Clock


def test_frames_reach_the_receiver_whole_and_in_order() -> None:
    frames = [Frame(FrameKind.SPARTN, bytes([n]), "GAD") for n in range(20)]
    bench = RelayBench(mqtt=[Script([(0.1, frame) for frame in frames])])

    bench.runs(10, MQTT)

    assert bench.receiver.got == frames
    assert bench.reports.events == [Event.CONNECT, Event.FIRST_FRAME]


def test_a_session_waits_for_the_receiver() -> None:
    bench = RelayBench(mqtt=[steady(100)])
    bench.receiver.ready = False
    bench.runs(10, MQTT)

    assert bench.service.opened == []
    assert bench.reports.events == [Event.BACKOFF]


def test_after_a_stable_session_frames_flow_again_within_two_seconds() -> None:
    bench = RelayBench(mqtt=[steady(120)])
    bench.runs(600, MQTT)

    gaps_s = [
        later - earlier - 120
        for (earlier, _), (later, _) in zip(
            bench.service.opened, bench.service.opened[1:], strict=False
        )
    ]
    assert all(0.5 <= gap_s <= 1.5 for gap_s in gaps_s)


def test_R10_sessions_that_all_end_early_are_evicted_and_wait_for_minutes() -> None:
    bench = RelayBench(ntrip=[steady(10)])
    bench.runs(3600, NTRIP)

    assert (Event.BACKOFF, "session.kicked") in bench.reports.entries
    assert len(bench.service.opened) < 12


def test_being_connected_resets_nothing() -> None:
    bench = RelayBench(mqtt=[Script(ends=SessionClosed("at once"))])
    bench.runs(3600, MQTT)

    assert len(bench.service.opened) < 12


def test_Q10_a_silent_session_is_given_up_and_another_opened() -> None:
    bench = RelayBench(mqtt=[Script([(1, SPARTN)]), steady(1000)])
    bench.runs(60, MQTT)

    assert [event for event in bench.reports.events if event is Event.FIRST_FRAME] == [
        Event.FIRST_FRAME
    ] * 2
    assert bench.service.opened[1][0] < 20, "noticed after 15 s"


def test_keys_alone_are_no_corrections() -> None:
    bench = RelayBench(mqtt=[Script([(1, KEY)] * 100)])
    bench.runs(30, MQTT)

    assert Event.FIRST_FRAME not in bench.reports.events
    assert bench.receiver.got[:3] == [KEY] * 3
    assert (Event.BACKOFF, "session.stale") in bench.reports.entries


def test_two_formats_are_never_mixed() -> None:
    bench = RelayBench(mqtt=[Script([(1, RTCM), (1, SPARTN)] * 5)])
    relay = bench.runs(12, MQTT)

    assert bench.receiver.got == [RTCM] * 5
    assert relay.progress.other_format == 5


def test_G05_a_format_the_receiver_cannot_take_is_named() -> None:
    bench = RelayBench(mqtt=[steady(10)])
    bench.receiver.accepts = frozenset({FrameKind.RTCM3, FrameKind.UBX})
    bench.runs(100, MQTT)

    assert bench.receiver.got == []
    assert (Event.BLOCKED, FormatUnsupported.code) in bench.reports.entries


def test_the_other_channel_is_used_while_the_first_one_fails() -> None:
    bench = RelayBench(ntrip=[Script(refuses=ConnectRefused("down"))], mqtt=[steady(1000)])
    bench.runs(30, NTRIP, MQTT)

    assert [kind for _, kind in bench.service.opened][:2] == ["ntrip", "mqtt"]
    assert bench.service.opened_as("mqtt")[0] < 1
    assert len(bench.service.opened_as("mqtt")) == 1
    assert bench.receiver.got


def test_a_channel_that_was_stable_is_tried_again_before_another() -> None:
    bench = RelayBench(ntrip=[steady(120)], mqtt=[steady(1000)])
    bench.runs(600, NTRIP, MQTT)

    assert {kind for _, kind in bench.service.opened} == {"ntrip"}


def test_an_outage_of_the_preferred_channel_is_bridged_after_its_fast_tries() -> None:
    down = Script(refuses=ConnectRefused("down"))
    bench = RelayBench(ntrip=[steady(120), *[down] * 8, steady(10_000)], mqtt=[steady(10_000)])
    bench.runs(600, NTRIP, MQTT)

    assert 121 < bench.service.opened_as("mqtt")[0] < 127


def test_there_are_never_two_sessions_of_one_transport() -> None:
    bench = RelayBench(ntrip=[steady(5), steady(90)], mqtt=[steady(7), steady(70)])
    bench.runs(3600, NTRIP, MQTT)

    assert bench.service.most_at_once["ntrip"] == bench.service.most_at_once["mqtt"] == 1


def test_a_single_channel_has_one_session() -> None:
    bench = RelayBench(ntrip=[steady(5), steady(90)])
    bench.runs(3600, NTRIP)

    assert bench.service.most_at_once["all"] == 1


def back_again(*later: Script) -> RelayBench:
    """The preferred way fails at first, and the other one streams meanwhile."""
    down = Script(refuses=ConnectRefused("down"))
    return RelayBench(ntrip=[down, *later], mqtt=[steady(10_000, SPARTN)])


def test_the_preferred_channel_comes_back_after_a_minute_of_corrections() -> None:
    bench = back_again(steady(10_000, RTCM))
    bench.runs(200, NTRIP, MQTT)

    opened_s = bench.service.opened_as("ntrip")[1]
    assert opened_s < 5, "looked at beside the other as soon as it is due"
    spartn, rtcm = bench.receiver.got.count(SPARTN), bench.receiver.got.count(RTCM)
    assert bench.receiver.got == [SPARTN] * spartn + [RTCM] * rtcm, "one after the other"
    assert spartn == pytest.approx(opened_s + 61, abs=2)
    assert spartn + rtcm == pytest.approx(199, abs=2), "without a gap"
    assert bench.service.open_now == {"ntrip": 0, "mqtt": 0, "all": 0}


def test_the_probed_session_takes_over_itself() -> None:
    bench = back_again(steady(10_000, RTCM))
    bench.runs(200, NTRIP, MQTT)

    assert len(bench.service.opened_as("ntrip")) == 2
    assert bench.reports.events == [
        Event.CONNECT,
        Event.CONNECT,
        Event.FIRST_FRAME,
        Event.ENDED,
        Event.FIRST_FRAME,
    ]


def test_a_preferred_channel_that_does_not_last_is_not_used() -> None:
    bench = back_again(steady(50, RTCM))
    bench.runs(2 * HOUR_S, NTRIP, MQTT)

    assert set(bench.receiver.got) == {SPARTN}
    assert len(bench.service.opened_as("mqtt")) == 1
    assert len(bench.service.opened_as("ntrip")) < 20


def test_a_preferred_channel_that_is_silent_is_not_used() -> None:
    bench = back_again(Script())
    bench.runs(HOUR_S, NTRIP, MQTT)

    assert set(bench.receiver.got) == {SPARTN}
    assert len(bench.service.opened_as("ntrip")) > 2


def test_keys_that_come_during_a_probe_are_not_lost() -> None:
    frames = [(0.0, KEY), *[(1.0, SPARTN)] * 1000]
    down = Script(refuses=ConnectRefused("down"))
    bench = RelayBench(mqtt=[down, Script(frames)], ntrip=[steady(1000, RTCM)])
    bench.runs(200, MQTT, NTRIP)

    assert bench.receiver.got.count(KEY) == 1
    assert bench.receiver.got[-1] == SPARTN


def test_the_probed_channel_takes_over_where_the_other_one_fails() -> None:
    bench = back_again(steady(10_000, RTCM))
    bench.service.scripts["mqtt"] = [steady(30, SPARTN)]
    bench.runs(100, NTRIP, MQTT)

    assert bench.receiver.got[:30] == [SPARTN] * 30
    assert bench.receiver.got[30:] == [RTCM] * len(bench.receiver.got[30:])
    assert len(bench.receiver.got) == pytest.approx(99, abs=2)
    assert len(bench.service.opened_as("ntrip")) == 2


def test_a_probe_that_fails_as_the_present_session_ends_counts_as_failed() -> None:
    """Its channel would else be tried at once."""
    short = Script([(1.0, RTCM)] * 5, ends=ResolveFailed("caster.example"), closing_s=3600)
    bench = back_again(short)
    bench.service.scripts["mqtt"] = [steady(30, SPARTN), Script(refuses=ConnectRefused("down"))]
    relay = bench.runs(31, NTRIP, MQTT)

    assert isinstance(relay.channels[0].error, ResolveFailed)
    assert len(bench.service.opened_as("ntrip")) == 2
    assert bench.service.open_now == {"ntrip": 0, "mqtt": 0, "all": 0}


def test_a_session_ends_in_the_journal_when_a_probe_gives_the_credentials_back() -> None:
    bench = RelayBench(
        ntrip=[Script(refuses=SessionRefused("401"))], mqtt=[Script([(1.0, SPARTN)] * 5)]
    )

    assert asks_after_h(bench, NTRIP, MQTT, stale_after_s=4 * HOUR_S) == pytest.approx(1.5, abs=0.5)
    assert bench.reports.events[-1] is Event.ENDED
    assert bench.service.open_now == {"mqtt": 0, "all": 0}


def test_a_format_the_receiver_cannot_take_does_not_come_back() -> None:
    bench = back_again(steady(10_000, RTCM))
    bench.receiver.accepts = frozenset({FrameKind.SPARTN, FrameKind.UBX})
    bench.runs(HOUR_S, NTRIP, MQTT)

    assert set(bench.receiver.got) == {SPARTN}


@pytest.mark.parametrize("cause", [ConnectRefused, ConnectTimeout, ResolveFailed])
def test_withdrawn_mqtt_is_named_while_ntrip_works(cause: type[ZtpdError]) -> None:
    bench = RelayBench(mqtt=[Script(refuses=cause("pp"))], ntrip=[steady(1e5, RTCM)])
    relay = bench.runs(8 * HOUR_S, FLEX, NTRIP)

    assert isinstance(relay.channels[0].error, MqttWithdrawn)
    assert len(bench.service.opened_as("ntrip")) == 1
    assert len(bench.service.opened_as("mqtt")) < 50, "asked seldom"


@pytest.mark.parametrize(
    ("endpoint", "cause"),
    [(MQTT, ConnectRefused), (FLEX, SessionRefused)],
    ids=["another broker", "credentials refused"],
)
def test_only_mqtt_at_u_blox_is_called_withdrawn(
    endpoint: SourceEndpoint, cause: type[ZtpdError]
) -> None:
    bench = RelayBench(mqtt=[Script(refuses=cause("down"))], ntrip=[steady(1e5, RTCM)])
    relay = bench.runs(HOUR_S, endpoint, NTRIP)

    assert type(relay.channels[0].error) is cause


@pytest.mark.parametrize(("hours", "named"), [(5, ConnectRefused), (8, MqttWithdrawn)])
def test_mqtt_that_worked_a_while_ago_is_troubled_not_withdrawn(
    hours: int, named: type[ZtpdError]
) -> None:
    down = Script(refuses=ConnectRefused("down"))
    bench = RelayBench(mqtt=[steady(300), down], ntrip=[steady(1e5, RTCM)])
    relay = bench.runs(hours * HOUR_S, FLEX, NTRIP)

    assert type(relay.channels[0].error) is named


@pytest.mark.parametrize("cause", [ConnectTimeout, ResolveFailed])
def test_silence_is_an_outage_where_there_is_nothing_to_compare_with(
    cause: type[ZtpdError],
) -> None:
    bench = RelayBench(mqtt=[Script(refuses=cause("pp"))])
    relay = bench.runs(24 * HOUR_S, FLEX)

    assert type(relay.channels[0].error) is cause


@pytest.mark.parametrize(("minutes", "named"), [(12, ConnectRefused), (30, MqttWithdrawn)])
def test_mqtt_alone_that_is_closed_for_a_quarter_of_an_hour_is_withdrawn(
    minutes: int, named: type[ZtpdError]
) -> None:
    bench = RelayBench(mqtt=[Script(refuses=ConnectRefused("pp"))])
    relay = bench.runs(minutes * 60, FLEX)

    assert type(relay.channels[0].error) is named
    assert ((Event.BLOCKED, "mqtt.withdrawn") in bench.reports.entries) is (named is MqttWithdrawn)


def test_new_credentials_are_requested_when_the_only_channel_is_withdrawn() -> None:
    """The profile may have been changed to NTRIP meanwhile."""
    bench = RelayBench(mqtt=[Script(refuses=ConnectRefused("pp"))])

    async def scenario() -> None:
        with pytest.raises(MqttWithdrawn):
            await bench.relay(FLEX, may_refresh=True).run()

    run(scenario())


def test_R12_without_sky_a_caster_that_wants_a_position_is_left_alone() -> None:
    bench = RelayBench(ntrip=[Script(refuses=GgaRequired("401"))])
    bench.runs(HOUR_S, NTRIP)

    assert 12 <= len(bench.service.opened) <= 25
    assert (Event.BACKOFF, "ntrip.gga_missing") in bench.reports.entries


def test_R12_with_a_fix_the_caster_is_asked_at_once() -> None:
    bench = RelayBench(ntrip=[Script(refuses=GgaRequired("401")), steady(1000)])
    relay = bench.relay(NTRIP)

    async def scenario() -> None:
        async with asyncio.timeout(200), asyncio.TaskGroup() as group:
            group.create_task(relay.run())
            await asyncio.sleep(100)
            bench.receiver.fix = FIX

    with pytest.raises(TimeoutError):
        run(scenario())
    assert [round(at_s) for at_s, _ in bench.service.opened] in ([0, 100], [0, 101])


def test_R12_while_the_caster_is_left_alone_the_other_channel_streams() -> None:
    bench = RelayBench(ntrip=[Script(refuses=GgaRequired("401"))], mqtt=[steady(1000)])
    bench.runs(100, NTRIP, MQTT)

    assert len(bench.service.opened_as("ntrip")) == 1
    assert len(bench.receiver.got) > 90


def test_Z17_credentials_refused_for_an_hour_are_given_back() -> None:
    bench = RelayBench(mqtt=[Script(refuses=SessionRefused("CONNACK 5"))])

    async def scenario() -> float:
        with pytest.raises(SessionRefused):
            await bench.relay(MQTT, may_refresh=True).run()
        return asyncio.get_running_loop().time()

    assert 3600 <= run(scenario()) <= 2 * 3600


def test_Z11_refused_credentials_are_tried_slowly_while_no_new_ones_are_due() -> None:
    bench = RelayBench(mqtt=[Script(refuses=SessionRefused("CONNACK 5"))])
    bench.runs(86_400, MQTT)

    assert len(bench.service.opened) < 60


def test_credentials_that_one_channel_accepts_are_not_refused() -> None:
    bench = RelayBench(mqtt=[steady(300)], ntrip=[Script(refuses=SessionRefused("401"))])

    async def scenario() -> None:
        async with asyncio.timeout(20_000):
            await bench.relay(NTRIP, MQTT, may_refresh=True).run()

    with pytest.raises(TimeoutError):
        run(scenario())


def asks_after_h(
    bench: RelayBench, *channels: SourceEndpoint, days: float = 30, **given: Any
) -> float | None:
    """After how many hours new credentials are asked for; None if never."""

    async def scenario() -> float | None:
        began_s = asyncio.get_running_loop().time()
        relay = bench.relay(*channels, may_refresh=True, **given)
        try:
            async with asyncio.timeout(days * 86_400):
                await relay.run()
        except TimeoutError:
            return None
        except SessionRefused:
            return (asyncio.get_running_loop().time() - began_s) / HOUR_S
        raise AssertionError("a relay never ends")

    return run(scenario())


@pytest.mark.parametrize("dead", [ResolveFailed, ConnectTimeout])
def test_Z17_one_channel_refused_and_the_other_one_dead_reprovision(dead: type[ZtpdError]) -> None:
    bench = RelayBench(
        ntrip=[Script(refuses=SessionRefused("401"))], mqtt=[Script(refuses=dead("pp"))]
    )

    asked_h = asks_after_h(bench, NTRIP, FLEX)
    assert asked_h is not None
    assert 1 <= asked_h <= 2.5


@pytest.mark.parametrize("dead", [ResolveFailed, ConnectTimeout])
def test_mqtt_alone_that_is_silent_for_a_day_reprovisions(dead: type[ZtpdError]) -> None:
    """It may have been switched off, and the portal changed; the fleet must not ask at once."""
    asked_h = asks_after_h(RelayBench(mqtt=[Script(refuses=dead("pp"))]), FLEX)
    assert asked_h is not None
    assert 6 <= asked_h <= 25

    assert asks_after_h(RelayBench(mqtt=[Script(refuses=dead("b"))]), MQTT, days=1.5) is None


@pytest.mark.parametrize("no", [MountpointUnknown, CasterForbidden])
def test_Z17_every_refusal_of_a_caster_reprovisions(no: type[ZtpdError]) -> None:
    assert asks_after_h(RelayBench(ntrip=[Script(refuses=no("404"))]), NTRIP) is not None


@pytest.mark.parametrize("outage", [NoRoute, ConnectTimeout])
def test_Z17_an_outage_before_the_first_refusal_does_not_count(outage: type[ZtpdError]) -> None:
    """A caster that is back after hours and has not read its accounts yet refuses a whole fleet."""
    bench = RelayBench(ntrip=[])
    open_session = bench.service.open

    def by_time(endpoint: SourceEndpoint) -> object:
        now = asyncio.get_running_loop().time()
        refuses = outage("no") if now < 3 * HOUR_S else SessionRefused("401")
        bench.service.scripts["ntrip"] = [Script(refuses=refuses)]
        return open_session(endpoint)

    bench.service.open = by_time  # type: ignore[method-assign, assignment]
    asked_h = asks_after_h(bench, NTRIP)
    assert asked_h is not None
    assert 4 <= asked_h <= 5.5


def test_Z17_trips_shorter_than_an_hour_add_up(tmp_path: Path) -> None:
    bench = RelayBench(ntrip=[Script(refuses=SessionRefused("401"))])
    doubt, date_s, trips = tmp_path / "refused.json", 1e9, 0
    clock = Clock(now=lambda: date_s, instant=lambda: (f"boot {trips}", 20.0))
    while asks_after_h(bench, NTRIP, days=1 / 48, refusal_record=doubt, clock=clock) is None:
        date_s += 8 * HOUR_S
        trips += 1
        assert trips < 5

    assert trips == 1
    bench = RelayBench(ntrip=[steady(10)])
    bench.runs(5, NTRIP, refusal_record=doubt)
    assert not doubt.exists()


def test_a_streaming_session_is_not_ended_by_another_channels_error(tmp_path: Path) -> None:
    no, doubt = Script(refuses=SessionRefused("401")), tmp_path / "refused.json"
    bench = RelayBench(ntrip=[no], mqtt=[steady(1e5)])

    assert asks_after_h(bench, NTRIP, MQTT, days=0.5, refusal_record=doubt) is None
    assert not doubt.exists()

    bench = RelayBench(ntrip=[no], mqtt=[no, no, steady(1e5)])
    assert asks_after_h(bench, NTRIP, MQTT, days=0.9, refusal_record=doubt) is None
    assert not doubt.exists()


def test_D08_a_crash_does_not_forget_the_waits(tmp_path: Path) -> None:
    memory = tmp_path / "sessions.json"
    bench = RelayBench(mqtt=[Script(refuses=SessionRefused("CONNACK 5"))])
    for _ in range(50):
        bench.runs(1, MQTT, channel_state=memory)

    assert len(bench.service.opened) == 1


def test_other_credentials_end_the_wait_of_the_old_ones(tmp_path: Path) -> None:
    memory = tmp_path / "sessions.json"
    bench = RelayBench(mqtt=[Script(refuses=SessionRefused("CONNACK 4")), steady(10)])
    corrected = MQTT._replace(username="user", password=Secret("right"))
    for endpoint in (corrected._replace(password=Secret("wrong")), corrected):
        bench.runs(5, endpoint, channel_state=memory)

    assert len(bench.service.opened) == 2
    assert bench.receiver.got
    assert "right" not in memory.read_text()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"boot": 1, "channels": []}', "\0"])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    memory = tmp_path / "sessions.json"
    memory.write_text(text)
    bench = RelayBench(mqtt=[steady(10)])
    bench.runs(5, MQTT, channel_state=memory)

    assert bench.receiver.got
