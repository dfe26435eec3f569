"""S05: killed at a system call, the writer leaves the old generation or the new one.

strace kills it as it enters the n-th call of a kind; every call between the first promise and the
last one gets its turn (in the tests that always run, some twenty do).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crashes import ENVIRON, WRITER
from tests.support.writer import generation, number_of
from ztpd.provisioning.store import CredentialStore

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
QUIETLY = ("-qq", "-o/dev/null")
_CALL = re.compile(r"^(?P<name>\w+)\(")


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def calls(place: Path) -> list[tuple[str, int]]:
    """Each call that the writer makes for the store: its name, and which of that name it is."""
    trace = place / "trace"
    _run(place, list(QUIETLY))  # the first run writes the bytecode, the others have no such calls
    _run(place, ["-o", str(trace)])
    counted: Counter[str] = Counter()
    found, begun = [], False
    for line in trace.read_text().splitlines():
        if call := _CALL.match(line):
            counted[call["name"]] += 1
            begun = begun or 'write(1, "begin 2' in line
            if begun:
                found.append((call["name"], counted[call["name"]]))
            if 'write(1, "stored 3' in line:
                return found
    raise AssertionError("the writer did not come to its end")


def _run(place: Path, options: list[str]) -> str:
    """The output of the writer."""
    directory = place / "state"
    shutil.rmtree(directory, ignore_errors=True)
    CredentialStore(directory).save(generation(1))
    run = ["strace", *options, sys.executable, str(WRITER), str(directory), "store"]
    bytecode = {"PYTHONPYCACHEPREFIX": str(place / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(run, env=ENVIRON | bytecode, check=False, capture_output=True, text=True)
    return done.stdout


def killed(place: Path, points: list[tuple[str, int]]) -> int:
    """The number of writers killed between the promises, each of which kept its promises."""
    within = 0
    for name, number in points:
        said = _run(
            place, [*QUIETLY, f"-etrace={name}", f"-einject={name}:signal=KILL:when={number}"]
        ).split("\n")
        assert "stored 3" not in said, "it was not killed"
        within += "begin 2" in said
        stored = [int(line.split()[1]) for line in said if line.startswith("stored")]
        begun = [int(line.split()[1]) for line in said if line.startswith("begin")]
        oldest = stored[-1] if stored else 1
        found = CredentialStore(place / "state").load()
        assert found is not None
        assert number_of(found.stored) in {oldest, begun[-1] if begun else oldest}, (name, number)
        assert not list((place / "state").glob("*.new"))
    return within


def test_S05_killed_at_some_calls(place: Path) -> None:
    points = calls(place)
    some = points[1::3]

    assert killed(place, some) >= 0.9 * len(some) >= 15


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_S05_killed_at_every_call(place: Path) -> None:
    points = calls(place)[1:]

    assert killed(place, points) >= 0.9 * len(points)
