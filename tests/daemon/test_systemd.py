"""Messages to systemd over its notification socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ztpd.daemon.systemd import notify


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    pytest.importorskip("systemd.daemon", reason="systemd-python is not installed")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield end


def test_assignments_arrive_on_lines_of_their_own(systemd: socket.socket) -> None:
    notify("RELOADING=1", "MONOTONIC_USEC=5")

    assert systemd.recv(4096) == b"RELOADING=1\nMONOTONIC_USEC=5"


def test_FR88_a_line_break_from_outside_begins_no_assignment(systemd: socket.socket) -> None:
    notify("STATUS=blocked: port held by x\nMAINPID=1\r\x00WATCHDOG=trigger")

    assert systemd.recv(4096) == b"STATUS=blocked: port held by x.MAINPID=1..WATCHDOG=trigger"
