"""Credentials that came with a card from another board: the real daemon, from its start."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.services import IMEI, reason, services, state
from tests.support.until import until
from ztpd import events
from ztpd.model import StoredCredentials
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.modem import SARA_R5, SimModem

WITHIN_S = 10.0
OTHER_IMEI = "356938035643809"


def stored(gateway: Gateway) -> StoredCredentials:
    loaded = CredentialStore(gateway.state_dir).load()
    assert loaded is not None
    return loaded.stored


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "ZTPD_EVENT", "") for record in caplog.records]


@pytest.mark.slow
async def test_FR40_S19_on_another_board_with_the_same_modem_it_streams_within_seconds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with services(tmp_path) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        before, gateway.board = stored(gateway), "board-2"
        for _ in range(2):
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", within_s=WITHIN_S)

        assert len(service.calls) == 1
        assert stored(gateway) == before._replace(board="board-2")
    assert said(caplog).count(events.BOARD_CHANGED.name) == 1, "it is at home there from then on"
    assert events.TASK_DIED.name not in said(caplog)


async def test_FR40_S19_a_copied_card_makes_one_call_for_its_own_identity(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with services(tmp_path) as (gateway, service, caster):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        gateway.board = "board-2"
        path = tmp_path / "ztpd.toml"
        path.write_text(path.read_text().replace(f"{tmp_path}/modem", f"{tmp_path}/other-modem"))
        sessions = caster.sessions
        other = replace(SARA_R5, imei=OTHER_IMEI)
        async with SimModem(tmp_path / "other-modem", other, scale=0.05):
            async with gateway.running():
                await until(lambda: len(service.calls) == 2, within_s=WITHIN_S)
                assert caster.sessions == sessions, "no session with another gateway's credentials"
                await until(lambda: state(gateway) == "streaming", within_s=WITHIN_S)
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", within_s=WITHIN_S)

        assert [call.hardware_id for call in service.calls] == [IMEI, OTHER_IMEI]
        assert (stored(gateway).hardware_id, stored(gateway).board) == (OTHER_IMEI, "board-2")
    assert events.TASK_DIED.name not in said(caplog)


@pytest.mark.parametrize(("stored_on", "now_on"), [("board-1", ""), ("", "board-1")])
async def test_FR40_where_the_board_number_cannot_be_read_it_streams_without_a_modem(
    tmp_path: Path, stored_on: str, now_on: str
) -> None:
    async with services(tmp_path) as (gateway, service, _):
        gateway.board = stored_on
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        gateway.board = now_on
        (tmp_path / "modem").unlink()
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming", within_s=WITHIN_S)

        assert len(service.calls) == 1
        assert stored(gateway).board == stored_on


@pytest.mark.slow
async def test_FR40_on_another_board_without_a_modem_it_reports_the_modem_and_goes_on_with_it(
    tmp_path: Path,
) -> None:
    async with services(tmp_path, identity={"timeout_s": 5}) as (gateway, service, caster):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        gateway.board, sessions = "board-2", caster.sessions
        modem = tmp_path / "modem"
        modem.rename(tmp_path / "unplugged")
        async with gateway.running() as daemon:
            await until(lambda: state(gateway) == "waiting", within_s=WITHIN_S)
            assert reason(gateway) == "modem.absent"
            daemon.try_now("asked to try again now")
            await until(lambda: state(gateway) == "identifying", within_s=WITHIN_S)
            await asyncio.sleep(0.5)
            assert caster.sessions == sessions
            (tmp_path / "unplugged").rename(modem)
            await until(lambda: state(gateway) == "streaming", within_s=2 * WITHIN_S)

        assert len(service.calls) == 1
