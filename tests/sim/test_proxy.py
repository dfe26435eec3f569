"""The fault proxy: each fault acts at the exact byte, and has no other effect."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.receiver_bench import in_virtual_time
from tests.support.virtualtime import run
from ztpd.sim.authority import Authority
from ztpd.sim.proxy import BAD_LINES, GOOD, FaultProxy, Line

DATA = random.Random(7).randbytes(10_000)


class Server:
    """Sends ``data``, then stores the bytes received until the client ends; then ends too."""

    def __init__(self, data: bytes, *, close: bool) -> None:
        self.port = 0
        self.got = b""
        self.ended = asyncio.Event()
        self.failure: OSError | None = None
        self._data, self._close = data, close

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._data)
        try:
            if self._close:
                writer.write_eof()
            while data := await reader.read(1000):
                self.got += data
        except OSError as error:
            self.failure = error
        self.ended.set()
        writer.close()


@asynccontextmanager
async def server(
    data: bytes = DATA, *, close: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    serving = Server(data, close=close)
    listening = await asyncio.start_server(serving.serve, "127.0.0.1", 0, ssl=tls)
    serving.port = listening.sockets[0].getsockname()[1]
    try:
        yield serving
    finally:
        listening.close()
        async with asyncio.timeout(5):
            await serving.ended.wait()
        await asyncio.sleep(0)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.sleep(0)


async def read_pieces(reader: asyncio.StreamReader, total: int) -> list[bytes]:
    pieces: list[bytes] = []
    while sum(len(piece) for piece in pieces) < total and (data := await reader.read(65_536)):
        pieces.append(data)
    return pieces


async def reset_behind(reader: asyncio.StreamReader) -> bytes:
    """The bytes received before a reset."""
    got = b""
    try:
        while data := await reader.read(100):
            got += data
    except ConnectionResetError:
        return got
    raise AssertionError("the connection ended without a reset")


async def test_a_good_line_changes_nothing_in_either_direction() -> None:
    async with (
        server(close=True) as far,
        FaultProxy("127.0.0.1", far.port) as proxy,
        client(proxy.port) as (reader, writer),
    ):
        writer.write(DATA)
        writer.write_eof()
        assert await reader.read() == DATA
        await far.ended.wait()
        assert far.got == DATA
        assert (proxy.connections, proxy.carried) == (1, [len(DATA), len(DATA)])


async def test_the_ends_of_the_two_directions_are_independent() -> None:
    async with (
        server(b"hello", close=True) as far,
        FaultProxy("127.0.0.1", far.port) as proxy,
        client(proxy.port) as (reader, writer),
    ):
        assert await reader.read() == b"hello"
        writer.write(b"still here")
        writer.write_eof()
        await far.ended.wait()
        assert far.got == b"still here"


@pytest.mark.parametrize("at", [0, 1, 9_999])
async def test_cut_at_a_byte_delivers_exactly_those_before_it(at: int) -> None:
    async with (
        server() as far,
        FaultProxy("127.0.0.1", far.port, to_client=Line(cut_at=at)) as proxy,
        client(proxy.port) as (reader, _),
    ):
        assert await reader.read() == DATA[:at]
        await far.ended.wait()
        assert far.failure is None or isinstance(far.failure, ConnectionError)


async def test_cut_at_a_byte_of_the_request() -> None:
    async with (
        server(b"") as far,
        FaultProxy("127.0.0.1", far.port, to_server=Line(cut_at=100)) as proxy,
        client(proxy.port) as (reader, writer),
    ):
        writer.write(DATA)
        assert await reader.read() == b""
        await far.ended.wait()
        assert far.got == DATA[:100]


@pytest.mark.parametrize("at", [0, 500])
async def test_a_reset_is_seen_as_one(at: int) -> None:
    async with (
        server() as far,
        FaultProxy("127.0.0.1", far.port, to_client=Line(reset_at=at)) as proxy,
        client(proxy.port) as (reader, _),
    ):
        assert DATA[:at].startswith(await reset_behind(reader))
        await far.ended.wait()


@in_virtual_time
async def test_reset_and_cut_end_live_connections() -> None:
    async with server() as far, FaultProxy("127.0.0.1", far.port) as proxy:
        async with client(proxy.port) as (reader, _):
            await reader.readexactly(len(DATA))
            assert proxy.alive == 1
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                await reader.read()
        async with client(proxy.port) as (reader, _):
            await reader.readexactly(len(DATA))
            proxy.cut()
            assert await reader.read() == b""
        await asyncio.sleep(0.05)
        assert proxy.alive == 0


@in_virtual_time
async def test_half_open_discards_bytes_without_closing() -> None:
    async with (
        server(close=True) as far,
        FaultProxy("127.0.0.1", far.port, to_client=Line(silent_at=300)) as proxy,
        client(proxy.port) as (reader, writer),
    ):
        assert await reader.readexactly(300) == DATA[:300]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.2)
        writer.write(b"are you there?")
        writer.write_eof()
        await far.ended.wait()
        assert far.got == b"are you there?"


@in_virtual_time
async def test_an_end_that_the_silent_line_swallowed_comes_when_the_line_recovers() -> None:
    async with (
        server() as far,
        FaultProxy("127.0.0.1", far.port) as proxy,
        client(proxy.port) as (reader, writer),
    ):
        await read_pieces(reader, len(DATA))
        proxy.go_silent()
        writer.write_eof()
        await asyncio.sleep(0.05)
        assert not far.ended.is_set()
        proxy.heal()
        async with asyncio.timeout(5):
            await far.ended.wait()


@in_virtual_time
async def test_a_line_may_go_silent_and_recover() -> None:
    async with (
        server(b"") as far,
        FaultProxy("127.0.0.1", far.port) as proxy,
        client(proxy.port) as (_, writer),
    ):
        writer.write(b"one")
        await asyncio.sleep(0.05)
        proxy.go_silent()
        writer.write(b"two")
        await asyncio.sleep(0.05)
        proxy.heal()
        writer.write(b"three")
        writer.write_eof()
        await far.ended.wait()
        assert far.got == b"onethree"


@pytest.mark.parametrize("piece", [1, 100, 1448])
async def test_split_hands_over_pieces_of_that_size(piece: int) -> None:
    async with (
        server(DATA[:2000]) as far,
        FaultProxy("127.0.0.1", far.port, to_client=Line(piece=piece)) as proxy,
        client(proxy.port) as (reader, _),
    ):
        pieces = await read_pieces(reader, 2000)
        assert b"".join(pieces) == DATA[:2000]
        assert len(pieces) >= 2000 / piece / 2


def test_coalesce_hands_over_all_at_once() -> None:
    async def main() -> list[bytes]:
        async with (
            server(b"") as far,
            FaultProxy("127.0.0.1", far.port, to_server=Line(coalesce_s=2)) as proxy,
            client(proxy.port) as (_, writer),
        ):
            seen = []
            for number in range(6):
                writer.write(bytes([number]))
                await asyncio.sleep(0.5)
                seen.append(far.got)
            writer.write_eof()
            await far.ended.wait()
            return [*seen, far.got]

    seen = run(main())
    assert seen[2] == b""
    assert len(seen[4]) >= 4
    assert seen[-1] == bytes(range(6))


def test_latency_delays_and_keeps_the_order() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with (
            server(close=True) as far,
            FaultProxy("127.0.0.1", far.port, to_client=Line(latency_s=0.3)) as proxy,
            client(proxy.port) as (reader, _),
        ):
            before = loop.time()
            assert await reader.read() == DATA
            return loop.time() - before

    assert run(main()) == pytest.approx(0.3, abs=0.05)


def test_a_rate_is_kept() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with (
            server(close=True) as far,
            FaultProxy("127.0.0.1", far.port, to_client=Line(bytes_per_s=2500)) as proxy,
            client(proxy.port) as (reader, _),
        ):
            before = loop.time()
            assert await reader.read() == DATA
            return loop.time() - before

    assert run(main()) == pytest.approx(4.0, abs=0.2)


@in_virtual_time
async def test_a_slow_line_holds_the_sender_back() -> None:
    """Nothing grows without bound between a fast sender and a slow line."""
    async with (
        server(bytes(8 << 20)) as far,
        FaultProxy("127.0.0.1", far.port, to_client=Line(bytes_per_s=1000)) as proxy,
        client(proxy.port) as (reader, _),
    ):
        await asyncio.sleep(0.2)
        assert await reader.read(100)
        assert proxy.carried[0] < 2000


async def test_a_server_that_is_not_there_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with FaultProxy("127.0.0.1", port) as proxy, client(proxy.port) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_tls_passes_through_byte_by_byte() -> None:
    authority = Authority()
    trusting = ssl.create_default_context(cadata=authority.certificate)
    async with (
        server(DATA, tls=authority.server_context("localhost")) as far,
        FaultProxy("127.0.0.1", far.port, to_client=Line(piece=1)) as proxy,
    ):
        sock = socket.create_connection(("127.0.0.1", proxy.port))
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=trusting, server_hostname="localhost"
        )
        assert await reader.readexactly(len(DATA)) == DATA
        writer.close()
        await writer.wait_closed()


async def test_its_faults_are_reported() -> None:
    said: list[str] = []
    async with FaultProxy("127.0.0.1", 9, say=said.append) as proxy:
        proxy.cut()
        proxy.reset()
        proxy.go_silent()
        proxy.heal()
    assert said == [
        "the line was cut",
        "the line was reset",
        "the line went silent",
        "the line is good again",
    ]


def test_every_bad_line_is_described_for_a_person() -> None:
    for name, (reason, line) in BAD_LINES.items():
        assert name
        assert reason
        assert line != GOOD


@in_virtual_time
async def test_stranded_connections_are_half_open_and_new_ones_are_well() -> None:
    async with (
        server(b"") as far,
        FaultProxy("127.0.0.1", far.port) as proxy,
        client(proxy.port) as (reader, writer),
    ):
        writer.write(b"one")
        await asyncio.sleep(0.05)
        proxy.half_open()
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.1)
        async with client(proxy.port) as (_, other):
            other.write(b"three")
            await asyncio.sleep(0.05)
            other.write_eof()
            await far.ended.wait()
        assert far.got == b"onethree"


async def test_a_port_that_refuses_can_be_opened_again() -> None:
    async with server(DATA) as far, FaultProxy("127.0.0.1", far.port) as proxy:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.listen()
        async with client(proxy.port) as (reader, _):
            assert await reader.readexactly(len(DATA)) == DATA
