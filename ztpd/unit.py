"""The daemon's systemd unit, and why no daemon runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ztpd.errors import ConfigError, NotRunning
from ztpd.status import Cause

if TYPE_CHECKING:
    from ztpd.config import LoadedConfig

_PROPERTIES = ("LoadState", "ActiveState", "SubState", "ExecMainStatus", "UnitFileState")
_WITHIN_S = 3.0
_FOUND_BEFORE = "The configuration is right by now: start it with `systemctl start ztpd`."


class UnitState(NamedTuple):
    """Properties of systemd.unit(5) and systemd.exec(5), in systemd's own words."""

    load: str = ""  # "loaded", "masked", "not-found"
    active: str = ""  # "active", "inactive", "failed", "activating"
    sub: str = ""  # "dead", "failed", "auto-restart"
    exit_status: int = 0  # of the last run
    enabled: str = ""  # "enabled", "disabled", "masked"


def read() -> UnitState | None:
    """The state of ztpd.service; None where systemd is not there or does not answer."""
    command = ["systemctl", "show", "ztpd.service", f"--property={','.join(_PROPERTIES)}"]
    try:
        shown = subprocess.run(
            command, capture_output=True, text=True, timeout=_WITHIN_S, check=True
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    load, active, sub, exit_status, enabled = (found.get(name, "") for name in _PROPERTIES)
    number = int(exit_status) if exit_status.isascii() and exit_status.isdigit() else 0
    return UnitState(load, active, sub, number, enabled)


def why_not_running(unit: UnitState | None, load: Callable[[], LoadedConfig]) -> Cause:
    """The cause for a person. ``load`` reads the configuration, to name its mistake."""
    if unit and unit.exit_status == ConfigError.exit_status and unit.active == "failed":
        try:
            load()
        except ConfigError as error:
            if isinstance(error.__cause__, PermissionError):
                return Cause(error.code, str(error), "See `sudo ztpd config check`.")
            return Cause(error.code, str(error), f"{error.advice} Then `systemctl start ztpd`.")
        return Cause(ConfigError.code, "the configuration was wrong", _FOUND_BEFORE)
    text, advice = NotRunning.summary, NotRunning.advice
    match unit:
        case UnitState(load="masked"):
            text = "ztpd.service is masked"
            advice = "`systemctl unmask ztpd`, then `systemctl enable --now ztpd`."
        case UnitState(load="not-found"):
            text = "there is no ztpd.service"
            advice = "Install the package, or start `ztpd run`."
        case UnitState(sub="auto-restart"):
            text = f"it ended with status {unit.exit_status}, and systemd starts it again"
            advice = "See `journalctl -u ztpd`."
        case UnitState(active="failed"):
            text = f"it ended with status {unit.exit_status}, and systemd does not start it again"
            advice = "See `journalctl -u ztpd`, then `systemctl start ztpd`."
        case UnitState(active="inactive"):
            text = "ztpd.service is stopped"
            if unit.enabled == "disabled":
                text += ", and is not started at boot"
                advice = "Start it, now and at boot, with `systemctl enable --now ztpd`."
    return Cause(NotRunning.code, text, advice)
