"""One POST against a real TLS server on loopback that misbehaves in every way we know."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import subprocess
import sys
import threading
import tracemalloc
import warnings
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp  # noqa: F401 - its import is not to count in a test's time
import pytest

from tests.support.virtualtime import run
from ztpd.errors import (
    ConfigError,
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    ResolveFailed,
    Retry,
    TlsClock,
    TlsError,
    TlsHostname,
    TlsUntrusted,
    TlsVersion,
    ZtpBadAnswer,
    ZtpdError,
    ZtpTooBig,
    ZtpTruncated,
)
from ztpd.model import Secret
from ztpd.net.dial import dial
from ztpd.net.resolve import Address
from ztpd.provisioning import http
from ztpd.provisioning.reply import Reply
from ztpd.sim.authority import Authority, server_context
from ztpd.sim.portal import TOKEN, Profile
from ztpd.sim.ztp_service import (
    Answer,
    Bomb,
    Cut,
    Drip,
    Fault,
    Huge,
    Reset,
    Silence,
    ZtpService,
)
from ztpd.wire import ztp

AUTHORITY = Authority()
PATH = ztp.PATHS["flex"]
BODY = ztp.request_body(token=TOKEN, given_name="gw", tags=(), hardware_id="356938035643809")

WHERE = {
    "handshake": "in the TLS handshake",
    "response": "before the answer",
    "body": "in the middle of the answer",
}


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(AUTHORITY.write(tmp_path_factory.mktemp("ca") / "ca.pem"))


def service(*script: Fault, **options: Any) -> ZtpService:
    return ZtpService(AUTHORITY, script=script, **options)


async def call(there: ZtpService, ca_file: str, timeout_s: float = 5.0) -> Reply:
    return await http.post(there.url + PATH, BODY, timeout_s=timeout_s, ca_file=ca_file)


async def refused_by(there: ZtpService, ca_file: str, kind: type[ZtpdError]) -> ZtpdError:
    """The error of one call; nothing of the request may have arrived."""
    async with there:
        with pytest.raises(kind) as caught:
            await call(there, ca_file)
        await asyncio.sleep(0.01)
        assert there.requests == 0
    assert type(caught.value) is kind
    return caught.value


async def test_an_answer_comes_back_whole(ca_file: str) -> None:
    async with service() as there:
        reply = await call(there, ca_file)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert ztp.parse_answer("flex", reply.body).ntrip


async def test_the_request_names_its_type_and_asks_for_no_coding(ca_file: str) -> None:
    async with service() as there:
        await call(there, ca_file)
    headers = there.calls[0].headers
    assert headers["content-length"] == str(len(BODY))
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("ztpd/")


async def test_a_refusal_is_a_reply_like_any_other(ca_file: str) -> None:
    async with service(Answer(403, "Device hardware code not whitelisted")) as there:
        reply = await call(there, ca_file)
    assert (reply.status, reply.body) == (403, b"Device hardware code not whitelisted")


async def test_an_address_is_reached_without_a_lookup(ca_file: str) -> None:
    async with service() as there:
        url = there.url.replace("localhost", "127.0.0.1") + PATH
        assert (await http.post(url, BODY, timeout_s=5, ca_file=ca_file)).status == 200


async def test_plain_http_is_for_loopback() -> None:
    async with ZtpService() as there:
        assert there.url.startswith("http://localhost:")
        assert (await http.post(there.url + PATH, BODY, timeout_s=5)).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/",
        "http://192.168.0.1/",
        "http://localhost.example.com/",
        "ftp://localhost/",
        "https:///path",
        "https://",
        "localhost",
        "",
        "https://user:secret@localhost/",
        "https://localhost:99999/",
        "https://localhost:0/",
        "https://[::1/",
    ],
)
async def test_T7_other_urls_are_configuration_errors(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await http.post(url, BODY, timeout_s=1)
    assert "secret" not in str(caught.value)


async def test_N06_a_closed_port_is_refused(ca_file: str) -> None:
    there = service()
    async with there:
        pass
    with pytest.raises(ConnectRefused, match="while connecting"):
        await call(there, ca_file)


async def test_N07_a_server_that_does_not_take_the_connection_times_out(ca_file: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        clients = [socket.socket() for _ in range(3)]
        for client in clients:  # the kernel drops those that its queue cannot hold
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        with pytest.raises(ConnectTimeout, match="while connecting"):
            await http.post(f"https://127.0.0.1:{port}/", BODY, timeout_s=0.3, ca_file=ca_file)
        for client in clients:
            client.close()


@pytest.mark.parametrize("stage", ["handshake", "response"])
async def test_N08_silence_times_out_and_says_where(ca_file: str, stage: Any) -> None:
    async with service(Silence(stage)) as there:
        with pytest.raises(ConnectTimeout, match=WHERE[stage]):
            await call(there, ca_file, timeout_s=1)


def test_N07_N08_connecting_and_handshake_have_ten_seconds(ca_file: str) -> None:
    async def main() -> float:
        async with service(Silence("handshake")) as there:
            url = there.url.replace("localhost", "127.0.0.1")
            with pytest.raises(ConnectTimeout, match="in the TLS handshake"):
                await http.post(url, BODY, timeout_s=30, ca_file=ca_file)
            return asyncio.get_running_loop().time()

    assert 10 <= run(main()) <= 11


def test_N09_a_drip_does_not_outlast_the_whole_time(ca_file: str) -> None:
    async def main() -> float:
        async with service(Drip(0.01)) as there:
            with pytest.raises(ConnectTimeout, match="in the middle of the answer"):
                await call(there, ca_file, timeout_s=0.4)
            return asyncio.get_running_loop().time()

    assert 0.4 <= run(main()) < 1


@pytest.mark.parametrize("stage", ["handshake", "response", "body"])
async def test_N10_a_reset_is_a_lost_connection_and_says_where(ca_file: str, stage: Any) -> None:
    async with service(Reset(stage)) as there:
        with pytest.raises((ConnectionLost, ZtpTruncated), match=WHERE[stage]) as caught:
            await call(there, ca_file)
        assert caught.value.retry is Retry.SERVER


@pytest.mark.parametrize(
    ("status", "text"), [(200, "<html>Welcome</html>"), (302, ""), (511, "<html>Log in</html>")]
)
async def test_N13_the_answer_of_a_captive_portal_is_returned_unchanged(
    ca_file: str, status: int, text: str
) -> None:
    async with service(Answer(status, text, {"Location": "https://portal.example/"})) as there:
        reply = await call(there, ca_file)
    assert (reply.status, reply.body) == (status, text.encode())


async def test_N14_T6_an_unknown_issuer_is_refused(ca_file: str) -> None:
    there = service(tls=Authority().server_context())
    error = await refused_by(there, ca_file, TlsUntrusted)
    assert "localhost" in error.detail


async def test_N14_T6_the_system_store_counts_without_ca_file() -> None:
    await refused_by(service(), "", TlsUntrusted)


@pytest.mark.parametrize("names", [("api.example.com",), ("127.0.0.1",), ("*.localhost",)])
async def test_N15_T6_a_certificate_for_another_name_is_refused(
    ca_file: str, names: tuple[str, ...]
) -> None:
    await refused_by(service(tls=AUTHORITY.server_context(*names)), ca_file, TlsHostname)


async def test_N16_T6_G97_an_expired_certificate_names_the_clock(ca_file: str) -> None:
    pair = AUTHORITY.server(not_after=datetime(2020, 1, 1))
    error = await refused_by(service(tls=server_context(pair)), ca_file, TlsClock)
    assert error.retry is Retry.LOCAL
    assert "expired" in error.detail


async def test_N17_T6_a_certificate_not_yet_valid_names_the_clock(ca_file: str) -> None:
    try:
        pair = AUTHORITY.server(not_before=datetime(2990, 1, 1))
    except TypeError:
        pytest.skip("this trustme does not set when a certificate begins")
    error = await refused_by(service(tls=server_context(pair)), ca_file, TlsClock)
    assert "not yet valid" in error.detail


async def test_N18_T6_an_old_tls_is_refused(ca_file: str) -> None:
    context = AUTHORITY.server_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")

    def serve(listener: socket.socket) -> None:  # asyncio's server would not send the alert
        connection, _ = listener.accept()
        with connection, suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(TlsVersion):
            await http.post(url, BODY, timeout_s=5, ca_file=ca_file)
        server.join()


async def test_a_port_that_does_not_speak_tls_is_named_so(ca_file: str) -> None:
    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TlsVersion):
            await http.post(f"https://127.0.0.1:{port}/", BODY, timeout_s=5, ca_file=ca_file)


async def test_a_server_that_wants_a_client_certificate_is_a_tls_error(ca_file: str) -> None:
    context = AUTHORITY.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    async with service(tls=context) as there:
        with pytest.raises((TlsError, ConnectionLost)):
            await call(there, ca_file)
    assert there.requests == 0


async def test_N19_a_system_without_trust_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "certs").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "certs"))
    with pytest.raises(TlsUntrusted, match="ca-certificates"):
        await http.post("https://localhost:1/", BODY, timeout_s=1)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_N19_a_ca_file_without_certificate_is_a_configuration_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="ca_file"):
        await http.post("https://localhost:1/", BODY, timeout_s=1, ca_file=str(path))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_N20_T8_the_token_never_travels_to_another_host(ca_file: str, status: int) -> None:
    async with service() as elsewhere:
        there = service(Answer(status, headers={"Location": elsewhere.url + PATH}))
        async with there:
            reply = await call(there, ca_file)
        assert elsewhere.connections == 0
    assert reply.status == status
    assert reply.headers["location"] == elsewhere.url + PATH


@pytest.mark.parametrize("announced", [True, False])
async def test_N25_a_huge_body_is_cut_off(ca_file: str, announced: bool) -> None:
    async with service(Huge(announced=announced)) as there:
        tracemalloc.start()
        try:
            with pytest.raises(ZtpTooBig):
                await call(there, ca_file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8_000_000


async def test_N25_the_largest_body_that_is_taken(ca_file: str) -> None:
    async with service(Answer(200, "x" * ztp.BODY_LIMIT), Answer(200, "x" * 262_145)) as there:
        assert len((await call(there, ca_file)).body) == 262_144
        with pytest.raises(ZtpTooBig):
            await call(there, ca_file)


async def endless(writer: asyncio.StreamWriter, form: str) -> None:
    """An answer that never ends, in a part that is not the body."""
    start = {
        "headers": b"HTTP/1.1 200 OK\r\n",
        "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
        "informational answers": b"",
        "chunk extensions": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "empty lines": b"",
    }
    more = {
        "headers": b"".join(b"X-%d: %s\r\n" % (each, b"a" * 4000) for each in range(16)),
        "trailers": b"".join(b"X-%d: %s\r\n" % (each, b"a" * 4000) for each in range(16)),
        "informational answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
        "chunk extensions": b"1;" + b"e" * 4000 + b"\r\n \r\n",
        "empty lines": b"\r\n" * 30_000,
    }
    writer.write(start[form])
    sent = 0
    while not writer.is_closing() and sent < 100 << 20:
        writer.write(more[form])
        await writer.drain()
        await asyncio.sleep(0)
        sent += len(more[form])


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
@pytest.mark.parametrize(
    "form", ["headers", "trailers", "informational answers", "chunk extensions", "empty lines"]
)
async def test_FR83_an_answer_without_end_is_cut_off_in_bounded_memory(
    ca_file: str, form: str, tls: bool
) -> None:
    sending: list[asyncio.Task[None]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        sending.append(asyncio.create_task(endless(writer, form)))

    context = AUTHORITY.server_context() if tls else None
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    url = f"{'https' if tls else 'http'}://localhost:{port}{PATH}"
    tracemalloc.start()
    try:
        with pytest.raises((ZtpTooBig, ZtpBadAnswer)):
            await http.post(url, BODY, timeout_s=30, ca_file=ca_file if tls else "")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        server.close()
        for task in sending:
            task.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await asyncio.gather(*sending)
    assert peak < 24 << 20


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_N26_a_coded_body_is_not_decoded(ca_file: str, coding: Any) -> None:
    async with service(Bomb(coding=coding)) as there:
        tracemalloc.start()
        try:
            with pytest.raises(ZtpBadAnswer, match="coded"):
                await call(there, ca_file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8_000_000


async def test_a_coded_refusal_keeps_its_status(ca_file: str) -> None:
    async with service(Answer(503, "zipped", {"Content-Encoding": "br"})) as there:
        reply = await call(there, ca_file)
    assert (reply.status, reply.body) == (503, b"")


async def test_N27_a_body_shorter_than_announced_is_truncated(ca_file: str) -> None:
    async with service(Answer(200, "{}", {"Content-Length": "7"})) as there:
        with pytest.raises(ZtpTruncated):
            await call(there, ca_file)


async def test_N27_chunks_that_end_early_are_truncated(ca_file: str) -> None:
    chunked = {"Transfer-Encoding": "chunked", "X": "y"}
    answer = Answer(200, "40\r\n{", chunked)
    async with service(answer) as there:
        with pytest.raises((ZtpTruncated, ZtpBadAnswer)):
            await call(there, ca_file)


@pytest.mark.parametrize(
    "text", ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "\x00\xff" * 40, "HTTP/9.9 x\r\n\r\n"]
)
async def test_an_answer_that_is_not_http_is_a_typed_error(ca_file: str, text: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(text.encode("latin-1"))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=AUTHORITY.server_context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises((ZtpBadAnswer, ConnectionLost)):
            await http.post(f"https://127.0.0.1:{port}/", BODY, timeout_s=5, ca_file=ca_file)


async def test_N28_a_proxy_in_the_environment_is_not_used(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:1")
    async with service() as there:
        assert (await call(there, ca_file)).status == 200


async def test_T8_a_netrc_file_is_not_read(
    ca_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine localhost login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with service() as there:
        await call(there, ca_file)
    assert "authorization" not in there.calls[0].headers


async def cut_and_again(there: ZtpService, ca_file: str, at: int) -> type[ZtpdError] | None:
    there.script.append(Cut(at))
    kind: type[ZtpdError] | None = None
    try:
        await call(there, ca_file)
    except ZtpdError as error:
        kind = type(error)
    again = ztp.parse_answer("flex", (await call(there, ca_file)).body)
    assert again.client_id == "00000000-0000-4000-8000-000000000001"
    assert len(there.things) == 1
    return kind


async def whole_answer(ca_file: str) -> tuple[int, int]:
    """How many bytes the head and the body of an answer have."""
    async with service() as there:
        reply = await call(there, ca_file)
    head = "".join(f"{name}: {text}\r\n" for name, text in reply.headers.items())
    return len(f"HTTP/1.1 200 OK\r\n{head}\r\n"), len(reply.body)


async def cuts(ca_file: str, step: int) -> None:
    head, body = await whole_answer(ca_file)
    async with service() as there:
        for at in (*range(0, head + body, step), head - 1, head, head + 1, head + body - 1):
            lost = ConnectionLost if at < head else ZtpTruncated
            assert await cut_and_again(there, ca_file, at) is lost, at
        assert await cut_and_again(there, ca_file, head + body) is None


async def test_Z03_a_lost_answer_is_asked_for_again_and_there_is_one_thing(ca_file: str) -> None:
    await cuts(ca_file, 60)


@pytest.mark.slow
async def test_Z03_wherever_the_answer_is_cut(ca_file: str) -> None:
    await cuts(ca_file, 1)


def resolve_to(
    monkeypatch: pytest.MonkeyPatch, *answers: list[tuple[int, str]] | socket.gaierror
) -> list[str]:
    """Let the system's resolver answer so, one answer after the other; the names it was asked."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: object) -> list[Any]:
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        if isinstance(answer, socket.gaierror):
            raise answer
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


