"""The whole daemon beside casters that refuse, misbehave, or serve badly for a while."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import virtualtime
from tests.support.gateway import Gateway
from tests.support.services import reason, state
from tests.support.until import until
from ztpd.sim.caster import Caster
from ztpd.sim.receiver import SimReceiver
from ztpd.system.tasks import end
from ztpd.wire.frames import rtcm_frame

PASSWORD = "geheim-0815"


async def frames() -> AsyncIterator[bytes]:
    while True:
        yield rtcm_frame(bytes([1077 >> 4, (1077 & 15) << 4]) + bytes(60))
        await asyncio.sleep(1)


@asynccontextmanager
async def private_caster(tmp_path: Path, fault: str = "") -> AsyncIterator[tuple[Gateway, Caster]]:
    """A gateway without ZTP, and the caster of that fault that its configuration names."""
    gateway = Gateway(tmp_path)
    tls = gateway.authority.server_context()
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text(PASSWORD)
    async with Caster({"NEAR": frames}, tls=tls, fault=fault, needs_gga=True) as caster:
        account = {"username": "me", "password_file": tmp_path / "password"}
        where = {"host": "localhost", "port": caster.port, "mountpoint": "NEAR"}
        gateway.configure(ntrip=where | account | {"ca_file": gateway.ca_file})
        yield gateway, caster


@asynccontextmanager
async def running(tmp_path: Path, fault: str = "") -> AsyncIterator[tuple[Gateway, Caster]]:
    """The daemon of that gateway, with a receiver."""
    async with (
        private_caster(tmp_path, fault) as (gateway, caster),
        gateway.receiver(),
        gateway.running(),
    ):
        yield gateway, caster


def reported(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = gateway.status.get("reason", {})
    return found


def named(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    """The journal's lines of ``event``."""
    records = (record for record in caplog.records if record.levelno >= logging.INFO)
    return [each.getMessage() for each in records if each.__dict__.get("ZTPD_EVENT") == event]


