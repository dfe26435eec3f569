"""``[ztp] forget_token``: the daemon asks, root's unit removes, and only one fixed file."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest
from gateway import Gateway, until

from ztpd import cli

SYSTEMD = Path(__file__).parents[1] / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(SYSTEMD / name)
    return parser


@pytest.mark.parametrize("wanted", [True, False])
async def test_T5_the_wish_is_left_in_the_runtime_directory_once_credentials_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    gateway = Gateway(tmp_path)
    path = gateway.configure(
        ztp={"token_file": tmp_path / "none", "splay_s": 0, "forget_token": wanted},
        identity={"source": "fixed", "hardware_id": "gw-1"},
    )
    monkeypatch.setenv("STATE_DIRECTORY", str(gateway.state_dir))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(gateway.runtime_dir))
    wish = gateway.runtime_dir / "forget-token"
    async with gateway.running():
        await until(lambda: gateway.status.get("state") == "blocked")
        assert not wish.exists(), "nothing is stored yet"
    answer = Path(__file__).parent / "data/ztp/flex-ntrip-rtcm.json"
    assert cli.main(["import", str(answer), "--config", str(path)]) == 0
    async with gateway.running():
        await until(lambda: wish.exists() or (not wanted and "source" in gateway.status))

        assert wish.exists() == wanted


def test_the_path_unit_waits_for_that_very_file() -> None:
    watched = unit("ztpd-forget-token.path")["Path"]["PathExists"]
    removed = unit("ztpd-forget-token.service")["Service"]["ExecStart"].split()

    assert watched == "/run/ztpd/forget-token"
    assert removed == ["/bin/rm", "-f", "/etc/ztpd/token", watched]


def test_P12_the_helpers_have_no_more_rights_than_their_one_task_takes() -> None:
    assert unit("ztpd-settime.service")["Service"]["CapabilityBoundingSet"] == "CAP_SYS_TIME"
    token = unit("ztpd-forget-token.service")["Service"]
    assert token["CapabilityBoundingSet"] == "CAP_DAC_OVERRIDE"
    try:
        for name in ("ztpd-settime.service", "ztpd-forget-token.service"):
            subprocess.run(
                ["systemd-analyze", "security", "--offline=yes", "--threshold=20", SYSTEMD / name],
                check=True,
                capture_output=True,
            )
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not installed")
