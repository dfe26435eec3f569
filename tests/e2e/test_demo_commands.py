"""The commands that the demo names for a second terminal work on the demo's own daemon."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_status_and_check_of_a_second_terminal_find_the_demo_healthy(tmp_path: Path) -> None:
    """Also from another folder, which has a module called ztpd, and without any environment."""
    (tmp_path / "ztpd.py").write_text("raise SystemExit('the wrong ztpd')")
    command = [sys.executable, "-m", "ztpd", "demo"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as demo:
        assert demo.stdout
        named = {}
        for line in demo.stdout:
            if found := re.search(r"second terminal: (.+ (status|check))$", line.rstrip()):
                named[found[2]] = shlex.split(found[1])
            if "RTK fixed, by corrections" in line:
                break

        answers = {
            verb: subprocess.run(
                words, cwd=tmp_path, env={}, capture_output=True, text=True, check=False
            )
            for verb, words in named.items()
        }
        demo.terminate()
        demo.stdout.read()

    status, check = answers["status"], answers["check"]
    assert (status.returncode, status.stderr) == (0, ""), status.stdout
    assert "healthy: the receiver uses the corrections, RTK fixed" in status.stdout
    assert (check.returncode, check.stderr) == (0, ""), check.stdout
    assert "problem" not in check.stdout
