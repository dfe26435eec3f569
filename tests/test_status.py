from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ztpd import status
from ztpd.errors import LockHeld

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def document(**changed: Any) -> dict[str, Any]:
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
    return healthy | changed


@pytest.mark.parametrize(
    ("is_running", "changed", "expected"),
    [
        (True, {}, 0),
        (True, {"state": "blocked"}, 1),
        (True, {"state": "waiting"}, 2),
        (True, {"state": "connecting"}, 2),
        (True, {"receiver": {"use": "not used: wrong key"}}, 2),
        (False, {}, 3),
    ],
)
def test_the_exit_status_tells_scripts(
    is_running: bool, changed: dict[str, Any], expected: int
) -> None:
    assert status.exit_status(document(**changed), is_running=is_running) == expected


def test_one_screen_tells_all_that_matters() -> None:
    shown = status.render(document(), is_running=True, now=NOW)

    for text in (
        "streaming, since 2026-11-23T09:00:00+00:00 (3 h)",
        "35752007*****67, AT+CGSN=1 on /dev/ttyUSB2",
        "24 h old, until 2036-11-20",
        "mqtt://b:8883",
        "SPARTN, 22 frames, 31900 bytes (319 B/s), last 1.2 s ago",
        "ZED-F9P, HPG 1.32, /dev/gnss",
        "RTK fixed, accuracy 0.014 m, 21 satellites, corrections younger than 2 s",
        "used",
    ):
        assert text in shown
    assert len(shown.splitlines()) < 24


def test_a_wait_tells_cause_cure_and_when() -> None:
    reason = {"event": "ztp.refused.not_listed", "text": "not on the list", "advice": "Add it."}
    shown = status.render(
        document(state="blocked", reason=reason, next_attempt_s=3000.0), is_running=True, now=NOW
    )

    assert "not on the list" in shown
    assert "Add it." in shown
    assert "in 50 min" in shown


def test_what_a_stopped_daemon_said_last_is_shown_as_such() -> None:
    shown = status.render(document(), is_running=False, now=NOW)

    assert shown.startswith("ztpd is not running; this is what it said last")


def test_without_any_status_that_is_said() -> None:
    assert "not running" in status.render({}, is_running=False)


@pytest.mark.parametrize("damaged", [{"state": 1}, {"since": []}, {"source": 3, "receiver": None}])
def test_a_status_of_another_version_is_shown_as_far_as_it_goes(damaged: dict[str, Any]) -> None:
    assert status.render(document(**damaged), is_running=True, now=NOW)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    status.write(tmp_path, document())

    assert status.read(tmp_path) == document()
    assert (tmp_path / status.FILE).stat().st_mode & 0o777 == 0o644


def test_a_runtime_directory_that_is_gone_does_not_stop_the_daemon(tmp_path: Path) -> None:
    status.write(tmp_path / "gone", document())


def test_Z15_a_second_ztpd_is_told_of_the_first(tmp_path: Path) -> None:
    first, second = status.Lock(tmp_path), status.Lock(tmp_path)
    first.take()

    with pytest.raises(LockHeld):
        second.take()
    assert status.running(tmp_path)
    first.release()
    assert not status.running(tmp_path)
    second.take()
    second.release()


def test_where_there_never_was_a_daemon_none_is_running(tmp_path: Path) -> None:
    assert not status.running(tmp_path)
