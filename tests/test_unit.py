"""Why no daemon runs, as systemd knows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ztpd import unit
from ztpd.config import LoadedConfig, load
from ztpd.errors import ConfigError
from ztpd.unit import UnitState, why_not_running


def right() -> LoadedConfig:
    return load(Path("etc/ztpd/ztpd.toml"))


def wrong() -> LoadedConfig:
    raise ConfigError("/etc/ztpd/ztpd.toml: receiver.baudrate = 7")


def unreadable() -> LoadedConfig:
    raise ConfigError("/etc/ztpd/ztpd.toml: Permission denied") from PermissionError()


@pytest.mark.parametrize(
    ("state", "text", "advice"),
    [
        (None, "no daemon is running", "systemctl start ztpd"),
        (UnitState("loaded", "inactive", "dead"), "ztpd.service is stopped", "systemctl start"),
        (
            UnitState("loaded", "inactive", "dead", enabled="disabled"),
            "ztpd.service is stopped, and is not started at boot",
            "enable --now",
        ),
        (UnitState("masked", "inactive", "dead"), "ztpd.service is masked", "unmask"),
        (UnitState("not-found", "inactive", "dead"), "there is no ztpd.service", "package"),
        (
            UnitState("loaded", "activating", "auto-restart", 70),
            "it ended with status 70, and systemd starts it again",
            "journalctl",
        ),
        (
            UnitState("loaded", "failed", "failed", 64),
            "it ended with status 64, and systemd does not start it again",
            "journalctl",
        ),
    ],
)
def test_FR67_why_no_daemon_runs_is_named_with_the_remedy(
    state: UnitState | None, text: str, advice: str
) -> None:
    found = why_not_running(state, right)

    assert (found.event, found.text) == ("control.not_running", text)
    assert advice in found.advice


def test_FR66_after_a_wrong_configuration_the_mistake_is_named() -> None:
    failed = UnitState("loaded", "failed", "failed", 78)

    found = why_not_running(failed, wrong)
    assert found.event == "config.invalid"
    assert "receiver.baudrate = 7" in found.text
    assert "ztpd config check" in found.advice
    assert "by now" in why_not_running(failed, right).advice
    assert "sudo ztpd config check" in why_not_running(failed, unreadable).advice


def systemctl(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = directory / "systemctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/bin:/usr/bin")


def test_the_unit_is_read_in_systemds_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "LoadState=loaded\nActiveState=failed\nSubState=failed\nExecMainStatus=78"
    systemctl(tmp_path, f"printf '{lines}\\nUnitFileState=enabled\\n'", monkeypatch)

    assert unit.read() == UnitState("loaded", "failed", "failed", 78, "enabled")


@pytest.mark.parametrize("script", ["exit 1", "printf '\\377'", "echo ExecMainStatus=x"])
def test_without_a_systemd_that_answers_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    systemctl(tmp_path, script, monkeypatch)

    assert unit.read() in (None, UnitState())