@pytest.mark.parametrize(
    ("fault", "event", "words"),
    [
        pytest.param("empty", "session.empty", "before any corrections came", id="FR26-empty"),
        pytest.param("outside", "session.empty", "No station within 50 km", id="FR26-words"),
        pytest.param("unauthorized", "ntrip.account_refused", "401", id="FR31-account"),
        pytest.param("digest", "ntrip.authentication", "Digest", id="FR31-digest"),
        pytest.param("redirect", "ntrip.redirect", "http://other.example:2101", id="FR31-redirect"),
        pytest.param("sourcetable", "ntrip.table_instead", "NEAR", id="FR29-table"),
        pytest.param("no-table", "ntrip.mountpoint", "NO SOURCETABLE AVAILABLE", id="FR30"),
        pytest.param("cmr", "session.unreadable", "but CMR", id="FR27"),
        pytest.param("ubx", "session.unreadable", "but UBX", id="FR27-ubx"),
    ],
)
def test_FR26_FR27_FR29_FR30_FR31_the_status_names_the_cause(
    fault: str, event: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with running(tmp_path, fault) as (gateway, _):
            await until(lambda: reason(gateway) == event, within_s=60)
            assert words in reported(gateway)["text"]
            assert "portal" not in reported(gateway)["advice"]

    caplog.set_level(logging.INFO)
    virtualtime.run(scenario())
    assert named(caplog, event)
    assert named(caplog, "session.kicked") == []
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        "version-1-400",
        "version-1-reset",
        "no-accept",
        "no-version",
        "gp-only",
        "loose-head",
        "raw-chunks",
    ],
)
def test_FR25_FR28_FR30_FR31_particular_casters_serve_the_daemon(
    fault: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with running(tmp_path, fault) as (gateway, _):
            await until(lambda: state(gateway) == "streaming", within_s=60)

    virtualtime.run(scenario())


@pytest.mark.slow
def test_FR23_half_a_minute_of_refusals_after_good_service_is_bridged(tmp_path: Path) -> None:
    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        async with running(tmp_path) as (gateway, caster):
            await until(lambda: state(gateway) == "streaming", within_s=60)
            await asyncio.sleep(65)
            caster.fault = "unauthorized"
            caster.end_sessions()
            await asyncio.sleep(25)
            assert state(gateway) != "blocked"
            caster.fault, well_s = "", now()
            sessions = caster.sessions
            await until(lambda: caster.sessions > sessions, within_s=60)
            assert now() - well_s < 25
            await until(lambda: state(gateway) == "streaming")

    virtualtime.run(scenario())


@pytest.mark.parametrize("fault", ["silent", "empty"])
def test_FR114_a_caster_one_of_whose_addresses_answers_and_does_not_serve_is_reached(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = socket.getaddrinfo

    def resolver(host: str, *given: Any) -> list[Any]:
        hosts = ["127.0.0.2", "127.0.0.1"] if host == "caster.example" else [host]
        return [entry for each in hosts for entry in ask(each, *given)]

    async def scenario() -> None:
        gateway = Gateway(tmp_path)
        tls = gateway.authority.server_context("caster.example")
        streams = {"NEAR": frames}
        async with (
            Caster(streams, tls=tls, host="127.0.0.2", fault=fault) as bad,
            Caster(streams, tls=tls, port=bad.port) as good,
            gateway.receiver(),
        ):
            where = {"host": "caster.example", "port": bad.port, "mountpoint": "NEAR"}
            gateway.configure(ntrip=where | {"ca_file": gateway.ca_file})
            async with gateway.running():
                await until(lambda: good.sessions == 1, within_s=300)
                await until(lambda: state(gateway) == "streaming")
                assert bad.connections == 1

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    virtualtime.run(scenario())


@pytest.mark.slow
def test_FR33_nmea_between_the_frames_is_one_line_of_a_daemon_that_streams(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "nmea-between") as (gateway, _):
            await until(lambda: state(gateway) == "streaming", within_s=60)
            await asyncio.sleep(150)
            assert state(gateway) == "streaming"

    caplog.set_level(logging.INFO)
    virtualtime.run(scenario())
    (line,) = named(caplog, "stream.damaged")
    assert "NMEA" in line


@pytest.mark.slow
def test_FR106_short_sessions_before_good_service_do_not_count_after_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        bench = private_caster(tmp_path, "short-life")
        async with bench as (gateway, caster), gateway.receiver():
            async with gateway.running():
                await until(lambda: caster.sessions == 2, within_s=60)
                caster.fault = ""
                await until(lambda: caster.sessions == 3, within_s=60)
                await asyncio.sleep(70)
            caster.fault = "short-life"
            async with gateway.running():
                await until(lambda: caster.sessions == 5, within_s=60)
                assert caster.connected_s[-1] - caster.connected_s[-2] < 20
                assert named(caplog, "session.kicked") == []
                await until(lambda: named(caplog, "session.kicked"), within_s=60)
                assert caster.sessions == 6

    caplog.set_level(logging.INFO)
    virtualtime.run(scenario())


@pytest.mark.slow
def test_FR113_the_daemon_waits_for_a_receiver_that_is_unplugged_without_using_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with private_caster(tmp_path) as (gateway, caster):
            async with gateway.receiver():
                running = gateway.running()
                await running.__aenter__()
                await until(lambda: state(gateway) == "streaming", within_s=40)
            try:
                await until(lambda: state(gateway) in ("waiting", "blocked"), within_s=20)
                assert reason(gateway).startswith("serial.")
                await until(lambda: caster.alive == 0, within_s=80)
                assert "the receiver is away" in caplog.text
                await asyncio.sleep(5)
                assert caster.sessions == 1
                async with gateway.receiver():
                    await until(lambda: state(gateway) == "streaming", within_s=40)
            finally:
                await running.__aexit__(None, None, None)

    caplog.set_level(logging.INFO)
    virtualtime.run(scenario())


# Casters and networks in between that refuse for a while, and in words only


def page(status: str, words: str, kind: str = "text/html") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(words)}\r\n\r\n"
    return (head + words).encode()


BUSY = page("403 Forbidden", "User is already logged in", "text/plain")
PORTAL = page("200 OK", "<html><title>Hotel</title>Please log in</html>")
WANTS_GGA = page("400 Bad Request", "GGA required", "text/plain")


@asynccontextmanager
async def answering(
    tmp_path: Path, answer: Callable[[bytes], bytes | None]
) -> AsyncIterator[tuple[Gateway, SimReceiver, list[float]]]:
    """The daemon, its receiver, and a server of plain NTRIP that gives ``answer`` to a request;
    None is a stream. The list has the loop's time of each connection."""
    gateway = Gateway(tmp_path)
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text(PASSWORD)
    connected_s: list[float] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected_s.append(asyncio.get_running_loop().time())
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            said = answer(await reader.readuntil(b"\r\n\r\n"))
            writer.write(
                b"ICY 200 OK\r\nContent-Type: text/plain\r\n\r\n" if said is None else said
            )
            if said is None:
                async for frame in frames():
                    writer.write(frame)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    account = {"username": "me", "password_file": tmp_path / "password"}
    gateway.configure(
        ntrip={"host": "localhost", "port": port, "mountpoint": "NEAR", "tls": False} | account
    )
    try:
        async with gateway.receiver() as receiver, gateway.running():
            yield gateway, receiver, connected_s
    finally:
        server.close()
        await end(*serving)


@pytest.mark.parametrize(
    ("said", "event", "words"),
    [
        pytest.param(BUSY, "ntrip.busy", "already logged in", id="account-in-use"),
        pytest.param(b"ERROR - Too Many Clients\r\n", "ntrip.busy", "Too Many", id="full"),
        pytest.param(PORTAL, "session.captive_portal", "Hotel Please log in", id="portal"),
        pytest.param(
            page("511 Network Authentication Required", "<p>"),
            "session.captive_portal",
            "511",
            id="network-log-in",
        ),
    ],
)
def test_FR31_what_passes_without_a_person_is_no_refusal_of_the_account(
    said: bytes, event: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refusing = True

    async def scenario() -> None:
        nonlocal refusing
        bench = answering(tmp_path, lambda _: said if refusing else None)
        async with bench as (gateway, _, connected_s):
            await until(lambda: len(connected_s) >= 4, within_s=60)
            await until(lambda: reason(gateway) == event)
            assert state(gateway) == "waiting"
            assert words in reported(gateway)["text"]
            refusing = False
            await until(lambda: state(gateway) == "streaming", within_s=60)

    caplog.set_level(logging.INFO)
    virtualtime.run(scenario())
    assert len(named(caplog, event)) == 1
    assert not named(caplog, "ntrip.account_refused")
    assert not named(caplog, "ntrip.mountpoint")


@pytest.mark.parametrize(
    "said", [WANTS_GGA, b"ERROR - NMEA position required\r\n", b"Position missing\r\n"]
)
def test_R12_a_caster_that_refuses_for_want_of_a_position_is_asked_again_with_one(
    said: bytes, tmp_path: Path
) -> None:
    def answer(request: bytes) -> bytes | None:
        return None if b"Ntrip-GGA" in request else said

    async def scenario() -> None:
        async with answering(tmp_path, answer) as (gateway, receiver, _):
            receiver.faults.no_sky = True
            await until(lambda: reason(gateway) == "ntrip.gga_missing", within_s=30)
            assert state(gateway) == "waiting"
            await asyncio.sleep(20)
            receiver.faults.no_sky = False
            await until(lambda: state(gateway) == "streaming", within_s=15)

    virtualtime.run(scenario())
