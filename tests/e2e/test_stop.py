"""SIGTERM in each state: the daemon as a process ends soon, in order, and leaves whole files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import process
from tests.support.gateway import Gateway
from tests.support.services import IMEI, services, state
from tests.support.until import until
from ztpd.sim.caster import Caster
from ztpd.sim.ztp_service import Answer, Fault, Silence, ZtpService
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

STOPS_WITHIN_S = 5.0  # P9; the unit kills it after 15


def children(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it has ended
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.add(int(stat.parent.name))
    return found


async def stopped_in(wanted: str, gateway: Gateway, service: ZtpService, caster: Caster) -> None:
    """Bring a daemon into the state ``wanted`` and stop it there."""
    now = asyncio.get_running_loop().time
    caster.fault = "no-answer" if wanted == "connecting" else ""
    calls = wanted in ("provisioning", "refreshing")
    async with process.daemon(gateway) as daemon:
        if wanted in ("paused", "refreshing"):
            await until(lambda: state(gateway) == "streaming")
            order = {
                "paused": {"do": Verb.PAUSE},
                "refreshing": {"do": Verb.PROVISION, "force": True},
            }
            assert (await offload(control.ask, gateway.runtime_dir, order[wanted]))["ok"]
        await until(lambda: state(gateway) == wanted)
        if calls:
            await until(lambda: not service.script)
        helpers = children(daemon.pid)
        assert bool(helpers) == calls, "a call has a process of its own"
        began_s = now()

    assert now() - began_s < STOPS_WITHIN_S
    assert daemon.exit_status == 0
    assert state(gateway) == "stopping"
    assert not (gateway.runtime_dir / control.SOCKET_NAME).exists()
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in helpers), 2)
    for name in gateway.files():
        assert not name.startswith("."), "a file that was begun"
        assert not name.endswith(".new"), "a file that was begun"
        json.loads((gateway.state_dir / name).read_text())


@asynccontextmanager
async def site(wanted: str, top: Path) -> AsyncIterator[tuple[Gateway, ZtpService, Caster]]:
    settings: dict[str, Any] = {"identity": {"source": "fixed", "hardware_id": IMEI}}
    if wanted == "identifying":
        settings["identity"] = {"port": top / "no-modem"}
    faults: dict[str, tuple[Fault, ...]] = {
        "waiting": (Answer(503),),
        "provisioning": (Silence(),),
        "refreshing": (Silence(),),
    }
    script = faults.get(wanted, ())
    async with services(top, script=script, **settings) as (gateway, service, caster):
        if wanted == "blocked":
            gateway.token_file.unlink()
        if wanted == "refreshing":
            process.store_credentials(gateway, caster.port)
        yield gateway, service, caster


async def test_P9_D03_a_stop_in_the_middle_of_a_call_leaves_no_process(tmp_path: Path) -> None:
    async with site("provisioning", tmp_path) as (gateway, service, caster):
        await stopped_in("provisioning", gateway, service, caster)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted",
    ["identifying", "waiting", "blocked", "connecting", "streaming", "refreshing", "paused"],
)
async def test_P9_D03_a_stop_is_quick_and_leaves_whole_files(tmp_path: Path, wanted: str) -> None:
    async with site(wanted, tmp_path) as (gateway, service, caster):
        await stopped_in(wanted, gateway, service, caster)
