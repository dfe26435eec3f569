"""The meaning of sessions that end, in virtual time: outages, cuts, evictions, refusals."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest

from tests.support.relay_bench import (
    HOUR_S,
    MQTT,
    NTRIP,
    SPARTN,
    RelayBench,
    Script,
    steady,
)
from ztpd.errors import (
    AccountRefused,
    CasterForbidden,
    ClosedEarly,
    ConnectionLost,
    MountpointNotServed,
    MountpointUnknown,
    MqttDenied,
    SessionClosed,
    SessionRefused,
    TableInstead,
    ZtpdError,
)
from ztpd.lifecycle import Event

REFUSALS = [SessionRefused, MountpointUnknown, CasterForbidden, AccountRefused]


def cut(after_s: float) -> Script:
    return steady(after_s, ends=ConnectionLost("reset by peer"))


def delivered(bench: RelayBench) -> int:
    return len(bench.receiver.got)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_FR23_a_short_refusal_after_good_service_costs_less_than_a_minute(
    refusal: type[ZtpdError],
) -> None:
    """75 s of corrections, the link breaks, 25 s of refusals, then all is well."""
    bench = RelayBench(ntrip=[cut(75)])
    refused, well = Script(refuses=refusal("no")), steady(10_000)
    service = bench.service
    open_script = service.open

    def by_time(endpoint: object) -> object:
        now = asyncio.get_running_loop().time()
        service.scripts["ntrip"] = [cut(75) if now < 75 else refused if now < 100 else well]
        return open_script(endpoint)  # type: ignore[arg-type]

    service.open = by_time  # type: ignore[method-assign, assignment]
    bench.runs(600, NTRIP)

    back_s = service.opened[-1][0]
    assert 100 <= back_s < 135, service.opened
    assert Event.BLOCKED not in bench.reports.events, "no person is needed yet"


def test_FR23_after_six_fast_tries_a_refusal_is_tried_slowly() -> None:
    bench = RelayBench(ntrip=[steady(75), Script(refuses=MountpointUnknown("gone"))])
    bench.runs(2 * HOUR_S, NTRIP)

    tries_s = [at_s - 75 for at_s in bench.service.opened_as("ntrip")[1:]]
    assert len([at_s for at_s in tries_s if at_s < 125]) == 7
    assert 3 <= len([at_s for at_s in tries_s if at_s >= 125]) <= 12
    assert (Event.BLOCKED, MountpointUnknown.code) in bench.reports.entries


def test_FR23_a_base_station_that_was_away_for_two_hours_is_found_within_15_minutes() -> None:
    bench = RelayBench(ntrip=[steady(75), Script(refuses=MountpointUnknown("gone"))])
    bench.runs(6 * HOUR_S, NTRIP)

    opened_s = bench.service.opened_as("ntrip")
    assert max(later - at for at, later in itertools.pairwise(opened_s)) <= 901
    assert len(opened_s) < 60


@pytest.mark.parametrize(("good_s", "longest_s"), [(75, 901), (0, 3700)])
def test_FR26_a_rover_that_left_the_area_of_the_service_is_served_within_15_minutes(
    good_s: int, longest_s: int
) -> None:
    outside = Script(ends=SessionClosed('it said: "no base near you"'))
    bench = RelayBench(ntrip=[*[steady(good_s)] * bool(good_s), outside])
    bench.runs(6 * HOUR_S, NTRIP)

    opened_s = bench.service.opened_as("ntrip")
    longest = max(later - at for at, later in itertools.pairwise(opened_s))
    assert longest_s / 2 < longest <= longest_s
    assert len(opened_s) < 60


def test_FR23_short_refusals_after_good_service_are_not_noted_as_refused_credentials(
    tmp_path: Path,
) -> None:
    record = tmp_path / "refused.json"
    bench = RelayBench(ntrip=[steady(75), Script(refuses=SessionRefused("401"))])
    bench.runs(75 + 60, NTRIP, refusal_record=record)
    assert not record.exists()

    bench = RelayBench(ntrip=[steady(75), Script(refuses=SessionRefused("401"))])
    bench.runs(75 + 700, NTRIP, refusal_record=record)
    assert record.exists()


def test_FR26_sessions_that_carried_nothing_are_no_evictions() -> None:
    bench = RelayBench(ntrip=[Script(ends=SessionClosed('it said: "no base near you"'))])
    relay = bench.runs(2 * HOUR_S, NTRIP)

    codes = {why for event, why in bench.reports.entries if event is Event.BACKOFF}
    assert codes == {"session.empty"}
    assert "no base near you" in str(relay.channels[0].error)
    opened_s = bench.service.opened_as("ntrip")
    assert opened_s[2] < 10, "it may pass"
    assert len(opened_s) < 20, "a caster that closes each time is not asked often"


def test_FR106_short_sessions_before_good_service_do_not_count_after_a_restart(
    tmp_path: Path,
) -> None:
    state = tmp_path / "sessions.json"
    bench = RelayBench(ntrip=[steady(10), steady(10), steady(50_000)])
    bench.runs(3 * HOUR_S, NTRIP, channel_state=state)
    assert json.loads(state.read_text())["channels"]["ntrip caster.example:2102"] == {
        "mark": json.loads(state.read_text())["channels"]["ntrip caster.example:2102"]["mark"],
        "steps": {},
        "due_boot_s": pytest.approx(0, abs=1e9),
        "short_lives": 0,
        "worked": True,
        "unused_times": 0,
        "left_until_boot_s": None,
    }

    again = RelayBench(ntrip=[steady(10), steady(50_000)])
    again.runs(HOUR_S, NTRIP, channel_state=state)
    assert "session.kicked" not in [why for _, why in again.reports.entries]
    assert delivered(again) > HOUR_S - 20


def test_FR106_an_old_file_restores_neither_steps_nor_short_sessions(tmp_path: Path) -> None:
    state = tmp_path / "sessions.json"
    RelayBench(ntrip=[steady(10)]).runs(HOUR_S, NTRIP, channel_state=state)
    kept = json.loads(state.read_text())
    assert kept["channels"]["ntrip caster.example:2102"]["short_lives"] >= 3
    kept["saved_boot_s"] -= 3 * HOUR_S
    state.write_text(json.dumps(kept))

    bench = RelayBench(ntrip=[steady(10), steady(10), steady(10)])
    relay = bench.relay(NTRIP, channel_state=state)
    bench.runs(12, NTRIP, channel_state=state)
    assert bench.service.opened[0][0] == 0
    assert relay.channels[0].short_sessions == 0


def test_FR106_short_sessions_hours_apart_are_no_row() -> None:
    down = Script(refuses=SessionRefused("401"))
    bench = RelayBench(ntrip=[steady(10), *[down] * 5, steady(10), *[down] * 5, steady(10), down])
    bench.runs(12 * HOUR_S, NTRIP)

    assert "session.kicked" not in [why for _, why in bench.reports.entries]


def test_FR107_resets_after_good_service_cost_seconds() -> None:
    bench = RelayBench(ntrip=[cut(HOUR_S), cut(12), cut(5), cut(12), steady(10_000)])
    bench.runs(HOUR_S + 120, NTRIP)

    assert "session.kicked" not in [why for _, why in bench.reports.entries]
    assert delivered(bench) > HOUR_S + 120 - 15


def test_FR107_a_network_that_cuts_every_20_s_loses_about_5_percent() -> None:
    bench = RelayBench(ntrip=[cut(20)])
    bench.runs(6 * HOUR_S, NTRIP)

    assert delivered(bench) / (6 * HOUR_S) > 0.93


def test_FR107_a_network_that_cuts_every_20_s_without_a_word_loses_the_time_to_notice_it() -> None:
    """15 s of silence, a try at once: as where the uplink's address changes under a connection."""
    bench = RelayBench(ntrip=[Script([(1.0, SPARTN)] * 20)])
    bench.runs(6 * HOUR_S, NTRIP)

    assert delivered(bench) / (6 * HOUR_S) > 0.53


