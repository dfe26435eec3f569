"""Sessions with casters that behave as real ones do, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from tests.support.ntrip_bench import (
    FIX,
    FRAMES,
    NO_FIX,
    blocks,
    canned,
    endless,
    endpoint,
    opened,
    refused,
    secure,
    settled,
    take,
    until_end,
)
from tests.support.virtualtime import run
from ztpd.errors import (
    AccountRefused,
    AuthenticationUnknown,
    CasterForbidden,
    CasterRedirect,
    ClientCertificateWanted,
    ConnectionLost,
    MountpointNotServed,
    MountpointUnknown,
    SessionClosed,
    SessionError,
    SessionRefused,
    TlsMismatch,
    TlsUntrusted,
    ZtpdError,
)
from ztpd.model import Secret
from ztpd.sim.authority import Authority
from ztpd.sim.caster import Caster
from ztpd.sources.assistance import FetchRecord
from ztpd.sources.casters import CasterVersions
from ztpd.sources.context import SessionContext
from ztpd.sources.ntrip import NtripSession
from ztpd.system.clock import Clock


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    return str(authority.write(tmp_path / "ca.pem"))


def session(port: int, **changes: Any) -> NtripSession:
    return NtripSession(endpoint(port, **changes), position=lambda: FIX, gga=settled())


async def failure(fault: str, **changes: Any) -> ZtpdError:
    async with Caster({"NEAR-RTCM": endless()}, fault=fault) as caster:
        return await refused(session(caster.port, **changes))


@pytest.mark.parametrize(
    "fault", ["", "no-accept", "gp-only", "loose-head", "raw-chunks", "version-1-400"]
)
@pytest.mark.parametrize("version", ["auto", "1"])
async def test_FR25_FR28_FR30_casters_that_are_particular_or_careless_are_served_by(
    fault: str, version: str
) -> None:
    needs_gga = fault == "gp-only"
    async with (
        Caster({"NEAR-RTCM": blocks(*FRAMES)}, fault=fault, needs_gga=needs_gga) as caster,
        session(caster.port, version=version) as opened,
    ):
        frames = await take(opened, len(FRAMES))
    assert [frame.data for frame in frames] == FRAMES


def test_FR25_every_position_is_sent_as_that_of_a_gps_talker() -> None:
    async def main() -> set[str]:
        async with Caster({"NEAR-RTCM": endless()}, needs_gga=True) as caster:
            async with opened(session(caster.port)) as current:
                await take(current, 25)
            return {gga.sentence[:6] for gga in caster.ggas}

    assert run(main()) == {"$GPGGA"}


async def test_FR26_a_caster_that_closes_without_a_byte_is_a_closed_session() -> None:
    async with (
        Caster({"NEAR-RTCM": endless()}, fault="empty") as caster,
        session(caster.port) as current,
    ):
        frames, error = await until_end(current)
    assert frames == []
    assert type(error) is SessionClosed


async def test_FR26_the_casters_sentence_before_it_closes_is_shown() -> None:
    async with (
        Caster({"NEAR-RTCM": endless()}, fault="outside") as caster,
        session(caster.port) as current,
    ):
        _, error = await until_end(current)
    assert type(error) is SessionClosed
    assert 'it said "No station within 50 km of your position.' in str(error)


@pytest.mark.parametrize("said", [b"You are BANNED\x1b[2J\r\n", b"sandbox for 1 hour"])
async def test_FR26_a_ban_in_a_positive_answer_is_a_refusal(said: bytes) -> None:
    async with canned(b"ICY 200 OK\r\n\r\n" + said) as port, session(port) as current:
        _, error = await until_end(current)
    assert isinstance(error, CasterForbidden)
    assert str(error).isprintable()


async def test_FR29_a_wrong_password_may_be_answered_with_the_table() -> None:
    users = {"user": "another"}
    async with Caster({"NEAR-RTCM": endless()}, users=users, fault="table-for-password") as caster:
        error = await refused(session(caster.port))
    assert isinstance(error, MountpointNotServed)


async def test_FR29_a_table_of_3000_mountpoints_proves_that_one_is_unknown() -> None:
    async with Caster({f"BASE{number}": endless() for number in range(3000)}) as caster:
        error = await refused(session(caster.port, mountpoint="BASE3000"))
    assert isinstance(error, MountpointUnknown)
    assert "BASE300" in str(error), "the most similar one is proposed"


def test_FR29_a_table_is_read_once_an_hour() -> None:
    """Over a slow uplink: it does not end within the time for an answer."""
    table = b"SOURCETABLE 200 OK\r\n\r\n" + b"STR;OTHER;x;RTCM 3.2;2;;\r\n" * 20

    async def scenario() -> list[float]:
        versions, took_s = CasterVersions(), []
        now = asyncio.get_running_loop().time
        async with canned(table, close=False) as port:
            for pause_s in (60, 60, 3600, 0):
                began_s = now()
                mine = NtripSession(
                    endpoint(port), position=lambda: FIX, gga=settled(), versions=versions
                )
                error = await refused(mine)
                assert "only 520 bytes of it came" in str(error)
                took_s.append(now() - began_s)
                await asyncio.sleep(pause_s)
        return took_s

    first, second, third, fourth = run(scenario())
    assert first >= 10
    assert max(second, third) < 1
    assert fourth >= 10


async def test_FR29_a_table_that_is_cut_is_no_proof_against_the_mountpoint() -> None:
    error = await failure("cut-table", mountpoint="OTHER")
    assert type(error) is SessionError


async def test_FR30_a_sentence_in_place_of_a_head_is_shown_by_the_session() -> None:
    error = await failure("no-table")
    assert isinstance(error, MountpointUnknown)
    assert "NO SOURCETABLE AVAILABLE" in str(error)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("digest", AuthenticationUnknown, "Digest"),
        ("redirect", CasterRedirect, "http://other.example:2101/NEAR"),
        ("https-port", TlsMismatch, "[ntrip] tls"),
    ],
)
async def test_FR31_refusals_with_a_remedy_of_their_own(
    fault: str, kind: type[ZtpdError], words: str
) -> None:
    error = await failure(fault)
    assert isinstance(error, kind)
    assert words in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize("fault", ["unauthorized", "forbidden"])
async def test_FR31_a_refused_private_account_is_no_matter_of_the_portal(fault: str) -> None:
    error = await failure(fault, own_account=True)
    assert isinstance(error, AccountRefused)
    assert "portal" not in error.advice
    assert "password_file" in error.advice
    assert isinstance(await failure(fault, own_account=False), SessionRefused)


@pytest.mark.parametrize("fault", ["version-1-400", "version-1-reset"])
async def test_FR31_auto_falls_back_to_ntrip_1_and_keeps_to_it(fault: str) -> None:
    versions = CasterVersions()
    async with Caster({"NEAR-RTCM": blocks(*FRAMES)}, fault=fault) as caster:
        for connections in (2, 3):
            mine = NtripSession(
                endpoint(caster.port), position=lambda: FIX, gga=settled(), versions=versions
            )
            async with mine as current:
                assert len(await take(current, 10)) == 10
            assert caster.connections == connections
        caster.fault = ""
    assert b" HTTP/1.0\r\n" in caster.requests[-1]


async def test_FR31_no_fall_back_where_the_version_is_configured_or_known() -> None:
    error = await failure("version-1-400", version="2")
    assert isinstance(error, CasterForbidden)

    versions = CasterVersions()
    async with Caster({"NEAR-RTCM": blocks(*FRAMES)}) as caster:
        for fault in ("", "version-1-reset"):
            caster.fault = fault
            mine = NtripSession(
                endpoint(caster.port), position=lambda: FIX, gga=settled(), versions=versions
            )
            if fault:
                assert isinstance(await refused(mine), ConnectionLost)
            else:
                async with mine as current:
                    await take(current, 1)
        assert caster.connections == 2


async def test_FR31_the_fall_back_is_tried_once_in_ten_minutes() -> None:
    versions = CasterVersions()
    async with canned(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        for _ in range(3):
            mine = NtripSession(
                endpoint(port), position=lambda: FIX, gga=settled(), versions=versions
            )
            assert isinstance(await refused(mine), CasterForbidden)
    assert versions.first(endpoint(port)) == "2"


@contextlib.asynccontextmanager
async def of_version_1(
    answer: bytes = b"ICY 200 OK\r\n\r\n", *, closes: Collection[int] = ()
) -> AsyncIterator[int]:
    """A caster that refuses HTTP/1.1; it closes the connections with these numbers without an
    answer, as one that restarts behind a proxy does."""
    numbers = itertools.count(1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if next(numbers) not in closes:
            old = b" HTTP/1.0\r\n" in request
            writer.write(answer if old else b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("closes", "tries"),
    [
        pytest.param({3, 4}, [True, False, False, True], id="known, then restarting"),
        pytest.param({1, 2}, [False, True], id="restarting at first"),
        pytest.param({2}, [False, True], id="cut at the second request"),
    ],
)
async def test_FR31_a_caster_of_version_1_is_served_again_after_a_restart(
    closes: set[int], tries: list[bool]
) -> None:
    versions, served = CasterVersions(), []
    async with of_version_1(closes=closes) as port:
        for _ in tries:
            mine = NtripSession(
                endpoint(port), position=lambda: FIX, gga=settled(), versions=versions
            )
            try:
                async with mine:
                    served.append(True)
            except (CasterForbidden, SessionClosed):
                served.append(False)
    assert served == tries


@pytest.mark.parametrize("answer", [b"HTTP/1.0 401 Unauthorized\r\n\r\n", b"ERROR - Bad Password"])
async def test_FR31_the_reason_of_a_caster_of_version_1_is_told_each_time(answer: bytes) -> None:
    versions = CasterVersions()
    async with of_version_1(answer + b"\r\n") as port:
        for _ in range(3):
            mine = NtripSession(
                endpoint(port), position=lambda: FIX, gga=settled(), versions=versions
            )
            assert isinstance(await refused(mine), SessionRefused)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_FR31_a_client_certificate_that_is_wanted_is_named_not_the_credentials(
    authority: Authority, ca_file: str, version: ssl.TLSVersion
) -> None:
    context = authority.server_context()
    context.load_verify_locations(ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version

    def serve(listening: socket.socket) -> None:
        """With OpenSSL on the socket itself: asyncio would not send the alert."""
        connection, _ = listening.accept()
        secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with contextlib.suppress(OSError), secured:
            try:
                secured.do_handshake()
            finally:
                time.sleep(0.5)  # a reset for the unread request would overtake the alert

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(asyncio.to_thread(serve, listening))
        port = listening.getsockname()[1]
        mine = NtripSession(secure(port, ca_file), position=lambda: FIX, gga=settled())
        assert isinstance(await refused(mine), ClientCertificateWanted)
        await serving


async def test_FR115_a_cancelled_handshake_leaves_its_descriptor_usable(ca_file: str) -> None:
    """The next connection gets the number of the one before."""
    async with Caster({"NEAR-RTCM": blocks(*FRAMES)}) as caster:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            for _ in range(20):
                mine = secure(silent.getsockname()[1], ca_file)
                opening = asyncio.create_task(
                    NtripSession(mine, position=lambda: NO_FIX).__aenter__()
                )
                await asyncio.sleep(0.05)
                opening.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await opening
                async with session(caster.port) as current:
                    assert len(await take(current, 5)) == 5


async def test_FR115_a_handshake_that_fails_leaves_its_descriptor_usable(ca_file: str) -> None:
    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Caster({"NEAR-RTCM": blocks(*FRAMES)}) as caster:
        for _ in range(10):
            await refused(NtripSession(secure(port, ca_file), position=lambda: NO_FIX))
            async with session(caster.port) as current:
                assert len(await take(current, 5)) == 5


def test_a_secret_of_the_caster_is_in_no_error() -> None:
    error = run(failure("redirect", password=Secret("canary-1")))
    assert "canary-1" not in f"{error} {error.detail}"


class Cold:
    """A receiver that has just started."""

    fix, fix_age_s, wants_assistance = None, 0.0, True


async def test_assistance_counts_as_fetched_once_it_is_asked_for(
    authority: Authority, ca_file: str, tmp_path: Path
) -> None:
    """A clock that is wrong at boot makes TLS fail, and so does another authority."""
    fetches = FetchRecord(None, Clock())
    context = SessionContext(Cold, fetches)
    streams = {"NEAR-RTCM": endless(), "NEAR-RTCM-MGA": endless()}
    async with Caster(streams, tls=authority.server_context()) as caster:
        mine = secure(caster.port, ca_file, assistance="NEAR-RTCM-MGA")
        with pytest.raises(TlsUntrusted):
            async with context.open(mine._replace(ca_file=str(Authority().write(tmp_path / "x")))):
                pass
        for _ in range(2):
            async with context.open(mine):
                pass
    asked = [request.split()[1] for request in caster.requests]
    assert asked == [b"/NEAR-RTCM-MGA", b"/NEAR-RTCM"]
