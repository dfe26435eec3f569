from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ztpd.system import directories


def test_directories_come_from_systemd() -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/x", "RUNTIME_DIRECTORY": "/run/x:/run/y"}
    assert directories.state_dir(environ) == Path("/var/lib/x")
    assert directories.runtime_dir(environ) == Path("/run/x")


@pytest.mark.parametrize("environ", [{}, {"STATE_DIRECTORY": "", "RUNTIME_DIRECTORY": ""}])
def test_directories_without_systemd(environ: Mapping[str, str]) -> None:
    assert directories.state_dir(environ) == Path("/var/lib/ztpd")
    assert directories.runtime_dir(environ) == Path("/run/ztpd")
