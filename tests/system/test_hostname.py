"""The host name of this moment, where the kernel's is that of the unit's start."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ztpd.system import hostname


def hostnamed(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """``busctl`` is ``script``: systemd-hostnamed itself needs the machine's own bus."""
    busctl = directory / "busctl"
    busctl.write_text(f"#!/bin/sh\n{script}\n")
    busctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_FR46_hostnamed_knows_the_name_that_was_set_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostnamed(tmp_path, monkeypatch, """echo '{"type":"s","data":"gw-7"}'""")
    (tmp_path / "hostname").write_text("raspberrypi\n")
    assert hostname.current(tmp_path / "hostname") == "gw-7"


@pytest.mark.parametrize(
    "script", ["exit 1", "echo nonsense", """echo '{"data":7}'""", "echo '[]'"]
)
def test_FR46_without_it_the_file_that_is_read_at_boot_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    hostnamed(tmp_path, monkeypatch, script)
    (tmp_path / "hostname").write_text("# set by cloud-init\ngw-7\n")
    assert hostname.current(tmp_path / "hostname") == "gw-7"


def test_FR46_the_kernel_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostnamed(tmp_path, monkeypatch, "exit 1")
    assert hostname.current(tmp_path / "none") == socket.gethostname()
