"""A connection by whichever address answers first."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.virtualtime import run
from ztpd.errors import ResolveFailed
from ztpd.net.dial import Resolver, dial


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def resolves_to(*answers: list[str] | OSError) -> Resolver:
    """A resolver that answers so, one answer after the other; the last one repeats."""
    left = list(answers)

    def resolver(_host: str, port: int, *_: object) -> list[Any]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, OSError):
            raise answer
        numeric = (0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        return [entry for each in answer for entry in socket.getaddrinfo(each, port, *numeric)]

    return resolver


class NoExecutor(ThreadPoolExecutor):
    """asyncio's own way of resolving keeps its threads for ever, so nothing may use it."""

    def submit(self, *_: Any, **__: Any) -> Any:
        pytest.fail("the event loop's executor was used")


async def test_a_connection_is_non_blocking_and_to_the_host(listener: socket.socket) -> None:
    with await dial("127.0.0.1", listener.getsockname()[1]) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert not sock.getblocking()


async def test_a_refused_address_gives_way_to_the_next(listener: socket.socket) -> None:
    resolver = resolves_to(["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    with await dial("broker.invalid", listener.getsockname()[1], resolver=resolver) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL])
async def test_N02_a_name_that_leads_nowhere_is_a_dns_failure(code: int) -> None:
    resolver = resolves_to(socket.gaierror(code, "no such luck"))
    with pytest.raises(ResolveFailed, match=r"broker\.invalid: no such luck"):
        await dial("broker.invalid", 8883, resolver=resolver)


async def test_N02_a_failure_to_resolve_is_not_remembered(listener: socket.socket) -> None:
    resolver = resolves_to(socket.gaierror(socket.EAI_NONAME, "not yet"), ["127.0.0.1"])
    port = listener.getsockname()[1]
    with pytest.raises(ResolveFailed):
        await dial("broker.invalid", port, resolver=resolver)
    (await dial("broker.invalid", port, resolver=resolver)).close()


def test_N03_a_resolver_that_hangs_is_given_up_after_5_s() -> None:
    over = threading.Event()

    def resolver(*_: object) -> list[Any]:
        over.wait()
        return []

    async def main() -> float:
        with pytest.raises(ResolveFailed, match="within 5 s"):
            await dial("broker.invalid", 8883, resolver=resolver)
        return asyncio.get_running_loop().time()

    assert run(main()) == 5
    over.set()


@pytest.mark.parametrize(
    "order", [["127.0.0.2", "127.0.0.1"], ["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.1"]]
)
async def test_N04_a_dead_address_costs_a_quarter_of_a_second(order: list[str]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as alive,
        socket.create_server(("127.0.0.2", alive.getsockname()[1]), backlog=0) as dead,
        socket.create_connection(dead.getsockname()),  # the queue is full: no answer to a SYN
    ):
        began_s = asyncio.get_running_loop().time()
        port = alive.getsockname()[1]
        with await dial("broker.invalid", port, resolver=resolves_to(order)) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        dead_ones = len(order) - 1
        assert 0.2 * dead_ones < asyncio.get_running_loop().time() - began_s < 0.5 * dead_ones
        assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()  # an unclosed socket would warn


@needs_ipv6
async def test_N04_a_dead_ipv6_is_followed_by_ipv4_whatever_the_order() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as alive,
        socket.create_server(
            ("::1", alive.getsockname()[1]), family=socket.AF_INET6, backlog=0
        ) as dead,
        socket.create_connection(dead.getsockname()[:2]),
    ):
        began_s = asyncio.get_running_loop().time()
        resolver = resolves_to([*["::1"] * 6, "127.0.0.1"])
        with await dial("broker.invalid", alive.getsockname()[1], resolver=resolver) as sock:
            assert sock.family is socket.AF_INET
        assert asyncio.get_running_loop().time() - began_s < 2


async def test_N05_the_name_is_resolved_anew_each_time(listener: socket.socket) -> None:
    resolver = resolves_to(["127.0.0.9"], ["127.0.0.1"])
    port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await dial("broker.invalid", port, resolver=resolver)
    with await dial("broker.invalid", port, resolver=resolver) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


@needs_ipv6
async def test_a_link_local_address_keeps_its_zone_and_is_not_resolved_again() -> None:
    zone = socket.if_nametoindex("lo")

    def resolver(_host: str, port: int, *_: object) -> list[Any]:
        place = ("::1%lo", port, 0, zone)  # the form that getaddrinfo gives fe80:: addresses
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", place)]

    asyncio.get_running_loop().set_default_executor(NoExecutor())
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as there,
        await dial("broker.local", there.getsockname()[1], resolver=resolver) as sock,
    ):
        assert sock.getpeername()[0] == "::1"


async def test_the_first_failure_is_told_when_nothing_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await dial("broker.invalid", port, resolver=resolves_to(["127.0.0.1", "127.0.0.2"]))


async def test_a_name_without_an_address_is_a_dns_failure() -> None:
    with pytest.raises(ResolveFailed, match="no address"):
        await dial("broker.invalid", 8883, resolver=resolves_to([]))


@pytest.mark.parametrize("name", ["a" * 64 + ".invalid", "two..dots.invalid"])
async def test_a_name_that_cannot_be_one_is_not_found(name: str) -> None:
    with pytest.raises(ResolveFailed):
        await dial(name, 8883)


async def test_giving_up_leaves_nothing_behind() -> None:
    with (
        socket.create_server(("127.0.0.2", 0), backlog=0) as dead,
        socket.create_connection(dead.getsockname()),
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await dial("127.0.0.2", dead.getsockname()[1])
        assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()
