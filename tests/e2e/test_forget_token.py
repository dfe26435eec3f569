"""``[ztp] forget_token``: the daemon asks, root's unit removes, and only one fixed file."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import TOP
from tests.support.gateway import Gateway
from tests.support.services import corrections, services, state
from tests.support.until import until
from tests.support.virtualtime import run
from ztpd.sim.caster import Caster

SYSTEMD = TOP / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(SYSTEMD / name)
    return parser


def wanted(gateway: Gateway, *, forget: bool) -> Path:
    """Configure it; where the wish is left."""
    drop_ins = gateway.top / "ztpd.toml.d"
    drop_ins.mkdir()
    (drop_ins / "forget.toml").write_text(f"[ztp]\nforget_token = {str(forget).lower()}\n")
    return gateway.runtime_dir / "forget-token"


@pytest.mark.parametrize("forget", [True, False])
async def test_T5_the_wish_is_left_in_the_runtime_directory_once_corrections_flow(
    tmp_path: Path, forget: bool
) -> None:
    async with services(tmp_path) as (gateway, _, caster):
        wish = wanted(gateway, forget=forget)
        async with gateway.running():
            await until(lambda: caster.sessions and state(gateway) == "streaming")
            await asyncio.sleep(0.1)

        assert wish.exists() == forget


async def test_T5_the_wish_is_left_once_and_not_with_each_session(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, _, caster):
        wish = wanted(gateway, forget=True)
        async with gateway.running():
            await until(wish.exists)
            wish.unlink()  # as root's unit does
            caster.end_sessions()
            await until(lambda: caster.sessions == 2 and state(gateway) == "streaming")
            await asyncio.sleep(0.1)

        assert not wish.exists()


def test_T5_credentials_that_the_disk_takes_late_still_need_the_token_until_then(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with services(tmp_path) as (gateway, _, _):
            wish = wanted(gateway, forget=True)
            in_the_way = gateway.state_dir / "credentials.json.new"
            in_the_way.mkdir()
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming")
                await asyncio.sleep(120)
                assert gateway.status["credentials"]["unsaved"]
                assert not wish.exists()
                in_the_way.rmdir()
                await until(lambda: not gateway.status["credentials"]["unsaved"], 2 * 3600)
                await until(wish.exists, 60)

    run(scenario())


async def test_T5_a_reload_puts_the_setting_in_force_where_corrections_flow_already(
    tmp_path: Path,
) -> None:
    async with services(tmp_path) as (gateway, _, caster), gateway.running():
        await until(lambda: state(gateway) == "streaming")
        wish = wanted(gateway, forget=True)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(wish.exists)

        assert caster.sessions == 1


async def test_T5_a_gateway_that_needs_no_provisioning_keeps_a_token_it_may_need_later(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    async with Caster({"MP": corrections}) as caster, gateway.receiver():
        gateway.configure(
            ntrip={"host": "127.0.0.1", "port": caster.port, "mountpoint": "MP", "tls": False}
        )
        wish = wanted(gateway, forget=True)
        async with gateway.running():
            await until(lambda: caster.sessions and state(gateway) == "streaming")
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.5)

        assert not wish.exists()


async def test_T5_credentials_that_are_refused_still_need_the_token(tmp_path: Path) -> None:
    async with services(tmp_path) as (gateway, _, caster):
        wish = wanted(gateway, forget=True)
        caster.users = {"gateway": "another password"}
        async with gateway.running():
            await until(lambda: caster.connections and state(gateway) in ("waiting", "blocked"))
            await asyncio.sleep(0.1)

        assert not wish.exists()
        assert (gateway.state_dir / "credentials.json").exists()


def test_the_path_unit_waits_for_that_very_file() -> None:
    watched = unit("ztpd-forget-token.path")["Path"]["PathExists"]
    text = (SYSTEMD / "ztpd-forget-token.service").read_text()
    token, request = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)

    assert watched == "/run/ztpd/forget-token"
    assert token == "/bin/rm -f /etc/ztpd/token"
    assert request == f"/bin/rm -rf --one-file-system {watched}"


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
