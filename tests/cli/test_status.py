from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ztpd import events, status
from ztpd.cli.status import render
from ztpd.health import cause, health, ordinal
from ztpd.status import Status

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def document(**changed: Any) -> Status:
    healthy = {
        "schema": 1,
        "version": "0.1.0",
        "at": "2026-11-23T11:59:55+00:00",
        "state": "streaming",
        "since": "2026-11-23T09:00:00+00:00",
        "reason": {"event": "state.streaming", "text": "SPARTN from mqtt://b:8883", "advice": ""},
        "service": "flex",
        "client_id": "00000000-0000-4000-8000-000000000001",
        "identity": {"id": "35752007*****67", "source": "AT+CGSN=1 on /dev/ttyUSB2"},
        "credentials": {"age_s": 86_400, "expires": "2036-11-20"},
        "source": {
            "where": "mqtt://b:8883",
            "session_s": 100.0,
            "format": "SPARTN",
            "frames": {"OCB-GPS": 20, "GAD": 2},
            "bytes": 31_900,
            "last_frame_age_s": 1.2,
        },
        "receiver": {
            "model": "ZED-F9P",
            "firmware": "HPG 1.32",
            "port": "/dev/gnss",
            "fix": "RTK fixed",
            "accuracy_m": 0.014,
            "satellites": 21,
            "correction_age_s": 2,
            "use": "used",
        },
    }
    return status.from_json(healthy | changed)


UNUSED = {
    "use": "not used: they are damaged on the serial line",
    "use_event": "gnss.not_used.damaged",
}
PROBLEM = {"event": "serial.absent", "text": "the port is gone", "advice": "Check the cable."}
NOT_LISTED = {"event": "ztp.refused.not_listed", "text": "not on the list", "advice": "Add it."}


@pytest.mark.parametrize(
    ("is_running", "changed", "word", "expected"),
    [
        (True, {}, "healthy", 0),
        (True, {"state": "blocked"}, "blocked", 1),
        (True, {"state": "waiting"}, "waiting", 2),
        (True, {"state": "connecting"}, "starting", 2),
        (True, {"receiver": UNUSED}, "degraded", 2),
        (True, {"receiver_problem": PROBLEM}, "degraded", 2),
        (False, {}, "not running", 3),
    ],
)
def test_health_is_a_word_for_people_and_an_exit_status_for_scripts(
    is_running: bool, changed: dict[str, Any], word: str, expected: int
) -> None:
    found = health(document(**changed), is_running=is_running)
    assert found.value == word
    assert found.exit_status == expected


def test_one_screen_shows_all_that_matters() -> None:
    shown = render(document(), is_running=True, now=NOW, clock="synchronised")

    assert (
        shown
        == """\
ztpd 0.1.0: healthy: the receiver uses the corrections, RTK fixed

       state  streaming since 2026-11-23 09:00:00 UTC (3 h)
    identity  35752007*****67, AT+CGSN=1 on /dev/ttyUSB2
 credentials  flex 00000000-0000-4000-8000-000000000001, 24 h old, until 2036-11-20
      source  mqtt://b:8883
 corrections  SPARTN, 22 messages, 31900 bytes (319 B/s), the last 1.2 s ago
    receiver  ZED-F9P, HPG 1.32, /dev/gnss
         fix  RTK fixed, 0.014 m, 21 satellites, corrections younger than 2 s
         use  used
       clock  2026-11-23 12:00:00 UTC, synchronised
"""
    )


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        ("synchronised", "synchronised"),
        ("not synchronised", "not synchronised"),
        ("behind", "which is past: the clock is behind"),
        ("unknown", "not known whether it is synchronised"),
    ],
)
def test_the_clock_is_described_in_words(clock: str, words: str) -> None:
    shown = render(document(), is_running=True, now=NOW, clock=clock)
    assert shown.splitlines()[-1].strip() == f"clock  2026-11-23 12:00:00 UTC, {words}"