def test_FR107_a_caster_that_sends_little_and_then_nothing_is_asked_slowly() -> None:
    """As one that sends the last epoch of a base station that is off."""
    bench = RelayBench(ntrip=[Script([(0.1, SPARTN)] * 5)])
    bench.runs(6 * HOUR_S, NTRIP)

    assert len(bench.service.opened) < 6 * 30


def test_FR107_sessions_that_the_caster_closes_after_corrections_are_still_evictions() -> None:
    bench = RelayBench(ntrip=[steady(20)])
    bench.runs(HOUR_S, NTRIP)

    assert (Event.BACKOFF, "session.kicked") in bench.reports.entries


def test_FR107_no_eviction_within_ten_minutes_of_good_service() -> None:
    bench = RelayBench(ntrip=[steady(HOUR_S), *[steady(5)] * 6, steady(10_000)])
    bench.runs(HOUR_S + 300, NTRIP)

    assert "session.kicked" not in [why for _, why in bench.reports.entries]
    assert delivered(bench) > HOUR_S + 200


def test_FR29_a_table_with_the_mountpoint_questions_the_password_until_it_worked() -> None:
    bench = RelayBench(ntrip=[Script(refuses=MountpointNotServed("NEAR"))])
    relay = bench.runs(HOUR_S, NTRIP)
    assert isinstance(relay.channels[0].error, TableInstead)
    assert len(bench.service.opened) < 10, "slowly"

    bench = RelayBench(ntrip=[steady(100), Script(refuses=MountpointNotServed("NEAR"))])
    relay = bench.runs(HOUR_S, NTRIP)
    assert isinstance(relay.channels[0].error, MountpointNotServed)
    assert 15 < len(bench.service.opened) < 60, "the base station comes back some time"