V4, V6 = socket.AF_INET, socket.AF_INET6


async def named_call(there: ZtpService, ca_file: str) -> Reply:
    url = there.url.replace("localhost", "ztp.example") + PATH
    return await http.post(url, BODY, timeout_s=5, ca_file=ca_file)


async def test_a_name_is_looked_up_and_verified(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolve_to(monkeypatch, [(V4, "127.0.0.1")])
    async with service(tls=AUTHORITY.server_context("ztp.example")) as there:
        assert (await named_call(there, ca_file)).status == 200
    assert asked == ["ztp.example"]


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL])
async def test_N02_N03_a_name_that_cannot_be_resolved(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    resolve_to(monkeypatch, socket.gaierror(code, "no such luck"))
    with pytest.raises(ResolveFailed, match=r"ztp\.example: no such luck"):
        await http.post("https://ztp.example/", BODY, timeout_s=5)


def test_N03_a_resolver_that_hangs_is_given_up_above_its_own_retries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait())

    async def main() -> float:
        with pytest.raises(ResolveFailed, match="within 45 s"):
            await http.post("https://ztp.example/", BODY, timeout_s=30)
        return asyncio.get_running_loop().time()

    assert run(main()) == 45
    over.set()


@pytest.mark.parametrize("host", ["a..example", "x" * 64 + ".example"])
async def test_a_name_that_is_none_is_a_dns_failure(host: str) -> None:
    with pytest.raises(ResolveFailed):
        await http.post(f"https://{host}/", BODY, timeout_s=5)


