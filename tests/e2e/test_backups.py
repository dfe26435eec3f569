"""Backup services in the whole daemon: journal, status, `check`, and no word to ZTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway
from tests.support.receiver_bench import log_lines
from tests.support.services import corrections, services
from tests.support.until import until
from ztpd import status
from ztpd.check import LinkState, Result
from ztpd.cli.status import render
from ztpd.health import Health, cause, health
from ztpd.relay.metering import FILE
from ztpd.sim.caster import Caster
from ztpd.sim.portal import TOKEN
from ztpd.sim.ztp_service import ZtpService
from ztpd.status import ChannelStatus
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

PASSWORD = "canary-7f3a"


@asynccontextmanager
async def site(
    tmp_path: Path, *, fault: str = ""
) -> AsyncIterator[tuple[Gateway, ZtpService, Caster, Caster]]:
    """A gateway with the provisioning service, its caster and a private one as the backup."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    table: dict[str, Any]
    async with Caster({"VRS": corrections}, users={"me": PASSWORD}) as backup:
        table = {
            "host": "127.0.0.1",
            "port": backup.port,
            "mountpoint": "VRS",
            "tls": False,
            "username": "me",
            "password_file": password,
            "name": "state network",
        }
        async with services(tmp_path, backup=[table]) as (gateway, ztp, caster):
            caster.fault = fault
            yield gateway, ztp, caster, backup


def read(gateway: Gateway) -> status.Status:
    return status.read(gateway.runtime_dir)


def channel(gateway: Gateway, name: str) -> ChannelStatus:
    return next((each for each in read(gateway).channels if name in each.name), ChannelStatus())


async def test_a_backup_bridges_a_service_that_refuses_and_the_status_says_why(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, fault="unavailable") as (gateway, ztp, _, backup):
        with log_lines() as log:
            async with gateway.running():
                await until(lambda: channel(gateway, "state network").state == "in use")
                await until(lambda: read(gateway).receiver.use == "used")
                await until(lambda: [line for line in log if "backup_in_use" in line])
                seen = read(gateway)
        assert backup.sessions == 1
        assert health(seen, is_running=True) is Health.DEGRADED
        known = cause(seen)
        assert known is not None
        assert known.event == "session.backup_in_use"
        assert "corrections come from the backup state network" in known.text
        assert "503 Service Unavailable" in known.text
        assert [(each.backup, each.state) for each in seen.channels] == [
            (False, "waiting"),
            (True, "in use"),
        ]
        screen = render(seen, is_running=True)
        assert "services  ntrip localhost" in screen
        assert "state network (127.0.0.1:" in screen
        assert "in use, backup, the last corrections" in screen
        sent = "".join(str(each) for each in ztp.calls)
        assert ztp.calls
        assert "state network" not in sent
        assert PASSWORD not in sent + "".join(log) + (gateway.runtime_dir / status.FILE).read_text()


async def test_a_backup_in_use_leaves_the_token_in_its_place(tmp_path: Path) -> None:
    async with site(tmp_path, fault="unavailable") as (gateway, _, caster, backup):
        drop_ins = gateway.top / "ztpd.toml.d"
        drop_ins.mkdir()
        (drop_ins / "forget.toml").write_text("[ztp]\nforget_token = true\n")
        async with gateway.running():
            await until(lambda: backup.sessions and read(gateway).state == "streaming")
            await asyncio.sleep(0.2)
            assert not (gateway.runtime_dir / "forget-token").exists()
        caster.fault = ""
        (gateway.runtime_dir / "sessions.json").unlink()  # the saved wait
        async with gateway.running():
            await until(lambda: (gateway.runtime_dir / "forget-token").exists())


async def test_a_backup_whose_password_comes_late_is_used_without_a_reload(tmp_path: Path) -> None:
    async with site(tmp_path, fault="unavailable") as (gateway, _, _, backup):
        (tmp_path / "password").rename(tmp_path / "elsewhere")
        async with gateway.running() as daemon:
            await until(lambda: channel(gateway, "state network").event)
            assert "[[backup]] password_file" in channel(gateway, "state network").text
            (tmp_path / "elsewhere").rename(tmp_path / "password")
            daemon.try_now("test")
            await until(lambda: backup.sessions)


def problems(found: list[Result]) -> list[Result]:
    return [each for each in found if each.state is LinkState.PROBLEM and each.layer != "daemon"]


@asynccontextmanager
async def without_ztp(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Caster, Caster]]:
    """A gateway that nobody gave a token, with two backups and no other service."""
    gateway = Gateway(tmp_path)
    gateway.token_file.unlink()
    plain = {"host": "127.0.0.1", "tls": False, "mountpoint": "VRS"}
    async with (
        Caster({"VRS": corrections}) as first,
        Caster({"VRS": corrections}) as second,
        gateway.receiver(speed=5.0),
    ):
        gateway.configure(
            ztp={"token_file": gateway.token_file},
            identity={"source": "at", "port": tmp_path / "no modem", "timeout_s": 5},
            backup=[
                {**plain, "port": first.port, "name": "one"},
                {**plain, "port": second.port, "name": "two"},
            ],
        )
        yield gateway, first, second


