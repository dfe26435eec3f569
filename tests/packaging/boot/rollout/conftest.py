"""The layers that the tests of the roll-out start from. Collected only with ``ZTPD_DEB``, as the
boot tests are: `make rollout-test` sets it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.boot.conftest import TOP, tree

collect_ignore_glob = [] if "ZTPD_DEB" in os.environ else ["test_*"]


@pytest.fixture(scope="session")
def equipped(suite: str, top: Path, payload: Path) -> tuple[Path, ...]:
    """A minimal system with the tools of a roll-out, without ztpd."""
    return (tree(suite, "rollout") / "root",)


@pytest.fixture(scope="session")
def source(payload: Path) -> Path:
    """The source of the Debian package, /payload/ztpd in the containers."""
    subprocess.run([TOP / "packaging/source-tree", payload], check=True)
    return payload / "ztpd"


@pytest.fixture
def publish(payload: Path) -> Callable[..., None]:
    """Runs packaging/repository on /payload/repository of the containers."""

    def run(*arguments: str | Path) -> None:
        command = [TOP / "packaging/repository", payload / "repository", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return run
