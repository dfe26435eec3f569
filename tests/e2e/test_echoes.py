"""The whole daemon beside a caster that repeats the request, as servers for tests and pages of
errors do."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from pathlib import Path

import pytest

from tests.attack.bench import attacker, ntrip_only
from tests.support.until import until

PASSWORD = "geheim-0815"
PAIR = base64.b64encode(f"u:{PASSWORD}".encode()).rstrip(b"=")


def refusal(request: bytes) -> bytes:
    return b"HTTP/1.1 400 Bad Request\r\n\r\nYou sent: %b" % request


def in_the_first_line(request: bytes) -> bytes:
    return b"ERROR %b\r\n" % b" ".join(request.split(b"\r\n")[4:])


def in_the_reason(request: bytes) -> bytes:
    return b"HTTP/1.1 400 %b\r\n\r\n" % b" ".join(request.split(b"\r\n")[5:])


def in_a_sentence(_: bytes) -> bytes:
    return b"HTTP/1.1 401 Unauthorized\r\n\r\nBad password %b for u" % PASSWORD.encode()


def in_place_of_headers(request: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%b" % b"\n".join(request.split(b"\r\n")[5:])


def in_a_redirect(_: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: /login?basic=%b\r\n\r\n" % PAIR


def in_place_of_a_stream(request: bytes) -> bytes:
    return b"ICY 200 OK\r\n\r\n%b" % request


def at_the_limit(_: bytes) -> bytes:
    """Cut within the secret, a text still shows most of it."""
    return b"HTTP/1.1 400 Bad Request\r\n\r\n%b %b" % (b"x" * 170, PAIR)


ECHOES = [
    refusal,
    in_the_first_line,
    in_the_reason,
    in_a_sentence,
    in_place_of_headers,
    in_a_redirect,
    in_place_of_a_stream,
    at_the_limit,
]


@pytest.mark.parametrize("echo", ECHOES)
async def test_P11_what_the_daemon_sent_is_in_no_text_of_a_caster(
    echo: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ztpd")
    asked = 0

    async def caster(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(echo(request))  # type: ignore[operator]
        await writer.drain()
        asked += 1

    async with attacker(caster) as port:
        gateway = ntrip_only(tmp_path, port)
        (tmp_path / "password").write_text(PASSWORD)
        async with gateway.receiver(speed=20), gateway.running():
            await until(lambda: asked)
            await asyncio.sleep(0.3)
            public = json.dumps(gateway.status) + caplog.text
    for secret in (PASSWORD, PAIR.decode()[:12], "GGA,"):
        assert secret not in public
