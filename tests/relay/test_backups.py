"""Backup services: tried last, left for the services before them, no judge of credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.receiver_bench import log_lines
from tests.support.relay_bench import (
    BACKUP,
    HOUR_S,
    NTRIP,
    RTCM,
    SPARE,
    SPARTN,
    RelayBench,
    Script,
    steady,
)
from tests.support.virtualtime import run
from ztpd.errors import (
    AccountRefused,
    CasterBusy,
    ConnectionLost,
    ConnectRefused,
    SessionClosed,
    SessionRefused,
    ZtpdError,
)
from ztpd.model import Frame, SourceEndpoint
from ztpd.status import ChannelStatus

DOWN = Script(refuses=ConnectRefused("caster.example"))
UP = steady(10 * HOUR_S)


def test_a_backup_is_not_opened_while_the_service_before_it_works() -> None:
    bench = RelayBench(ntrip=[UP], backup=[UP])
    bench.runs(HOUR_S, NTRIP, BACKUP)
    assert bench.service.opened_as("backup") == []


def test_a_backup_delivers_while_the_service_before_it_fails() -> None:
    bench = RelayBench(ntrip=[DOWN], backup=[UP])
    with log_lines() as log:
        relay = bench.runs(HOUR_S, NTRIP, BACKUP)
    assert len(bench.receiver.got) > HOUR_S - 60
    assert relay.progress.backup
    assert not [line for line in log if "service_changed" in line], "there was none before"


def test_backups_are_tried_in_their_order() -> None:
    bench = RelayBench(ntrip=[DOWN], backup=[DOWN], spare=[UP])
    bench.runs(120, NTRIP, BACKUP, SPARE)
    assert [name for _, name in bench.service.opened[:3]] == ["ntrip", "backup", "spare"]


def test_the_service_before_comes_back_once_it_has_been_stable_beside_the_backup() -> None:
    bench = RelayBench(ntrip=[steady(90), *[DOWN] * 6, UP], backup=[UP])
    with log_lines() as log:
        bench.runs(HOUR_S, NTRIP, BACKUP)
    changes = [line for line in log if line.startswith("session.service_changed")]
    assert len(changes) == 2
    assert "from backup (b.example:2101/VRS) instead of ntrip caster.example:2102" in changes[0]
    assert "its datum may differ" in changes[0]
    assert "from ntrip caster.example:2102 instead of backup" in changes[1]
    assert "(it works again)" in changes[1]
    assert bench.service.open_now["backup"] == 0
    assert max(bench.service.most_at_once.values()) == 2


def test_every_channel_is_described_with_the_reason_why_it_is_not_in_use() -> None:
    bench = RelayBench(ntrip=[DOWN], backup=[UP], spare=[UP])
    relay = bench.relay(NTRIP, BACKUP, SPARE)

    async def described() -> tuple[ChannelStatus, ...]:
        running = asyncio.create_task(relay.run())
        await asyncio.sleep(30)
        found = relay.overview()
        running.cancel()
        await asyncio.wait([running])
        assert "in use" not in {each.state for each in relay.overview()}
        return found

    first, second, third = run(described())
    assert (first.name, first.state, first.event) == (
        "ntrip caster.example:2102",
        "waiting",
        "net.refused",
    )
    assert first.next_attempt_s is not None
    assert first.last_corrections_age_s is None
    assert (second.state, second.text, second.backup) == ("in use", "", True)
    assert (second.last_corrections_age_s or 0.0) <= 1
    assert third == ChannelStatus("spare (s.example:2101/SPARE)", backup=True, state="standby")


def test_a_backup_that_delivers_does_not_vouch_for_refused_credentials() -> None:
    bench = RelayBench(ntrip=[Script(refuses=SessionRefused("401"))], backup=[UP])
    relay = bench.relay(NTRIP, BACKUP, may_refresh=True)

    async def scenario() -> float:
        with pytest.raises(SessionRefused):
            await relay.run()
        return asyncio.get_running_loop().time()

    assert HOUR_S <= run(scenario()) < 3 * HOUR_S
    assert len(bench.receiver.got) > HOUR_S - 60, "the backup delivers until then"
    assert bench.service.open_now["all"] == 0


def test_a_session_beside_is_closed_where_the_end_of_the_present_one_asks_for_credentials() -> None:
    refused = Script(refuses=SessionRefused("401"))
    bench = RelayBench(ntrip=[*[refused] * 5, Script()])

    def until_the_other_is_open() -> Iterator[tuple[float, Frame]]:
        while not bench.service.open_now["ntrip"]:
            yield 1.0, RTCM

    backup = Script(until_the_other_is_open(), SessionClosed("the peer"))  # type: ignore[arg-type]
    bench.service.scripts["backup"] = [backup]

    async def scenario() -> None:
        with pytest.raises(SessionRefused, match="the peer"):
            await bench.relay(NTRIP, BACKUP, may_refresh=True).run()
        assert bench.service.open_now == {"ntrip": 0, "backup": 0, "all": 0}

    run(scenario())


def test_a_backup_that_refuses_says_nothing_about_the_credentials() -> None:
    refused = Script(refuses=AccountRefused("401"))
    bench = RelayBench(ntrip=[DOWN], backup=[refused])
    bench.runs(30 * HOUR_S, NTRIP, BACKUP, may_refresh=True)
    assert len(bench.service.opened_as("backup")) < 60


def test_the_format_of_a_backup_is_its_own() -> None:
    both = Script([(0.5, SPARTN), (0.5, RTCM)] * HOUR_S)
    bench = RelayBench(ntrip=[DOWN], backup=[both])
    bench.runs(60, NTRIP, BACKUP._replace(format="rtcm"), format="spartn")
    assert set(bench.receiver.got) == {RTCM}


def test_a_format_that_a_backup_excludes_names_its_table() -> None:
    bench = RelayBench(ntrip=[DOWN], backup=[UP])
    relay = bench.runs(60, NTRIP, BACKUP._replace(format="rtcm"))
    (_, backup) = relay.channels
    assert '[[backup]] format = "rtcm" lets only RTCM 3 through' in str(backup.error)


def test_after_the_receiver_was_away_the_first_service_is_tried_first() -> None:
    """As in a machine that switches its receiver off at night: the fault of before is over."""
    bench = RelayBench(ntrip=[DOWN], backup=[UP])

    async def scenario() -> None:
        running = asyncio.create_task(bench.relay(NTRIP, BACKUP).run())
        await asyncio.sleep(300)
        bench.receiver.ready = False
        await asyncio.sleep(HOUR_S)
        assert bench.service.open_now["all"] == 0
        bench.service.scripts["ntrip"] = [UP]
        bench.service.opened.clear()
        bench.receiver.ready = True
        await asyncio.sleep(100)
        running.cancel()
        await asyncio.wait([running])

    run(scenario())
    assert [name for _, name in bench.service.opened] == ["ntrip"]


@pytest.mark.parametrize("again", [SessionRefused("401"), CasterBusy("x"), ConnectRefused("x")])
def test_a_service_that_fails_again_after_each_return_stays_away_for_longer(
    again: ZtpdError,
) -> None:
    """As a caster that its watchdog restarts again and again."""
    scripts = [steady(300), *[Script(refuses=again)] * 5] * 500
    bench = RelayBench(ntrip=scripts, backup=[UP])
    with log_lines() as log:
        bench.runs(9 * HOUR_S, NTRIP, BACKUP)
    assert len([line for line in log if line.startswith("session.service_changed")]) <= 9
    assert len(bench.receiver.got) > 9 * HOUR_S - 120
    assert len(bench.service.opened_as("ntrip")) < 9 * 40


def test_an_outage_of_all_services_makes_none_stay_away() -> None:
    """As a vehicle in a tunnel: the service that comes first afterwards proves nothing."""
    bench = RelayBench(ntrip=[UP], backup=[UP])
    service, open_script = bench.service, bench.service.open

    def by_time(endpoint: SourceEndpoint) -> Any:
        at_s = asyncio.get_running_loop().time() % 400
        ends = Script(([(1.0, SPARTN)] * int(300 - at_s)), ConnectionLost("x"))
        for name in ("ntrip", "backup"):
            service.scripts[name] = [ends if at_s < 300 else DOWN]
        return open_script(endpoint)

    service.open = by_time  # type: ignore[method-assign]
    relay = bench.runs(4 * HOUR_S, NTRIP, BACKUP)
    assert relay.channels[0].unused_times == 0


@pytest.mark.parametrize("after_s", [2, 12, 50])
def test_a_service_that_resets_every_session_is_left_for_a_backup_that_works(after_s: int) -> None:
    bench = RelayBench(ntrip=[steady(after_s, ends=ConnectionLost("reset by peer"))], backup=[UP])
    bench.runs(6 * HOUR_S, NTRIP, BACKUP)
    assert len(bench.service.opened_as("backup")) == 1
    assert len(bench.service.opened_as("ntrip")) < 6 * 40
    assert len(bench.receiver.got) > 6 * HOUR_S - 60


def test_a_network_that_resets_every_session_changes_the_service_seldom() -> None:
    reset = steady(20, ends=ConnectionLost("reset by peer"))
    bench = RelayBench(ntrip=[reset], backup=[reset])
    with log_lines() as log:
        bench.runs(HOUR_S, NTRIP, BACKUP)
    changes = [line for line in log if line.startswith("session.service_changed")]
    assert len(changes) <= 70, "it cannot be told from a service that resets"
    assert len(bench.receiver.got) > 0.93 * HOUR_S


def test_a_service_that_is_cut_again_and_again_is_tried_seldom_beside_a_backup() -> None:
    """Each try brings the corrections twice, on the vehicle's mobile data."""
    bench = RelayBench(ntrip=[Script([(1.0, SPARTN)] * 20)], backup=[UP])
    bench.runs(6 * HOUR_S, NTRIP, BACKUP)
    assert len(bench.service.opened_as("ntrip")) < 6 * 40
    assert len(bench.receiver.got) > 6 * HOUR_S - 60