async def test_N04_an_address_family_that_is_dead_does_not_matter(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, [(V6, "::1"), (V4, "127.0.0.1")])
    async with service(tls=AUTHORITY.server_context("ztp.example")) as there:
        assert (await named_call(there, ca_file)).status == 200


async def test_N05_the_name_is_looked_up_for_each_call(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, [(V4, "127.0.0.9")], [(V4, "127.0.0.1")])
    async with service(tls=AUTHORITY.server_context("ztp.example")) as there:
        with pytest.raises(ConnectRefused):
            await named_call(there, ca_file)
        assert (await named_call(there, ca_file)).status == 200


def held() -> tuple[list[str], int, int]:
    """Descriptors, threads and tasks there are."""
    gc.collect()
    return os.listdir("/proc/self/fd"), threading.active_count(), len(asyncio.all_tasks())


async def comes_back_to(before: tuple[list[str], int, int]) -> None:
    for _ in range(100):
        await asyncio.sleep(0.02)
        if held() == before:
            return
    assert held() == before


@pytest.mark.parametrize(
    "fault",
    [None, Reset("handshake"), Reset("body"), Silence(), Huge(), Bomb(), Cut(200), Answer(503)],
    ids=str,
)
async def test_nothing_stays_open(ca_file: str, fault: Fault | None) -> None:
    async with service() as there:
        idle = held()
        await call(there, ca_file)
        await comes_back_to(idle)
        there.script.extend([fault] if fault else [])
        with suppress(ZtpdError):
            await call(there, ca_file, timeout_s=0.3)
        await comes_back_to(idle)


