"""Recorded faults, each played to the whole daemon in a line; and logs of other programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import recordings, virtualtime
from tests.support.receiver_bench import log_lines
from tests.support.recordings import replayed
from ztpd.health import Health
from ztpd.sim import playable
from ztpd.wire import recording


def test_a_recorded_short_circuit_in_the_antenna(tmp_path: Path) -> None:
    assert replayed("antenna-short.ztpd", tmp_path).causes == ["gnss.reception.antenna_short"]


def test_recorded_jamming(tmp_path: Path) -> None:
    assert replayed("jamming.ztpd", tmp_path).causes == ["gnss.reception.jammed"]


def test_a_recorded_station_that_is_far_away(tmp_path: Path) -> None:
    assert replayed("station-far.ztpd", tmp_path).causes == ["gnss.reception.far"]


def test_a_recorded_radio_with_another_station(tmp_path: Path) -> None:
    assert replayed("other-station-by-radio.ztpd", tmp_path).causes == [
        "gnss.not_used.other_source"
    ]


def test_a_recorded_receiver_of_old_firmware_uses_the_corrections(tmp_path: Path) -> None:
    seen = replayed("old-firmware.ztpd", tmp_path)
    assert (seen.health, seen.use, seen.fix) == (Health.HEALTHY, "used", "RTK fixed")
    assert seen.receiver == "ZED-F9P HPG 1.13"


def test_a_recording_whose_receiver_is_unplugged_and_comes_back(tmp_path: Path) -> None:
    """The port goes, and comes, at the recorded times."""
    with log_lines() as log:
        seen = replayed("receiver-unplugged.ztpd", tmp_path)
    assert sum("the serial port disappeared" in line for line in log) == 1
    assert sum("receiver ZED-F9P, firmware" in line for line in log) == 2
    assert (seen.health, seen.fix) == (Health.HEALTHY, "RTK fixed")


def test_a_recorded_refusal_of_the_account(tmp_path: Path) -> None:
    assert replayed("account-refused.ztpd", tmp_path).causes == ["ntrip.account_refused"]


def test_a_recording_that_is_cut_is_played_to_its_cut(tmp_path: Path) -> None:
    whole = (recordings.FOLDER / "antenna-short.ztpd").read_bytes()
    path = tmp_path / "cut.ztpd"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    found = playable.load(path)
    assert found.note == "it ends in the middle of a record"
    assert 30 < found.duration_s < 59
    (tmp_path / "top").mkdir()
    assert replayed(path, tmp_path / "top").causes == ["gnss.reception.antenna_short"]


def test_a_faster_replay_shows_the_same_fault(tmp_path: Path) -> None:
    seen = replayed("antenna-short.ztpd", tmp_path, speed=2.0)
    assert seen.causes == ["gnss.reception.antenna_short"]


def test_every_kept_recording_has_a_source() -> None:
    assert {path.name for path in recordings.FOLDER.iterdir()} == set(recordings.SOURCES)


@pytest.mark.parametrize("name", recordings.SOURCES)
def test_a_kept_recording_is_small_and_has_the_messages_of_one_made_now(
    name: str, tmp_path: Path
) -> None:
    """Else `make recordings`: the simulators have changed."""
    kept = (recordings.FOLDER / name).read_bytes()
    assert len(kept) < 10_000
    made = recording.read(virtualtime.run(recordings.recorded(recordings.SOURCES[name], tmp_path)))
    assert recordings.messages(made) == recordings.messages(recording.read(kept))


@pytest.mark.parametrize(
    ("name", "words", "causes"),
    [
        ("rtcm3-base-station.log", "a log of a receiver, 157 s", ["gnss.not_used.time_only"]),
        ("ntrip_encode_none.bin", "a stream of RTCM 3, 32 s", []),
        ("ntrip_encode_chunked.bin", "a stream of RTCM 3, 32 s", []),
        ("spartnOCB.log", "a stream of SPARTN, 10 s", []),
        (
            "spartn_rollover_32and16_20240428235040.log",
            "a stream of SPARTN, 60 s",
            ["gnss.not_used.no_key"],
        ),
    ],
)
def test_logs_of_other_programs_are_played(
    captures: Path, tmp_path: Path, name: str, words: str, causes: list[str]
) -> None:
    assert playable.about(playable.load(captures / name)).startswith(words)
    assert replayed(captures / name, tmp_path).causes == causes


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pygpsdata-MON.log", "it is UBX without NAV-PVT, which would say when"),
        ("README.md", "it is neither a recording of ztpd nor a log of UBX and NMEA"),
    ],
)
def test_files_that_cannot_be_played_are_named(captures: Path, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        playable.load(captures / name)
