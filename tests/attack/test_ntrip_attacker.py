"""A hostile caster against the whole daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.attack.bench import attacker, flood, ntrip_only, responsive, some_fast, status
from tests.support.hostile_streams import PATTERNS
from tests.support.until import until

ICY = b"ICY 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nNtrip-Version: Ntrip/2.0\r\nTransfer-Encoding: chunked\r\n\r\n"
BLOCK = 65_536

ANSWERS = {
    **{name: (ICY, pattern * (BLOCK // len(pattern))) for name, pattern in PATTERNS.items()},
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"b" * 500 + b"\r\n"),
    "a header line without end": (b"HTTP/1.1 200 OK\r\nX-A: ", b"c" * BLOCK),
    "a first line without end": (b"ICY 200 ", b"d" * BLOCK),
    "a source table without end": (b"SOURCETABLE 200 OK\r\n\r\n", b"STR;A;B;RTCM 3;;\r\n" * 3000),
    "a refusal without end": (b"HTTP/1.1 401 Unauthorized\r\n\r\n", b"words " * 10_000),
    "chunk sizes without end": (CHUNKED, b"0" * BLOCK),
    "chunks of one byte": (CHUNKED, b"1\r\n\xd3\r\n" * 10_000),
    "chunks with extensions": (CHUNKED, b"1;" + b"e" * 4000 + b"\r\n\xd3\r\n"),
    "a chunk of 2^60 bytes": (CHUNKED + b"1000000000000000\r\n", b"\xd3\x03" * (BLOCK // 2)),
    "trailers without end": (CHUNKED + b"0\r\n", b"X-T: 1\r\n" * 5000),
    "nothing at all": (b"", b""),
    "random bytes": (b"", bytes(range(256)) * 256),
    "escape sequences": (b"HTTP/1.1 403 \x1b[2J\x1b]0;owned\x07\nMAINPID=1\r\n\r\n", b"\x1b[2J"),
    "a wait of 10^18 s": (b"HTTP/1.1 503 Busy\r\nRetry-After: 1000000000000000000\r\n\r\n", b"x"),
    "a reset of the receiver": (ICY, bytes.fromhex("b56206040400ffff00000d61") * 1000),
}


@pytest.mark.parametrize(
    "name",
    some_fast(
        ANSWERS,
        "rtcm",
        "headers without end",
        "chunks of one byte",
        "escape sequences",
        "a reset of the receiver",
    ),
)
async def test_a_hostile_caster_neither_stops_nor_fills_the_daemon(
    name: str, tmp_path: Path
) -> None:
    start, more = ANSWERS[name]
    asked = 0

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(start)
        if more:
            await flood(writer, more, 4 << 20)
        await asyncio.sleep(1)

    async with attacker(attack) as port:
        gateway = ntrip_only(tmp_path, port)
        async with gateway.receiver(speed=20) as receiver, gateway.running(), responsive():
            await until(lambda: asked)
            for _ in range(4):
                assert (await status(gateway))["state"] != "stopping"
                await asyncio.sleep(0.3)
            text = (gateway.runtime_dir / "status.json").read_text()
            assert "\\u001b" not in text
            assert "\x1b" not in text
        resets = [frame for frame in receiver.received if frame.name == "CFG-RST"]
        assert resets == []


async def test_FR82_a_stream_of_wrong_checks_is_named_and_costs_one_session(tmp_path: Path) -> None:
    asked = 0

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(ICY)
        await flood(writer, b"\xd3\x03" * 2048, 4 << 20)

    async with attacker(attack) as port:
        gateway = ntrip_only(tmp_path, port)
        async with gateway.receiver(speed=20), gateway.running(), responsive():
            await until(lambda: asked)
            await until(
                lambda: "session.corrupt" in (gateway.runtime_dir / "status.json").read_text()
            )
            await asyncio.sleep(1)
            assert asked <= 4, "it does not hammer"
