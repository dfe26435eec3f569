"""However the demo is ended, it ends everything that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

Ending = Callable[[subprocess.Popen[str], IO[str]], None]


def signalled(number: int) -> Ending:
    return lambda demo, _: demo.send_signal(number)


ENDINGS: dict[str, Ending] = {
    "Ctrl-C": signalled(signal.SIGINT),
    "SIGTERM": signalled(signal.SIGTERM),
    "terminal closed": signalled(signal.SIGHUP),
    "| head": lambda _, story: story.close(),
}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_of_a_demo_stays_behind(tmp_path: Path, ending: str) -> None:
    command = [sys.executable, "-m", "ztpd", "demo"]
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as demo:
        assert demo.stdout
        assert demo.stderr
        while "starts the real daemon" not in demo.stdout.readline():
            assert demo.poll() is None
        demo.stdout.readline()

        ENDINGS[ending](demo, demo.stdout)

        said = demo.stderr.read()
        assert demo.wait(timeout=30) == 0
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    named = subprocess.run(["pgrep", "--full", str(tmp_path)], capture_output=True, check=False)
    assert named.stdout == b"", "a process is left"