async def test_backups_alone_need_neither_modem_nor_token_and_the_first_one_is_no_stopgap(
    tmp_path: Path,
) -> None:
    async with without_ztp(tmp_path) as (gateway, first, _):
        with log_lines() as log:
            async with gateway.running():
                await until(lambda: read(gateway).receiver.use == "used")
                seen = read(gateway)
                found = await gateway.checked(seen)
        assert health(seen, is_running=True) in (Health.HEALTHY, Health.STARTING)
        assert cause(seen) is None
        assert (seen.identity, seen.credentials, seen.last_failure) == (None, None, None)
        assert [each.state for each in seen.channels] == ["in use", "standby"]
        assert [line for line in log if line.startswith("credentials.backups_alone")]
        assert not [line for line in log if line.startswith(("identity.", "modem.", "ztp."))]
        assert first.sessions == 1
        assert list(gateway.files()) == [FILE], "bytes and hours"
        texts = {each.layer: each.text for each in found}
        assert problems(found) == []
        assert texts["credentials"] == "not needed: the configuration names the service"
        assert texts["backup"].startswith("one (127.0.0.1:")


async def test_of_backups_alone_the_second_bridges_the_first_and_the_status_says_so(
    tmp_path: Path,
) -> None:
    async with without_ztp(tmp_path) as (gateway, first, _):
        first.fault = "unavailable"
        async with gateway.running():
            await until(lambda: channel(gateway, "two").state == "in use")
            await until(lambda: read(gateway).receiver.use == "used")
            seen = read(gateway)
        assert health(seen, is_running=True) is Health.DEGRADED
        known = cause(seen)
        assert known
        assert "corrections come from the backup two" in known.text


async def test_a_token_makes_the_same_gateway_provision_itself(tmp_path: Path) -> None:
    async with without_ztp(tmp_path) as (gateway, first, _), gateway.running() as daemon:
        await until(lambda: first.sessions)
        answer = await offload(
            control.ask, gateway.runtime_dir, {"do": Verb.PROVISION, "wait_s": 5.0}
        )
        assert "there is no ZTP token" in answer["error"]
        gateway.token_file.touch(mode=0o600)
        gateway.token_file.write_text(TOKEN.reveal())
        daemon.try_now("test")
        await until(lambda: read(gateway).last_failure is not None)
        assert cause(read(gateway)).event == "modem.absent"  # type: ignore[union-attr]


async def test_check_walks_the_chain_of_backups_alone_with_one_session_for_each(
    tmp_path: Path,
) -> None:
    async with without_ztp(tmp_path) as (gateway, first, second):
        found = await gateway.checked()
        texts = {each.layer: each.text for each in found}
        assert problems(found) == []
        for layer in ("modem", "token", "ztp", "credentials"):
            assert texts[layer] == "not needed: the configuration names the service"
        assert f"{first.port}/VRS" in texts["login"]
        assert texts["backup"].startswith("one (127.0.0.1:")
        assert f"{second.port}/VRS accepts the log-in" in texts["backup"]
        assert (first.sessions, second.sessions) == (1, 1)


async def walk(gateway: Gateway, daemon: status.Status | None = None) -> Result:
    (found,) = [each for each in await gateway.checked(daemon) if each.layer == "backup"]
    return found


async def test_check_logs_in_to_each_backup(tmp_path: Path) -> None:
    async with site(tmp_path) as (gateway, _, _, backup):
        found = await walk(gateway)
        assert (found.state, found.event) == (LinkState.OK, "")
        assert f"ntrip://127.0.0.1:{backup.port}/VRS accepts the log-in" in found.text
        backup.users = {"me": "another"}
        found = await walk(gateway)
        assert (found.state, found.event) == (LinkState.PROBLEM, "ntrip.account_refused")
        assert "[[backup]]" in found.advice


async def test_check_reads_the_backups_of_a_running_daemon_from_its_status(tmp_path: Path) -> None:
    async with site(tmp_path, fault="unavailable") as (gateway, _, caster, backup):
        async with gateway.running():
            await until(lambda: channel(gateway, "state network").state == "in use")
            found = await walk(gateway, read(gateway))
            assert found.event == "session.backup_in_use"
            assert backup.sessions == 1
        caster.fault = ""
        (gateway.runtime_dir / "sessions.json").unlink()  # the saved wait
        async with gateway.running():
            await until(lambda: channel(gateway, "ntrip localhost").state == "in use")
            found = await walk(gateway, read(gateway))
            assert found.text.endswith("standby")
