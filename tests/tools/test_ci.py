"""CI repeats the failed tests of a suite once, and says so."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support import TOP

FAILED = "tests/test_a.py::test_against_the_clock[a b]"


def ci(directory: Path, *suites: str, fails: int) -> subprocess.CompletedProcess[str]:
    """Run ``suites``; the first ``fails`` calls of make fail, each with one failed test."""
    make = directory / "make"
    make.write_text(f"""#!/bin/sh
echo "$@" >> {directory}/calls
[ $(wc -l < {directory}/calls) -gt {fails} ] && exit
mkdir -p .pytest_cache/v/cache
cat > .pytest_cache/v/cache/lastfailed <<'J'
{json.dumps({FAILED: True})}
J
exit 1
""")
    make.chmod(0o755)
    lines = [f". {TOP}/.ci/suite.sh", "trap summary EXIT", *suites]
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=directory,
        env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_suite_that_passes_is_not_repeated(tmp_path: Path) -> None:
    done = ci(tmp_path, "suite PYTEST_ARGS test A=b", fails=0)

    assert done.returncode == 0
    assert (tmp_path / "calls").read_text() == "test A=b\n"
    assert done.stdout.endswith("repeated: 0 suites, 0 tests\n")


@pytest.mark.parametrize(("target", "again"), [("test-slow", "test-slow"), ("coverage", "test")])
def test_the_failed_tests_of_a_suite_are_repeated_once_and_named_at_the_end(
    tmp_path: Path, target: str, again: str
) -> None:
    done = ci(tmp_path, f"suite SLOW_ARGS {target} A=b", "suite PYTEST_ARGS lint", fails=1)

    assert done.returncode == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"{target} A=b", f"{again} A=b SLOW_ARGS=--last-failed", "lint"]
    assert f"failed first: make {target} A=b\n  {FAILED}\n" in done.stdout
    assert done.stdout.endswith(f"repeated: 1 suites, 1 tests\n  {FAILED}\n")


def test_a_suite_that_fails_again_ends_the_run(tmp_path: Path) -> None:
    done = ci(tmp_path, "suite PYTEST_ARGS test", "echo went on", fails=2)

    assert done.returncode != 0
    assert "went on" not in done.stdout
    assert done.stdout.endswith(f"repeated: 1 suites, 1 tests\n  {FAILED}\n")


def test_every_suite_of_tests_is_run_so() -> None:
    lines = (TOP / ".ci/run").read_text().splitlines()
    assert not [line for line in lines if line.strip().startswith(("make test", "make boot-test"))]
    assert "trap summary EXIT" in lines
