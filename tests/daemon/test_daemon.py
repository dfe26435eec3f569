"""The daemon's own duties: one activity at a time, staying up, stopping, telling systemd."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import virtualtime
from tests.support.gateway import Gateway
from tests.support.services import services
from tests.support.until import until
from ztpd import config
from ztpd.daemon import requests
from ztpd.daemon.pauses import Asker
from ztpd.errors import ConfigError
from ztpd.lifecycle import Event, State
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    gateway = Gateway(tmp_path)
    gateway.configure(identity={"source": "fixed", "hardware_id": "gw-1"})
    gateway.token_file.unlink()  # so it is blocked, and makes no call
    with (tmp_path / "ztpd.toml").open("a") as file:
        file.write(f'[ztp]\ntoken_file = "{gateway.token_file}"\nsplay_s = 0\n')
    return gateway


def state(gateway: Gateway) -> str:
    return str(gateway.status.get("state"))


async def test_D03_a_stop_is_clean_and_quick(gateway: Gateway) -> None:
    loop = asyncio.get_running_loop()
    async with gateway.running():
        await until(lambda: state(gateway) == "blocked")
        stopping_s = loop.time()

    assert loop.time() - stopping_s < 5
    assert state(gateway) == "stopping"
    assert not (gateway.runtime_dir / control.SOCKET_NAME).exists()


async def test_D03_a_stop_before_anything_began_is_clean(gateway: Gateway) -> None:
    async with gateway.running():
        await asyncio.sleep(0)


async def test_D05_a_second_stop_changes_nothing(gateway: Gateway) -> None:
    async with gateway.running() as daemon:
        await until(lambda: state(gateway) == "blocked")
        daemon.stop()
        daemon.stop()


async def test_many_restarts_at_once_leave_one_activity(gateway: Gateway) -> None:
    async with gateway.running() as daemon:
        await until(lambda: state(gateway) == "blocked")
        before = len(asyncio.all_tasks())
        for _ in range(20):
            daemon.dispatch(Event.RESTART)
        await until(lambda: state(gateway) == "blocked")
        await asyncio.sleep(0.2)

        assert len(asyncio.all_tasks()) <= before


async def test_retry_ends_a_wait(gateway: Gateway) -> None:
    async with gateway.running():
        await until(lambda: state(gateway) == "blocked")
        since = gateway.status["since"]
        await asyncio.sleep(1.1)
        answer = await offload(lambda: control.ask(gateway.runtime_dir, {"do": Verb.RETRY}))
        await until(lambda: state(gateway) == "blocked" and gateway.status["since"] != since)

    assert answer["ok"]


def test_a_retry_needs_no_patience_where_the_configuration_names_the_service(
    tmp_path: Path,
) -> None:
    """A moment after a provisioning call, which this retry does not lead to."""

    async def scenario() -> Any:
        own = {"host": "localhost", "port": 1, "mountpoint": "NEAR"}
        async with services(tmp_path) as (gateway, _, _):
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", within_s=60)
            gateway.configure(ntrip=own)
            async with gateway.running() as daemon:
                await until(lambda: state(gateway) == "waiting", within_s=60)
                return await requests.answer(daemon, {"do": Verb.RETRY})

    assert virtualtime.run(scenario())["ok"]


def test_a_retry_says_no_outage_over_while_a_file_is_still_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With stored credentials, which a retry loads again."""
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        own = {"username": "me", "password_file": tmp_path / "password"}
        async with services(tmp_path) as (gateway, service, _):
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", within_s=60)
            gateway.configure(ntrip=own | {"ca_file": gateway.ca_file})
            async with gateway.running() as daemon:
                for _ in range(2):
                    await until(lambda: state(gateway) == "blocked", within_s=60)
                    await asyncio.sleep(30)
                    daemon.try_now("a person asks")
            assert len(service.calls) == 1

    virtualtime.run(scenario())

    said = [getattr(record, "ZTPD_EVENT", "") for record in caplog.records]
    assert "config.file" in said
    assert "log.outage_over" not in said


@pytest.mark.parametrize("order", ["pause", "stop"])
def test_an_error_of_the_receiver_in_the_same_instant_as_an_order_changes_nothing(
    tmp_path: Path, order: str
) -> None:
    """A session waits for the receiver, and has not ended yet when the receiver's error comes."""

    async def scenario() -> None:
        gateway = Gateway(tmp_path)
        caster = {"host": "127.0.0.1", "port": 9, "mountpoint": "MP", "tls": False}
        gateway.configure(ntrip=caster)
        async with gateway.running() as daemon:
            await until(lambda: state(gateway) in ("waiting", "blocked"))
            if order == "pause":
                daemon.pauses.begin(Asker.PERSON, "a person")
            else:
                daemon.stop()
            daemon.receiver._hooks.on_change()
            assert state(gateway) == {"pause": "paused", "stop": "stopping"}[order]

    virtualtime.run(scenario())