def test_no_span_of_time_is_negative_after_the_clock_was_set_back() -> None:
    earlier = NOW - timedelta(days=1)
    shown = render(document(), is_running=True, now=earlier)
    assert "since 2026-11-23 09:00:00 UTC (by a clock that was set back)\n" in shown


def test_a_stream_that_has_ended_has_no_rate() -> None:
    source = document().source
    assert source
    quiet = source._replace(last_frame_age_s=403.3)
    shown = render(document()._replace(source=quiet), is_running=True, now=NOW)
    assert "22 messages, 31900 bytes, the last 7 min ago\n" in shown


def test_corrections_that_are_not_used_are_shown_with_the_reason_and_its_age() -> None:
    view = {"model": "ZED-F9P", "use_for_s": 90} | UNUSED
    shown = render(document(receiver=view), is_running=True)
    assert "use  not used: they are damaged on the serial line (for 90 s)\n" in shown


def test_use_that_is_not_known_may_have_been_known_before() -> None:
    shown = render(document(receiver={"use": "unknown"}), is_running=True, now=NOW)
    assert "not known at present whether the receiver uses them\n" in shown


def test_a_wait_shows_cause_remedy_and_time() -> None:
    shown = render(
        document(
            state="blocked",
            at=f"{NOW:%Y-%m-%dT%H:%M:%S%z}",
            reason=NOT_LISTED,
            next_attempt_s=3000.0,
        ),
        is_running=True,
        now=NOW,
    )

    assert shown.splitlines()[:3] == [
        "ztpd 0.1.0: blocked: not on the list",
        "          do  Add it.",
        "    next try  in 50 min; `ztpd retry` tries sooner",
    ]


def test_a_wait_goes_on_after_the_status_was_written() -> None:
    shown = render(
        document(state="waiting", at="2026-11-23T11:30:00+00:00", next_attempt_s=3000.0),
        is_running=True,
        now=NOW,
    )

    assert "in 20 min" in shown


def test_corrections_that_are_not_used_come_first() -> None:
    shown = render(document(receiver=UNUSED), is_running=True, now=NOW)

    assert shown.splitlines()[:2] == [
        "ztpd 0.1.0: degraded: corrections arrive, but the receiver does not use them: "
        "they are damaged on the serial line",
        f"          do  {events.DAMAGED_ON_LINE.remedy}",
    ]


def test_D06_a_configuration_that_is_not_in_force_is_shown_while_all_is_well() -> None:
    broken = {"event": "config.reload_failed", "text": "not used: line 3", "advice": "Correct it."}
    shown = render(document(config_problem=broken), is_running=True, now=NOW)

    assert "healthy" in shown
    assert "    settings  not used: line 3\n              Correct it.\n" in shown

    after = render(document(config_problem=broken), is_running=False, now=NOW)
    assert "settings" not in after, "the next start reads the file anew"


@pytest.mark.parametrize("model", ["ZED-F9P", ""], ids=["known", "not heard so far"])
def test_a_second_problem_has_its_remedy_too(model: str) -> None:
    """As a port that is away, beside an IMEI that is not on the allowlist."""
    absent = {"event": "serial.absent", "text": "the port is not there", "advice": "Plug it in."}
    view = {"model": model, "problem": absent["text"]}
    refused = {"event": "ztp.refused.not_listed", "text": "not listed", "advice": "Add the IMEI."}
    given = {"state": "blocked", "receiver": view, "receiver_problem": absent}
    shown = render(document(**given, reason=refused), is_running=True, now=NOW)
    assert "the port is not there\n              Plug it in.\n" in shown
    alone = render(document(**given, reason=absent), is_running=True, now=NOW)
    assert alone.count("Plug it in.") == 1


