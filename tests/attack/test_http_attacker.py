"""A hostile server in place of the provisioning service."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import aiohttp  # noqa: F401 - its import takes longer than an attack
import pytest

from tests.attack.bench import attacker, flood, responsive, some_fast
from ztpd.config.options import ZtpOptions
from ztpd.errors import ZtpdError
from ztpd.model import Identity
from ztpd.provisioning import http
from ztpd.provisioning.call import Request, call
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_HEADERS = b"".join(b"X-%d: %s\r\n" % (each, b"a" * 4000) for each in range(16))


def _whole(body: bytes, head: bytes = _OK) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


ANSWERS = {
    "headers without end": (_OK, _HEADERS),
    "trailers without end": (_CHUNKED + b"2\r\n{}\r\n0\r\n", _HEADERS),
    "a header line without end": (_OK + b"X: ", b"a" * 65_536),
    "a status line without end": (b"HTTP/1.1 200 ", b"a" * 65_536),
    "informational answers without end": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "a body without end": (_OK + b"\r\n", b"a" * 65_536),
    "chunks without end": (_CHUNKED, b"1000\r\n" + b"a" * 4096 + b"\r\n"),
    "chunk extensions without end": (_CHUNKED, b"1;" + b"e" * 4000 + b"\r\n \r\n"),
    "a chunk of 2^62 bytes": (_CHUNKED + b"4000000000000000\r\n", b"a" * 65_536),
    "a body of 2^62 bytes announced": (_OK + b"Content-Length: 4611686018427387904\r\n\r\n", b"a"),
    "two lengths": (_OK + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}", b""),
    "length and chunks": (_OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", b""),
    "a coded body": (_whole(b"\x1f\x8b" + bytes(100), _OK + b"Content-Encoding: gzip\r\n"), b""),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", b""),
    "an upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"a" * 65_536),
    "a redirect to a file": (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/shadow\r\n\r\n", b""),
    "a redirect to itself": (
        b"HTTP/1.1 307 Again\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"",
    ),
    "deep nesting": (_whole(b"[" * 100_000), b""),
    "a number of 100,000 digits": (_whole(b'{"a": ' + b"9" * 100_000 + b"}"), b""),
    "repeated names": (_whole(b"{" + b'"id": "x",' * 10_000 + b'"id": 1}'), b""),
    "control characters": (_whole(json.dumps({"errors": ["\x1b[2J\n\x07" * 50]}).encode()), b""),
    "no text": (_whole(bytes(range(256))), b""),
    "a refusal of backslashes": (_whole(b"\\" * 200_000, b"HTTP/1.1 422 No\r\n"), b""),
    "a refusal of names of secrets": (_whole(b'"key' * 50_000, b"HTTP/1.1 422 No\r\n"), b""),
    "an empty body": (_whole(b""), b""),
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def _provision(url: str, ca_file: str) -> None:
    settings = ZtpOptions(url=url, ca_file=ca_file, timeout_s=5)
    gateway = Identity(None, "configuration", fixed="356938035643809")
    request = Request.of(settings, gateway, TOKEN, hostname="gw")
    async with asyncio.timeout(8):
        await call(request, settings, board_serial="", now=time.time, post=http.post)


@pytest.mark.parametrize(
    "name",
    some_fast(
        ANSWERS,
        "headers without end",
        "trailers without end",
        "two lengths",
        "deep nesting",
        "control characters",
        "a refusal of backslashes",
    ),
)
async def test_a_hostile_server_is_refused_in_bounded_time_and_memory(
    name: str, authority: Authority, tmp_path: Path
) -> None:
    start, more = ANSWERS[name]
    asked = 0

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(start)
        if more:
            await flood(writer, more)

    ca_file = str(authority.write(tmp_path / "ca.pem"))
    context = authority.server_context()
    async with attacker(attack, ssl=context) as port, responsive():
        with pytest.raises(ZtpdError) as refused:
            await _provision(f"https://localhost:{port}", ca_file)
    assert asked == 1, "the request goes out once"
    assert str(refused.value).isprintable()
    assert TOKEN.reveal() not in str(refused.value)
