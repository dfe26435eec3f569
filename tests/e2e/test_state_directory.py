"""The state directory: its file system, and a wrong mode in the middle of a call."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support import TOP
from tests.support.services import IMEI, services, state
from tests.support.until import until
from tests.support.virtualtime import run
from ztpd.errors import StoreUnsafe
from ztpd.lifecycle import Event
from ztpd.model import StoredCredentials
from ztpd.provisioning.pacing import SCHEDULE_FILE
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.portal import Profile
from ztpd.sim.ztp_service import Drip
from ztpd.system.files import read_json
from ztpd.system.mounts import lost_at_power_off

IN_MEMORY = Path("/dev/shm")


def first_lines(state_dir: Path, directory: Path) -> str:
    """The journal of a daemon that is stopped as soon as it waits for its token."""
    config = directory / "ztpd.toml"
    config.write_text(
        '[identity]\nsource = "fixed"\nhardware_id = "gw-1"\n'
        f'[ztp]\ntoken_file = "{directory}/none"\nsplay_s = 0\n'
        f'[receiver]\nport = "{directory}/receiver"\n'
    )
    environ = os.environ | {
        "STATE_DIRECTORY": str(state_dir),
        "RUNTIME_DIRECTORY": str(directory / "run"),
        "PYTHONPATH": str(TOP),
    }
    command = [sys.executable, "-m", "ztpd", "run", "--config", str(config)]
    lines = ""
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        for line in daemon.stderr:
            lines += line
            if "token" in line:
                break
        daemon.terminate()
    return lines


@pytest.mark.skipif(not lost_at_power_off(IN_MEMORY), reason=f"{IN_MEMORY} is not in memory here")
def test_FR42_state_in_memory_is_named_once(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as state:
        lines = first_lines(Path(state), tmp_path)
    assert lines.count("lies on tmpfs: the credentials are lost at power off") == 1


@pytest.mark.skipif(bool(lost_at_power_off(Path("/var/tmp"))), reason="/var/tmp is in memory here")
def test_FR42_of_state_on_a_disk_nothing_is_said() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        lines = first_lines(Path(directory) / "state", Path(directory))
    assert "lost at power off" not in lines


def note_of(stored: StoredCredentials | None) -> object:
    return stored.credentials.answer.get("note") if stored else None


@pytest.mark.parametrize("cause", ["refused", "close to their end"])
def test_S10_an_answer_that_the_directory_does_not_take_replaces_the_credentials_in_use(
    tmp_path: Path, cause: str
) -> None:
    async def scenario() -> None:
        async with services(tmp_path, profile=Profile(protocol="both")) as (gateway, service, _):
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming")
            (gateway.state_dir / SCHEDULE_FILE).write_text("{}")  # the last call was long ago
            service.portal.things[IMEI].credentials["note"] = "other ones"
            store = CredentialStore(gateway.state_dir)
            if cause != "refused":
                loaded = store.load()
                assert loaded
                store.save(loaded.stored._replace(expires_unix_s=int(time.time()) + 86_400))
            async with gateway.running() as daemon:
                await until(lambda: state(gateway) == "streaming")
                gateway.state_dir.chmod(0o755)
                if cause == "refused":
                    daemon.dispatch(Event.REFUSED)
                await until(lambda: len(service.calls) == 2, 600)
                await until(lambda: note_of(daemon.stored) == "other ones", 60)
                await until(lambda: state(gateway) == "streaming")
                assert gateway.status["credentials"]["unsaved"]
                gateway.state_dir.chmod(0o700)
                await until(lambda: not gateway.status["credentials"]["unsaved"], 2 * 3600)
                loaded = store.load()
                assert loaded
                assert note_of(loaded.stored) == "other ones"
            assert len(service.calls) == 2

    run(scenario())


def test_S10_an_answer_that_the_directory_takes_late_is_the_answer_of_its_call(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with services(tmp_path, script=(Drip(0.002),)) as (gateway, service, _):
            async with gateway.running():
                await until(lambda: service.requests == 1)
                gateway.state_dir.chmod(0o755)
                await until(lambda: gateway.status["reason"]["event"] == StoreUnsafe.code, 60)
                assert not read_json(gateway.state_dir / SCHEDULE_FILE)["succeeded"]
                gateway.state_dir.chmod(0o700)
                await until(lambda: state(gateway) == "streaming", within_s=2 * 3600)
                noted = read_json(gateway.state_dir / SCHEDULE_FILE)
                assert (noted["succeeded"], noted["wait_s"], noted["steps"]) == (True, 0, {})
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", within_s=60)
            assert service.requests == len(service.calls) == 1

    run(scenario())