def test_FR24_repeated_closing_by_a_private_broker_speaks_of_no_portal() -> None:
    bench = RelayBench(mqtt=[Script(refuses=ClosedEarly("mqtt://b, waiting for CONNACK"))])
    (channel,) = bench.runs(2 * HOUR_S, MQTT._replace(own_account=True)).channels

    assert isinstance(channel.error, MqttDenied)
    assert "portal" not in channel.error.advice
    assert "[mqtt]" in channel.error.advice


def test_FR24_repeated_closing_at_one_stage_is_a_refusal() -> None:
    bench = RelayBench(mqtt=[Script(refuses=ClosedEarly("mqtt://b, waiting for CONNACK"))])
    relay = bench.runs(2 * HOUR_S, MQTT)

    assert isinstance(relay.channels[0].error, MqttDenied)
    assert "policy" in MqttDenied.advice
    assert "plan" in MqttDenied.advice
    assert (Event.BLOCKED, MqttDenied.code) in bench.reports.entries
    assert len(bench.service.opened) < 15


def test_FR24_closings_at_different_stages_are_no_refusal() -> None:
    bench = RelayBench(
        mqtt=[
            Script(refuses=ClosedEarly(f"mqtt://b, waiting for {packet}"))
            for packet in ["CONNACK", "SUBACK"] * 50
        ]
    )
    relay = bench.runs(HOUR_S, MQTT)

    assert type(relay.channels[0].error) is ClosedEarly


def test_FR31_a_private_account_that_is_refused_asks_for_no_new_credentials(
    tmp_path: Path,
) -> None:
    record = tmp_path / "refused.json"
    bench = RelayBench(ntrip=[Script(refuses=AccountRefused("401"))])
    bench.runs(3 * HOUR_S, NTRIP, may_refresh=True, refusal_record=record)

    assert not record.exists()
    assert SPARTN not in bench.receiver.got
