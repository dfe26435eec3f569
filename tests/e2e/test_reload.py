"""SIGHUP: a changed configuration comes into force, and unrelated sessions go on."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.until import until
from ztpd.sim.caster import Caster
from ztpd.wire.frames import rtcm_frame


async def corrections() -> AsyncIterator[bytes]:
    while True:
        yield rtcm_frame(bytes([1077 >> 4, (1077 & 15) << 4, 0, 0]) + bytes(60))
        await asyncio.sleep(0.1)


class ReloadBench:
    """A gateway that streams from a caster of its own; no provisioning is needed."""

    def __init__(self, gateway: Gateway, caster: Caster) -> None:
        self.gateway, self.caster = gateway, caster
        self.tables: dict[str, dict[str, Any]] = {
            "receiver": {"port": gateway.gnss.path, "baudrate": 921_600},
            "ntrip": {
                "host": "localhost",
                "port": caster.port,
                "mountpoint": "NEAR-RTCM",
                "tls": False,
            },
        }

    def write(self, **changes: dict[str, Any]) -> None:
        tables = {name: dict(table) for name, table in self.tables.items()}
        for name, change in changes.items():
            tables.setdefault(name, {}).update(change)
        self.gateway.configure(**tables)

    async def hup(self, reported: list[str]) -> None:
        """Send the signal to this process, and wait until the daemon has logged the result."""
        before = len(reported)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(reported) > before)


@asynccontextmanager
async def streaming(top: Path) -> AsyncIterator[ReloadBench]:
    gateway = Gateway(top)
    async with Caster({"NEAR-RTCM": corrections}) as caster, gateway.receiver(speed=5.0):
        bench = ReloadBench(gateway, caster)
        bench.write()
        async with gateway.running():
            await until(lambda: gateway.status.get("state") == "streaming")
            yield bench


@pytest.fixture
def reported(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Names of the events about the configuration, as they are logged."""
    names: list[str] = []

    def note(record: Any) -> bool:
        name = str(getattr(record, "ZTPD_EVENT", ""))
        if name.startswith("config."):
            names.append(name)
        return True

    caplog.handler.addFilter(note)
    return names


async def test_D07_a_reload_that_changes_nothing_disturbs_nothing(
    tmp_path: Path, reported: list[str]
) -> None:
    async with streaming(tmp_path) as bench:
        await bench.hup(reported)
        await asyncio.sleep(0.3)

        assert reported == ["config.reloaded"]
        assert bench.gateway.status["state"] == "streaming"
    assert bench.caster.connections == 1