async def test_cancelling_leaves_nothing_open(ca_file: str) -> None:
    async with service(Silence()) as there:
        idle = held()
        task = asyncio.create_task(call(there, ca_file))
        while not there.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await comes_back_to(idle)


async def test_no_error_shows_the_token(ca_file: str) -> None:
    faults: list[Fault] = [Reset("body"), Cut(40), Cut(110), Silence(), Bomb(), Huge()]
    async with service(*faults, profile=Profile(token=Secret("another"))) as there:
        for _ in faults:
            with pytest.raises(ZtpdError) as caught:
                await call(there, ca_file, timeout_s=0.3)
            error: BaseException | None = caught.value
            while error:
                assert TOKEN.reveal() not in f"{error} {error!r}"
                error = error.__cause__


def test_importing_the_module_does_not_load_aiohttp() -> None:
    script = "import sys, ztpd.provisioning.http; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("first", ["127.0.0.2", "::1"])
async def test_N04_FR100_a_dead_first_address_costs_a_quarter_of_a_second(
    ca_file: str, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    family = socket.AF_INET6 if ":" in first else socket.AF_INET
    async with service(tls=AUTHORITY.server_context("ztp.example")) as there:
        with (
            socket.create_server((first, there.port), family=family, backlog=0) as dead,
            socket.create_connection(dead.getsockname()[:2]),  # the queue is full
        ):
            resolve_to(monkeypatch, [(family, first), (V4, "127.0.0.1")])
            began_s = asyncio.get_running_loop().time()
            assert (await named_call(there, ca_file)).status == 200
            assert asyncio.get_running_loop().time() - began_s < 3


@pytest.mark.parametrize(
    ("names", "expected"), [(("other.example",), TlsHostname), (("ztp.example",), TlsUntrusted)]
)
async def test_FR21_a_certificate_decides_though_the_other_address_is_refused(
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    expected: type[TlsError],
) -> None:
    issuer = AUTHORITY if expected is TlsHostname else Authority()
    resolve_to(monkeypatch, [(V4, "127.0.0.9"), (V4, "127.0.0.1")])
    async with service(tls=issuer.server_context(*names)) as there:
        with pytest.raises(expected):
            await named_call(there, ca_file)


async def test_FR114_the_next_call_takes_another_address_than_the_silent_one(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(tls=AUTHORITY.server_context("ztp.example")) as there:
        with socket.create_server(("127.0.0.3", there.port)):
            resolve_to(monkeypatch, [(V4, "127.0.0.3"), (V4, "127.0.0.1")])
            url = there.url.replace("localhost", "ztp.example") + PATH
            with pytest.raises(ConnectTimeout, match="in the TLS handshake"):
                await http.post(url, BODY, timeout_s=0.4, ca_file=ca_file)
            assert (await http.post(url, BODY, timeout_s=5, ca_file=ca_file)).status == 200


@pytest.mark.parametrize(("status", "next_host"), [(503, "127.0.0.3"), (403, "127.0.0.1")])
async def test_FR114_the_next_call_takes_another_address_than_one_in_trouble(
    ca_file: str, status: int, next_host: str
) -> None:
    async with service(Answer(status)) as there:
        assert (await call(there, ca_file)).status == status
        with socket.create_server(("127.0.0.3", there.port)):
            hosts = ("127.0.0.1", "127.0.0.3")
            places = [Address(socket.AF_INET, (host, there.port)) for host in hosts]
            sock, address = await dial(places)
            sock.close()
    assert address.place[0] == next_host
