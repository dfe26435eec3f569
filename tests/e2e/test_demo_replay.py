"""A running demo is recorded, as another process, and played again by `ztpd demo --replay`."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import recordings
from ztpd.cli import main
from ztpd.wire import recording

ZTPD = [sys.executable, "-m", "ztpd"]
VERDICT = re.compile(r"ztpd \S+: (.*)")


def verdict(text: str) -> str:
    """The first line of `ztpd status`."""
    found = VERDICT.search(text)
    assert found, text
    return found[1].rstrip()


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--fault", "old-firmware")])
def test_a_demo_that_was_recorded_and_is_played_again_has_the_same_verdict(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = tmp_path / "demo.ztpd"
    with subprocess.Popen(
        [*ZTPD, "demo", *options], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as demo:
        assert demo.stdout
        for line in demo.stdout:
            if found := re.search(r"second terminal: (.+) status$", line.rstrip()):
                command = shlex.split(found[1])
            if "the receiver uses the corrections" in line:
                break
        subprocess.run(
            [*command, "record", str(path), "--seconds", "20"], check=True, capture_output=True
        )
        shown = subprocess.run([*command, "status"], text=True, capture_output=True, check=False)
        demo.terminate()
        demo.stdout.read()

    played = subprocess.run(
        [*ZTPD, "demo", "--replay", str(path)], text=True, capture_output=True, check=False
    )
    assert played.returncode == 0, played.stdout
    assert verdict(played.stdout) == verdict(shown.stdout)
    assert not recording.read(path.read_bytes()).is_cut


@pytest.mark.slow
def test_a_kept_recording_is_played_four_times_as_fast(tmp_path: Path) -> None:
    began_s = time.monotonic()
    path = recordings.FOLDER / "old-firmware.ztpd"
    played = subprocess.run(
        [*ZTPD, "demo", "--replay", str(path), "--speed", "4"],
        text=True,
        capture_output=True,
        check=False,
    )
    assert played.returncode == 0, played.stdout
    assert "4 times as fast: a recording of ztpd, 60 s, ZED-F9P HPG 1.13, RTCM" in played.stdout
    assert verdict(played.stdout) == "healthy: the receiver uses the corrections, RTK fixed"
    assert time.monotonic() - began_s < 45


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("--replay", "/nowhere"), 65, "cannot be played: /nowhere: No such file"),
        (("--replay", sys.executable), 65, "nor a log of UBX and NMEA, RTCM 3 or SPARTN"),
        (("--replay", "x", "--speed", "0"), 64, "--speed is a number from 0.01 to 1000"),
        (("--replay", "x", "--via", "mqtt"), 64, "the corrections come by NTRIP"),
        (("--replay", "x", "--fault", "tunnel"), 64, "--fault does not go with --replay"),
        (("--replay", "x", "--capture", "y"), 64, "--capture does not go with --replay"),
        (("--speed", "2"), 64, "--speed is for --replay"),
    ],
)
def test_files_and_options_that_do_not_fit_are_named(
    words: tuple[str, ...], status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *words]) == status
    assert text in capsys.readouterr().err