def test_S21_credentials_that_cannot_be_unsealed_are_shown_in_a_pause() -> None:
    problem = {"event": "store.sealing", "text": "systemd does not unseal", "advice": "See."}
    paused = {"by": "person", "why": "a person", "ends": "`ztpd resume`"}
    given = {"credentials": None, "credentials_problem": problem}
    shown = render(document(state="paused", paused=paused, **given), is_running=True, now=NOW)

    assert " credentials  systemd does not unseal\n" in shown


def test_colour_is_for_terminals() -> None:
    assert "\033" not in render(document(), is_running=True, now=NOW)
    assert "\033[1;32mhealthy" in render(document(), is_running=True, now=NOW, colour=True)


def test_without_a_daemon_stored_credentials_are_shown() -> None:
    shown = render(
        document(), is_running=False, now=NOW, on_disk="credentials of 2026-11-22: MQTT b"
    )

    assert shown.startswith("ztpd 0.1.0: not running: start it with `systemctl start ztpd`\n")
    assert "on disk  credentials of 2026-11-22: MQTT b\n" in shown
    assert "last state  streaming since" in shown
    assert "source" not in shown


def test_without_any_status_that_is_said() -> None:
    assert "not running" in render(Status(), is_running=False)


@pytest.mark.parametrize("damaged", [{"state": 1}, {"since": []}, {"source": 3, "receiver": None}])
def test_a_status_of_another_version_is_shown_as_far_as_it_goes(damaged: dict[str, Any]) -> None:
    assert render(document(**damaged), is_running=True, now=NOW)


GOOD = {
    "model": "ZED-F9P",
    "fix": "RTK fixed",
    "best_fix": "RTK fixed",
    "best_fix_age_s": 0.0,
    "fix_for_s": 700.0,
    "use": "used",
    "use_for_s": 700.0,
}


@pytest.mark.parametrize(
    ("changed", "word", "event"),
    [
        ({}, "healthy", ""),
        ({"fix": "RTK float", "best_fix_age_s": 599.0}, "healthy", ""),
        ({"fix": "RTK float", "best_fix_age_s": 601.0}, "degraded", "gnss.fix_low"),
        ({"fix": "3D", "best_fix_age_s": 601.0, "fix_for_s": 1.0}, "degraded", "gnss.fix_low"),
        ({"fix": "DGNSS", "best_fix": "DGNSS"}, "degraded", "gnss.fix_without_rtk"),
        ({"fix": "RTK fixed", "best_fix": "DGNSS"}, "healthy", ""),
        ({"fix": "RTK float", "best_fix": "RTK float"}, "healthy", ""),
        ({"fix": "DGNSS", "best_fix": ""}, "healthy", ""),
        ({"fix": "no fix", "fix_for_s": 59.0}, "healthy", ""),
        ({"fix": "no fix", "fix_for_s": 61.0}, "degraded", "gnss.no_fix"),
        ({"fix": "unknown"}, "unknown", "gnss.fix_unknown"),
        ({"dropped_share": 0.05}, "healthy", ""),
        ({"dropped_share": 0.25}, "degraded", "stream.dropped_share"),
        ({"use": "unknown", "use_for_s": 119.0}, "starting", ""),
        ({"use": "unknown", "use_for_s": 121.0}, "unknown", "gnss.use_unknown"),
        ({"use": "unknown", "use_for_s": None}, "starting", ""),
        ({"dropped_share": 0.25, "fix": "unknown"}, "degraded", "stream.dropped_share"),
    ],
)
def test_FR61_healthy_means_used_with_the_fix_that_is_in_reach(
    changed: dict[str, Any], word: str, event: str
) -> None:
    reported = document(receiver=GOOD | changed)
    known = cause(reported)

    assert health(reported, is_running=True).value == word
    assert (known.event if known else "") == event
    assert not known or known.advice


