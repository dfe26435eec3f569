"""The layers that the tests of upgrades start from. Collected only with ``ZTPD_DEB``, as the boot
tests are: `make upgrade-test` sets it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.conftest import TOP
from tests.packaging.boot.container import Container

collect_ignore_glob = [] if "ZTPD_DEB" in os.environ else ["test_*"]

FIRST_RELEASE_ENDED = "2026-11-24T00:00Z"
"""0.1.0 has no tag: it is the last commit before this moment."""


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=TOP, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


@pytest.fixture(scope="session")
def first_release(top: Path, payload: Path) -> Path:
    """The package 0.1.0, built from the history, as /payload/ztpd-0.1.0.deb in the containers."""
    commit = _git("log", f"--before={FIRST_RELEASE_ENDED}", "--max-count=1", "--format=%H")
    tree = _git("archive", commit.decode().strip()) if commit.strip() else b""
    if not tree:
        pytest.skip("no git history that reaches back to 0.1.0")
    source = top / "first-release"
    source.mkdir()
    subprocess.run(["tar", "--extract"], cwd=source, input=tree, check=True)
    subprocess.run(["git", "init", "--quiet"], cwd=source, check=True)  # its build asks git
    build = [source / "packaging/build-deb", source / "dist"]
    subprocess.run(build, stdout=subprocess.DEVNULL, check=True)
    (built,) = (source / "dist").glob("ztpd_0.1.0_*.deb")
    return built.rename(payload / "ztpd-0.1.0.deb")


@pytest.fixture(scope="session")
def world(payload: Path) -> None:
    """The simulators' own copy of ztpd, below /payload: versions of the package come and go."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TOP / "ztpd", payload / "world/ztpd", ignore=ignored)


def equip(machine: Container) -> None:
    """Put simulators around a gateway that do not depend on the version of its ztpd."""
    bench.equip(machine)
    machine.once("cp", "--recursive", "/payload/world/ztpd", "/opt/ztpd")