@pytest.mark.parametrize(
    "change",
    [
        {"ztp": {"tags": ["site-7"]}},
        {"identity": {"source": "fixed", "hardware_id": "gw-1"}},
        {"log": {"level": "debug"}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_session_is_kept_where_the_change_does_not_concern_it(
    tmp_path: Path, reported: list[str], change: dict[str, dict[str, Any]]
) -> None:
    async with streaming(tmp_path) as bench:
        bench.write(**change)
        await bench.hup(reported)
        await asyncio.sleep(0.3)

        assert bench.gateway.status["state"] == "streaming"
        assert bench.gateway.status["receiver"]["ready"]
    assert bench.caster.connections == 1


async def test_a_changed_source_is_used_at_once(tmp_path: Path, reported: list[str]) -> None:
    async with streaming(tmp_path) as bench:
        bench.write(ntrip={"gga_interval_s": 5})
        await bench.hup(reported)
        await until(lambda: bench.caster.connections == 2)
        await until(lambda: bench.gateway.status["state"] == "streaming")


async def test_a_changed_receiver_is_opened_again(tmp_path: Path, reported: list[str]) -> None:
    async with streaming(tmp_path) as bench:
        other = tmp_path / "by-another-name"
        other.symlink_to(bench.gateway.gnss.path)
        bench.write(receiver={"port": other})
        await bench.hup(reported)
        await until(lambda: bench.gateway.status["receiver"]["port"] == str(other))
        await until(lambda: bench.gateway.status["receiver"]["ready"])
        await until(lambda: bench.gateway.status["state"] == "streaming")


async def test_after_a_reload_of_the_shared_output_corrections_go_to_the_receiver(
    tmp_path: Path, reported: list[str]
) -> None:
    async with streaming(tmp_path) as bench:
        bench.write(output={"pty": tmp_path / "shared"})
        await bench.hup(reported)
        await until(lambda: bench.gateway.status["receiver"]["ready"])
        await until(lambda: bench.gateway.status["receiver"]["use"] == "used", within_s=30)
        assert bench.gateway.status["receiver"]["delivered_frames"] > 0


async def test_D06_a_broken_file_changes_nothing_and_the_status_says_so(
    tmp_path: Path, reported: list[str]
) -> None:
    async with streaming(tmp_path) as bench:
        path = tmp_path / "ztpd.toml"
        good = path.read_text()
        path.write_text(good + "[ntrip]\n")
        await bench.hup(reported)
        await until(lambda: "config_problem" in bench.gateway.status)

        assert reported == ["config.reload_failed"]
        assert bench.gateway.status["state"] == "streaming"
        assert str(path) in bench.gateway.status["config_problem"]["text"]
        path.write_text(good)
        await bench.hup(reported)
        await until(lambda: "config_problem" not in bench.gateway.status)
    assert bench.caster.connections == 1


@pytest.mark.timeout(30)
@pytest.mark.parametrize("setting", ["", "password_file"])
async def test_D06_a_fifo_in_the_place_of_a_file_stops_no_daemon(
    tmp_path: Path, reported: list[str], setting: str
) -> None:
    """As a drop-in, and where a setting names it: the event loop would wait for its writer."""
    fifo = tmp_path / ("ztpd.toml.d/50-site.toml" if not setting else "password")
    fifo.parent.mkdir(exist_ok=True)
    async with streaming(tmp_path) as bench:
        os.mkfifo(fifo)
        if setting:
            bench.write(ntrip={"username": "u", "password_file": fifo})
        await bench.hup(reported)
        await until(lambda: "is not a regular file" in str(bench.gateway.status))

        expected = "config.reloaded" if setting else "config.reload_failed"
        assert reported[0] == expected
        assert bench.gateway.status["state"] == ("blocked" if setting else "streaming")


async def test_a_password_file_that_others_may_read_is_named_and_used(
    tmp_path: Path, reported: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    password = tmp_path / "password"
    password.write_text("secret of a caster")
    password.chmod(0o644)
    async with streaming(tmp_path) as bench:
        bench.write(ntrip={"username": "u", "password_file": password})
        await bench.hup(reported)
        await until(lambda: bench.caster.connections == 2)
        await until(lambda: bench.gateway.status["state"] == "streaming")
        assert reported == ["config.reloaded", "config.file_exposed"]
        (line,) = (text for text in caplog.messages if " has mode " in text)
        assert line.startswith(f"ntrip.password_file = {password} has mode 0644: ")
        assert "`chmod 600`" in line

        password.chmod(0o600)
        reported.clear()
        await bench.hup(reported)
        assert reported == ["config.reloaded"]


async def test_FR116_receivers_that_reloads_have_replaced_are_freed(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    async with Caster({"NEAR-RTCM": corrections}) as caster, gateway.receiver(speed=5.0):
        bench = ReloadBench(gateway, caster)
        bench.write()
        async with gateway.running() as daemon:
            await until(lambda: gateway.status.get("state") == "streaming")
            replaced = []
            for number in range(8):
                replaced.append(weakref.ref(daemon.receiver))
                bench.write(corrections={"queue_bytes": 20_000 + number})
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: daemon.receiver is not replaced[-1]())
            await until(lambda: gateway.status["receiver"]["ready"])
            gc.collect()
            assert [ref() for ref in replaced] == [None] * 8
