"""A connection by whichever address answers first."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ztpd.sources.dial import dial


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """What the system's resolver says, in its order."""
    real = socket.getaddrinfo

    def found(_host: str, port: int, *_: Any) -> list[Any]:
        return [entry for each in addresses for entry in real(each, port, 0, socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


async def test_a_connection_is_non_blocking_and_to_the_host(listener: socket.socket) -> None:
    with await dial("127.0.0.1", listener.getsockname()[1]) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert not sock.getblocking()


async def test_a_refused_address_gives_way_to_the_next(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves_to(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.1")
    with await dial("broker.invalid", listener.getsockname()[1]) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


async def test_N04_a_dead_address_costs_a_quarter_of_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as alive,
        socket.create_server(("127.0.0.2", alive.getsockname()[1]), backlog=0) as dead,
        socket.create_connection(dead.getsockname()),  # the queue is full: no answer to a SYN
    ):
        resolves_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        began_s = asyncio.get_running_loop().time()
        with await dial("broker.invalid", alive.getsockname()[1]) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        assert 0.2 < asyncio.get_running_loop().time() - began_s < 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()  # an unclosed socket would warn


async def test_the_first_failure_is_told_when_nothing_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    with pytest.raises(ConnectionRefusedError):
        await dial("broker.invalid", port)


@pytest.mark.parametrize("name", ["a" * 64 + ".invalid", "two..dots.invalid"])
async def test_a_name_that_cannot_be_one_is_not_found(name: str) -> None:
    with pytest.raises(socket.gaierror):
        await dial(name, 8883)


async def test_giving_up_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.2", 0), backlog=0) as dead,
        socket.create_connection(dead.getsockname()),
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await dial("127.0.0.2", dead.getsockname()[1])
        assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()