def failed(state: str, **failure: Any) -> Status:
    known = {
        "event": "ztp.refused.not_listed",
        "text": "not on the list",
        "advice": "Add it.",
        "at": "2026-11-23T11:30:00+00:00",
        "times": 2,
        "needs_person": True,
    }
    return document(state=state, receiver={}, last_failure=known | failure)


def test_FR62_while_ztpd_tries_again_the_last_failure_is_shown() -> None:
    reported = failed("provisioning")
    shown = render(reported, is_running=True, now=NOW)

    assert health(reported, is_running=True).exit_status == 1
    assert shown.splitlines()[:2] == [
        "ztpd 0.1.0: blocked: trying again (3rd time): not on the list",
        "          do  Add it.",
    ]
    assert "2 times in a row, the last 30 min ago" in shown
    assert health(failed("connecting", needs_person=False), is_running=True).value == "waiting"


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")],
)
def test_an_ordinal_is_written_as_people_do(number: int, text: str) -> None:
    assert ordinal(number) == text


def test_the_month_is_shown_with_its_limits_and_without() -> None:
    month = {"month_bytes": 412_000_000, "month_session_s": 310 * 3600.0}
    limits = {"limit_megabytes": 1000, "limit_hours": 730}
    limited = render(document(traffic=month | limits), is_running=True, now=NOW)
    assert "  this month  412 of 1000 MB, 310 of 730 h\n" in limited
    plain = render(document(traffic=month), is_running=True, now=NOW)
    assert "  this month  412 MB, 310 h\n" in plain
    young = {"month_bytes": 420_000, "month_session_s": 360.0} | limits
    assert "  0.4 of 1000 MB, 0.1 of 730 h\n" in render(
        document(traffic=young), is_running=True, now=NOW
    )


def test_each_of_several_services_has_its_part_of_the_month_in_its_row() -> None:
    used = {"month_bytes": 10_000_000, "month_session_s": 36_000.0}
    channels = [
        {"name": "ntrip a:21", "state": "in use", "last_corrections_age_s": 4.0} | used,
        {"name": "spare", "state": "standby", "backup": True} | dict.fromkeys(used, 0),
    ]
    names = ("ntrip a:21", "spare", "ntrip given up:2101")
    traffic = {"month_bytes": 30_000_000, "month_session_s": 72_000.0} | {
        "channels": [{"name": name} | used for name in names]
    }
    shown = render(document(traffic=traffic, channels=channels), is_running=True, now=NOW)
    lines = shown.splitlines()
    assert [each for each in lines if "the last corrections" in each or "standby" in each] == [
        "    services  ntrip a:21: in use, the last corrections 4.0 s ago, this month 10 MB, 10 h",
        "              spare: standby, backup",
    ]
    at = lines.index("  this month  30 MB, 20 h")
    assert lines[at + 1 : at + 3] == [
        "              10 MB, 10 h by ntrip given up:2101",
        lines[-1],
    ]


def test_the_month_names_each_of_several_services() -> None:
    channels = [
        {"name": f"ntrip {name}:2101/MP", "month_bytes": 10_000_000, "month_session_s": 36_000.0}
        for name in ("a", "b")
    ]
    both = {"month_bytes": 20_000_000, "month_session_s": 72_000.0, "channels": channels}
    lines = render(document(traffic=both), is_running=True, now=NOW).splitlines()
    at = lines.index("  this month  20 MB, 20 h")
    assert lines[at + 1 : at + 3] == [
        "              10 MB, 10 h by ntrip a:2101/MP",
        "              10 MB, 10 h by ntrip b:2101/MP",
    ]


def test_a_pause_has_the_first_line_with_who_asked_and_how_it_ends() -> None:
    paused = {"by": "person", "why": "a person", "ends": "`ztpd resume` or a reboot"}
    shown = render(document(state="paused", paused=paused, source=None), is_running=True, now=NOW)
    first = "ztpd 0.1.0: paused by a person, until `ztpd resume` or a reboot"
    assert shown.splitlines()[:2] == [first, ""]