async def test_an_unknown_request_is_answered(gateway: Gateway) -> None:
    async with gateway.running():
        await until(lambda: state(gateway) == "blocked")
        answer = await offload(lambda: control.ask(gateway.runtime_dir, {"do": "fly"}))

    assert answer == {"ok": False, "error": "unknown request 'fly'"}


@pytest.fixture
def said(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Gives what systemd was told since the call before."""
    pytest.importorskip("systemd.daemon", reason="systemd-python is not installed")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(gateway.top / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(gateway.top / "notify"))

        def received() -> Iterator[str]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    yield systemd.recv(4096).decode()

        yield lambda: list(received())


async def test_systemd_is_notified_of_ready_status_and_stopping(
    gateway: Gateway, said: Callable[[], list[str]]
) -> None:
    async with gateway.running():
        await until(lambda: state(gateway) == "blocked")
    told = said()

    assert told[0] == "READY=1"
    assert "WATCHDOG=1" in told
    assert any(line.startswith("STATUS=blocked: there is no ZTP token") for line in told)
    assert "STOPPING=1" in told


@pytest.mark.parametrize("error", [ConfigError("wrong"), RuntimeError("a bug")])
async def test_D06_a_reload_that_fails_in_any_way_has_an_end_for_systemd(
    gateway: Gateway,
    said: Callable[[], list[str]],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def fail() -> config.LoadedConfig:
        raise error

    async with gateway.running(reload=fail):
        await until(lambda: state(gateway) == "blocked")
        said()
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: str(error) in caplog.text)
        told = said()
    assert told[0].startswith("RELOADING=1")
    assert "READY=1" in told


async def test_D12_a_notify_socket_that_is_not_there_does_no_harm(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(gateway.top / "gone"))
    async with gateway.running():
        await until(lambda: state(gateway) == "blocked")


async def test_an_unexpected_exception_is_logged_and_survived(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    (gateway.state_dir / "credentials.json").mkdir()
    async with gateway.running():
        await until(lambda: state(gateway) in ("blocked", "waiting"))


def test_the_errors_of_a_configuration_keep_the_daemon_from_starting(gateway: Gateway) -> None:
    gateway.configure(receiver={"port": 7})

    async def start() -> None:
        async with gateway.running():
            pass

    with pytest.raises(ConfigError, match=r"receiver\.port"):
        asyncio.run(start())


async def test_FR119_without_a_usable_runtime_directory_the_daemon_stays_up(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Directories in the places of lock and socket fail as missing inodes do."""
    for name in ("lock", control.SOCKET_NAME):
        (gateway.runtime_dir / name).mkdir()
    async with gateway.running() as daemon:
        await until(lambda: daemon.present.state is State.BLOCKED)
        await until(lambda: state(gateway) == "blocked")
    said = [getattr(record, "ZTPD_EVENT", "") for record in caplog.records]
    assert "runtime.unusable" in said
    assert "task.died" not in said


def test_FR119_the_control_socket_is_made_as_soon_as_it_can_be(gateway: Gateway) -> None:
    async def scenario() -> None:
        in_the_way = gateway.runtime_dir / control.SOCKET_NAME
        in_the_way.mkdir()
        async with gateway.running():
            await until(lambda: state(gateway) == "blocked")
            in_the_way.rmdir()
            await until(in_the_way.is_socket, within_s=15)
            assert (await offload(control.ask, gateway.runtime_dir, {"do": Verb.STATUS}))["ok"]

    virtualtime.run(scenario())


@pytest.mark.parametrize(
    "line", [b"[" * 60_000 + b"\n", b'{"do": {"a": 1}}\n', b'{"do": "status"', b"9" * 5000 + b"\n"]
)
async def test_FR119_an_odd_request_costs_no_more_than_its_answer(
    gateway: Gateway, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway.running():
        await until(lambda: state(gateway) == "blocked")
        path = gateway.runtime_dir / control.SOCKET_NAME
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        writer.write_eof()
        assert b'"ok": false' in await reader.read()
        writer.close()
        assert (await offload(control.ask, gateway.runtime_dir, {"do": Verb.STATUS}))["ok"]
    assert "task.died" not in [getattr(each, "ZTPD_EVENT", "") for each in caplog.records]
