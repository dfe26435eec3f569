"""An ordinary user beside the daemon, whose files are closed to others (UMask=0077)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.services import corrections
from tests.support.until import until
from ztpd import status
from ztpd.health import Health, health
from ztpd.sim.caster import Caster
from ztpd.system.offload import offload

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")

AS_NOBODY = """
import os, sys
import encodings.idna, encodings.utf_8_sig
from ztpd.cli.arguments import parser
from ztpd.cli.main import main
from ztpd import receiver
from ztpd.cli import recent
from ztpd.provisioning import call, provisioner, store
parser()  # has everything imported that only root may read here
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def top() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def strict_umask(top: Path) -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@asynccontextmanager
async def site(top: Path) -> AsyncIterator[Gateway]:
    """A streaming gateway."""
    gateway = Gateway(top)
    gateway.runtime_dir.chmod(0o755)  # RuntimeDirectoryMode=0755 does not follow the umask
    async with Caster({"NEAR": corrections}) as server, gateway.receiver():
        gateway.configure(
            ntrip={"host": "127.0.0.1", "port": server.port, "mountpoint": "NEAR", "tls": False}
        ).chmod(0o644)
        async with gateway.running():
            await until(
                lambda: health(status.read(gateway.runtime_dir), is_running=True) is Health.HEALTHY
            )
            yield gateway


async def ztpd(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {
        "STATE_DIRECTORY": str(gateway.state_dir),
        "RUNTIME_DIRECTORY": str(gateway.runtime_dir),
    }
    command = [sys.executable, "-c", AS_NOBODY, *words]
    return await offload(
        lambda: subprocess.run(
            [*command, "--config", str(gateway.top / "ztpd.toml")],
            capture_output=True,
            text=True,
            check=False,
            env=environ,
        )
    )


async def test_FR60_an_ordinary_user_sees_a_healthy_daemon(top: Path, strict_umask: None) -> None:
    async with site(top) as gateway:
        assert (gateway.runtime_dir / "lock").stat().st_mode & 0o077 == 0
        screen, document = await ztpd(gateway, "status"), await ztpd(gateway, "status", "--json")
        monitor = await ztpd(gateway, "receiver", "monitor", "--once")

    assert (screen.returncode, document.returncode) == (0, 0), screen.stderr
    assert "healthy: the receiver uses the corrections" in screen.stdout
    assert json.loads(document.stdout)["running"] is True
    assert monitor.returncode == 0
    assert "ZED-F9P" in monitor.stdout


async def test_an_ordinary_user_who_watches_is_told_who_sees_the_last_ten_minutes(
    top: Path, strict_umask: None
) -> None:
    async with site(top) as gateway:
        environ = os.environ | {"RUNTIME_DIRECTORY": str(gateway.runtime_dir)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", AS_NOBODY, "status", "--watch"),
            env=environ,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        text = await process.stdout.readuntil(b"status --watch`\n")
        process.send_signal(signal.SIGINT)
        await process.communicate()

    assert b"healthy: the receiver uses the corrections" in text
    assert b"\n last 10 min  root sees it: `sudo ztpd status --watch`\n" in text


async def test_FR60_an_ordinary_user_is_shown_the_missing_permission(
    top: Path, strict_umask: None
) -> None:
    async with site(top) as gateway:
        for words in (["retry"], ["pause"], ["resume"], ["provision"], ["receiver", "show"]):
            done = await ztpd(gateway, *words)
            assert done.returncode == 77, (words, done.stdout, done.stderr)
            assert "not running" not in done.stdout + done.stderr
            assert "with sudo" in done.stderr


async def test_FR60_a_runtime_directory_that_is_closed_is_not_a_daemon_that_is_down(
    top: Path, strict_umask: None
) -> None:
    async with site(top) as gateway:
        gateway.runtime_dir.chmod(0o700)
        done = await ztpd(gateway, "status")

    assert done.returncode == 77, done.stdout
    assert "whether ztpd runs is unknown" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("caster", "changed", "status_word", "exit_status", "event"),
    [
        ({}, {"mountpoint": "FAR"}, "blocked", 1, "ntrip.mountpoint"),
        ({}, {"port": 1}, "waiting", 2, "net.refused"),
        ({"fault": "silent"}, {}, "waiting", 2, "session.stale"),
    ],
    ids=["blocked", "waiting", "trying"],
)
async def test_FR60_an_ordinary_user_sees_every_state_and_its_reason(
    top: Path,
    strict_umask: None,
    caster: dict[str, Any],
    changed: dict[str, Any],
    status_word: str,
    exit_status: int,
    event: str,
) -> None:
    gateway = Gateway(top)
    gateway.runtime_dir.chmod(0o755)
    async with Caster({"NEAR": corrections}, **caster) as server, gateway.receiver():
        ntrip = {"host": "127.0.0.1", "port": server.port, "mountpoint": "NEAR", "tls": False}
        gateway.configure(ntrip=ntrip | changed, corrections={"stale_after_s": 6}).chmod(0o644)
        async with gateway.running():
            await until(lambda: "last_failure" in gateway.status)
            for moment in range(2):
                screen, document = (
                    await ztpd(gateway, "status"),
                    await ztpd(gateway, "status", "--json"),
                )
                assert (screen.returncode, document.returncode) == (exit_status, exit_status)
                assert f": {status_word}: " in screen.stdout, moment
                shown = json.loads(document.stdout)
                assert (shown["running"], shown["health"]) == (True, status_word)
                assert shown["last_failure"]["event"] == event
                assert shown["last_failure"]["text"] in screen.stdout
            found = await ztpd(gateway, "check")

    assert found.returncode == 1
    assert "with sudo" in found.stdout
    assert "OK           daemon         runs as process" in found.stdout


@pytest.mark.slow
async def test_FR69_with_a_stopped_daemon_the_status_has_its_age(
    top: Path, strict_umask: None
) -> None:
    """SIGSTOP on a process of its own; root asks, and then reads the file."""
    gateway = Gateway(top)
    environ = os.environ | {
        "STATE_DIRECTORY": str(gateway.state_dir),
        "RUNTIME_DIRECTORY": str(gateway.runtime_dir),
    }
    async with Caster({"NEAR": corrections}) as server, gateway.receiver():
        path = gateway.configure(
            ntrip={"host": "127.0.0.1", "port": server.port, "mountpoint": "NEAR", "tls": False}
        )
        verb = [sys.executable, "-m", "ztpd", "--config", str(path)]
        daemon = subprocess.Popen([*verb, "run"], env=environ, stderr=subprocess.DEVNULL)
        try:
            await until(lambda: gateway.status.get("receiver", {}).get("use") == "used", 30)
            daemon.send_signal(signal.SIGSTOP)
            reported = gateway.status["at"]
            await until(lambda: age_s(reported) > 21, within_s=40)
            done = await offload(
                lambda: subprocess.run(
                    [*verb, "status"], env=environ, capture_output=True, text=True, check=False
                )
            )
        finally:
            daemon.kill()
            daemon.wait()

    assert done.returncode == 2
    assert "unknown: the daemon has not renewed its status for 2" in done.stdout


def age_s(at: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
