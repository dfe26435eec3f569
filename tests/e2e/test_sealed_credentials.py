"""The whole daemon with credentials that are sealed to the machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.credentials_service import SimCredentialsService
from tests.support.gateway import Gateway
from tests.support.services import services, state
from tests.support.until import until
from tests.support.virtualtime import run
from ztpd import events, status
from ztpd.daemon.pauses import Asker
from ztpd.errors import SealingFailed, StoreUnsealable
from ztpd.health import Health, cause, causes, health
from ztpd.provisioning.keeper import OPEN_WITHIN_S
from ztpd.provisioning.pacing import SCHEDULE_FILE
from ztpd.provisioning.store import CURRENT, CredentialStore, Loaded
from ztpd.sim.modem import SARA_R5, SimModem
from ztpd.sim.ztp_service import ZtpService
from ztpd.system.sealing import CredentialsService

WITHIN_S = 10.0
OTHER_IMEI = "356938035643809"


@asynccontextmanager
async def sealing(
    top: Path, *, seal: bool = True
) -> AsyncIterator[tuple[Gateway, ZtpService, SimCredentialsService]]:
    sim = SimCredentialsService(top / "io.systemd.Credentials")
    with sim.listening():
        async with services(top) as (gateway, service, _):
            gateway.sealer = CredentialsService(sim.path, within_s=1)
            gateway.board = ""  # no number of the board: the copy is recognised by nothing else
            if seal:
                switch(top, on=True)
            yield gateway, service, sim


def switch(top: Path, *, on: bool) -> None:
    """The setting, for the next start or reload."""
    path, key = top / "ztpd.toml", "seal_credentials = "
    lines = [line for line in path.read_text().splitlines() if not line.startswith(key)]
    place = lines.index("[ztp]") + 1
    path.write_text("\n".join([*lines[:place], key + str(on).lower(), *lines[place:]]) + "\n")


def loaded(gateway: Gateway) -> Loaded:
    found = CredentialStore(gateway.state_dir, sealer=gateway.sealer).load()
    assert found is not None
    return found


def content(gateway: Gateway) -> str:
    return (gateway.state_dir / CURRENT).read_text()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "ZTPD_EVENT", "") for record in caplog.records]


async def streams(gateway: Gateway, within_s: float = WITHIN_S) -> None:
    await until(lambda: state(gateway) == "streaming", within_s=within_s)


async def test_sealed_credentials_serve_restarts_without_a_call_and_no_file_shows_them(
    tmp_path: Path,
) -> None:
    async with sealing(tmp_path) as (gateway, service, _):
        for _ in range(2):
            async with gateway.running():
                await streams(gateway)

        assert len(service.calls) == 1
        assert loaded(gateway).sealed
        secrets = [each.reveal() for each in loaded(gateway).stored.credentials.secrets()]
        lines = {line for secret in secrets for line in secret.splitlines() if len(line) > 7}
        for path in gateway.state_dir.iterdir():
            text = path.read_text()
            assert [line for line in lines if line in text] == [], path.name


async def test_S20_a_copy_on_another_machine_makes_one_call_for_its_own_identity(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sealing(tmp_path) as (gateway, service, sim):
        async with gateway.running():
            await streams(gateway)
        sim.key = b"of the other machine"
        path = tmp_path / "ztpd.toml"
        path.write_text(path.read_text().replace(f"{tmp_path}/modem", f"{tmp_path}/other-modem"))
        async with SimModem(
            tmp_path / "other-modem", replace(SARA_R5, imei=OTHER_IMEI), scale=0.05
        ):
            for _ in range(2):
                async with gateway.running():
                    await streams(gateway)

        assert [call.hardware_id for call in service.calls] == [SARA_R5.imei, OTHER_IMEI]
        assert loaded(gateway).stored.hardware_id == OTHER_IMEI
    assert said(caplog).count(StoreUnsealable.code) == 1


async def test_S20_a_new_host_key_costs_one_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sealing(tmp_path) as (gateway, service, sim):
        async with gateway.running():
            await streams(gateway)
        sim.key = None
        (gateway.state_dir / SCHEDULE_FILE).unlink()  # of a call that was longer ago than a day
        for _ in range(3):
            async with gateway.running():
                await streams(gateway)

        assert len(service.calls) == 2
        assert loaded(gateway).sealed


@pytest.mark.parametrize("mode", ["silent", "tpm", "lockout", "nonsense"])
def test_S21_a_systemd_in_trouble_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    async def scenario() -> None:
        async with sealing(tmp_path) as (gateway, service, sim):
            async with gateway.running():
                await streams(gateway)
            sim.mode = mode
            async with gateway.running():
                await until(lambda: state(gateway) == "waiting", within_s=WITHIN_S)
                assert gateway.status["reason"]["event"] == SealingFailed.code
                sim.mode = ""
                await streams(gateway, within_s=90)
            assert len(service.calls) == 1

    run(scenario())


def test_S21_after_two_minutes_of_that_it_asks_for_others_and_stores_them_in_clear_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with sealing(tmp_path) as (gateway, service, sim):
            async with gateway.running():
                await streams(gateway)
            sim.mode = "tpm"
            (gateway.state_dir / SCHEDULE_FILE).unlink()
            async with gateway.running():
                took_s = await until(lambda: len(service.calls) == 2, within_s=400)
                assert took_s >= OPEN_WITHIN_S
                await streams(gateway)
                assert "credentials_problem" not in gateway.status
            assert not loaded(gateway).sealed
            async with gateway.running():
                await streams(gateway)
            assert len(service.calls) == 2

    run(scenario())
    assert events.NOT_SEALED.name in said(caplog)


@pytest.mark.parametrize("has_backup", [False, True])
def test_S21_without_a_token_the_credentials_are_used_once_systemd_unseals_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, has_backup: bool
) -> None:
    async def scenario() -> None:
        async with sealing(tmp_path) as (gateway, service, sim):
            async with gateway.running():
                await streams(gateway)
            gateway.token_file.unlink()
            if has_backup:
                found = loaded(gateway).stored.credentials.ntrip
                assert found
                table = f'host = "localhost"\nport = {found.https_port}\nmountpoint = "NEAR-RTCM"'
                table += f'\nca_file = "{gateway.ca_file}"'
                path = tmp_path / "ztpd.toml"
                path.write_text(f"{path.read_text()}\n[[backup]]\n{table}\n")
            sim.mode = "tpm"
            async with gateway.running():
                await asyncio.sleep(OPEN_WITHIN_S + 300)
                assert (state(gateway) == "streaming") is has_backup
                assert "credentials" not in gateway.status
                assert gateway.status["credentials_problem"]["event"] == SealingFailed.code
                seen = status.read(gateway.runtime_dir)
                known = cause(seen)
                assert known
                assert known.event == SealingFailed.code
                word = Health.DEGRADED if has_backup else Health.WAITING
                assert health(seen, is_running=True) is word
                sim.mode = ""
                await until(lambda: "credentials" in gateway.status, within_s=4000)
                assert "credentials_problem" not in gateway.status
                await streams(gateway)
            assert len(service.calls) == 1

    run(scenario())
    assert StoreUnsealable.code not in said(caplog), "it is this machine"


def test_S21_in_a_pause_they_are_listed_and_unsealed_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sealing(tmp_path) as (gateway, service, sim):
            async with gateway.running():
                await streams(gateway)
            sim.mode = "tpm"
            async with gateway.running() as daemon:
                daemon.pauses.begin(Asker.PERSON, "a person")
                await until(lambda: "credentials_problem" in gateway.status, within_s=400)
                seen = status.read(gateway.runtime_dir)
                assert health(seen, is_running=True) is Health.PAUSED
                assert [each.event for each in causes(seen)] == [SealingFailed.code]
                sim.mode = ""
                await until(lambda: "credentials" in gateway.status, within_s=700)
                assert state(gateway) == "paused"
            assert len(service.calls) == 1

    run(scenario())


async def test_where_systemd_is_too_old_it_works_as_ever_and_says_so_once_in_a_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sealing(tmp_path) as (gateway, service, _):
        gateway.sealer = CredentialsService(tmp_path / "none")
        for starts in (1, 2):
            async with gateway.running():
                await streams(gateway)
            assert said(caplog).count(events.NOT_SEALED.name) == starts
        assert len(service.calls) == 1


async def test_the_setting_seals_a_store_at_the_next_start_and_unseals_it_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sealing(tmp_path, seal=False) as (gateway, service, sim):
        async with gateway.running():
            await streams(gateway)
        assert sim.calls == [], "off by default"
        clear = content(gateway)

        switch(tmp_path, on=True)
        async with gateway.running():
            await streams(gateway)
        assert loaded(gateway).sealed
        switch(tmp_path, on=False)
        async with gateway.running():
            await streams(gateway)
        assert content(gateway) == clear
        assert len(service.calls) == 1
