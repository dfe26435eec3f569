"""A connection by the first address that answers."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ipv6 import needs_ipv6
from tests.support.virtualtime import run
from ztpd.errors import HostFiltered, ResolveFailed, Retry, ZtpHostNotAllowed
from ztpd.net import dial as dialling
from ztpd.net.dial import dial, farthest, on_trial
from ztpd.net.resolve import RESOLVE_S, Address, Resolver, resolve


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


async def connect(
    host: str, port: int, *, resolver: Resolver | None = None, within_s: float = 10
) -> socket.socket:
    unknown_routes = Path("/nonexistent")  # whatever network this machine has
    addresses = await resolve(host, port, resolver=resolver, proc=unknown_routes)
    return (await dial(addresses, within_s=within_s)).sock


class NoExecutor(ThreadPoolExecutor):
    """asyncio's own way of resolving never ends its threads, so nothing may use it."""

    def submit(self, *_: Any, **__: Any) -> Any:
        pytest.fail("the event loop's executor was used")


async def test_a_connection_is_non_blocking_and_to_the_host(listener: socket.socket) -> None:
    with await connect("127.0.0.1", listener.getsockname()[1]) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert not sock.getblocking()


async def test_a_refused_address_gives_way_to_the_next(listener: socket.socket) -> None:
    resolver = resolves_to(["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    with await connect("broker.invalid", listener.getsockname()[1], resolver=resolver) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL])
async def test_N02_a_name_that_leads_nowhere_is_a_dns_failure(code: int) -> None:
    resolver = resolves_to(socket.gaierror(code, "no such luck"))
    with pytest.raises(ResolveFailed, match=r"broker\.invalid: no such luck"):
        await connect("broker.invalid", 8883, resolver=resolver)


async def test_N02_a_failure_to_resolve_is_not_remembered(listener: socket.socket) -> None:
    resolver = resolves_to(socket.gaierror(socket.EAI_NONAME, "not yet"), ["127.0.0.1"])
    port = listener.getsockname()[1]
    with pytest.raises(ResolveFailed):
        await connect("broker.invalid", port, resolver=resolver)
    (await connect("broker.invalid", port, resolver=resolver)).close()


def test_N03_FR20_a_resolver_that_hangs_is_given_up_later_than_glibc_gives_up() -> None:
    over = threading.Event()

    def resolver(*_: object) -> list[Any]:
        over.wait()
        return []

    async def main() -> float:
        with pytest.raises(ResolveFailed, match="within 45 s"):
            await connect("broker.invalid", 8883, resolver=resolver)
        return asyncio.get_running_loop().time()

    assert run(main()) == RESOLVE_S > 2 * 3 * 5, "two attempts with three name servers, 5 s each"
    over.set()


@pytest.mark.parametrize(
    "order", [["127.0.0.2", "127.0.0.1"], ["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.1"]]
)
def test_N04_a_dead_address_costs_a_quarter_of_a_second(order: list[str]) -> None:
    async def main(port: int) -> float:
        with await connect("broker.invalid", port, resolver=resolves_to(order)) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return asyncio.get_running_loop().time()

    with (
        socket.create_server(("127.0.0.1", 0)) as alive,
        socket.create_server(("127.0.0.2", alive.getsockname()[1]), backlog=0) as dead,
        socket.create_connection(dead.getsockname()),  # the queue is full: no answer to a SYN
    ):
        assert run(main(alive.getsockname()[1])) == pytest.approx(0.25 * (len(order) - 1))
    gc.collect()  # an unclosed socket would warn


@needs_ipv6
def test_N04_a_dead_ipv6_is_followed_by_ipv4_in_any_order() -> None:
    async def main(port: int) -> float:
        resolver = resolves_to([*["::1"] * 6, "127.0.0.1"])
        with await connect("broker.invalid", port, resolver=resolver) as sock:
            assert sock.family is socket.AF_INET
        return asyncio.get_running_loop().time()

    with (
        socket.create_server(("127.0.0.1", 0)) as alive,
        socket.create_server(
            ("::1", alive.getsockname()[1]), family=socket.AF_INET6, backlog=0
        ) as dead,
        socket.create_connection(dead.getsockname()[:2]),
    ):
        assert run(main(alive.getsockname()[1])) < 2


async def test_N05_the_name_is_resolved_each_time(listener: socket.socket) -> None:
    resolver = resolves_to(["127.0.0.9"], ["127.0.0.1"])
    port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await connect("broker.invalid", port, resolver=resolver)
    with await connect("broker.invalid", port, resolver=resolver) as sock:
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
        await connect("broker.local", there.getsockname()[1], resolver=resolver) as sock,
    ):
        assert sock.getpeername()[0] == "::1"


async def test_a_refusal_is_raised_when_no_address_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await connect("broker.invalid", port, resolver=resolves_to(["127.0.0.1", "127.0.0.2"]))


async def test_a_name_without_an_address_is_a_dns_failure() -> None:
    with pytest.raises(ResolveFailed, match="no address"):
        await connect("broker.invalid", 8883, resolver=resolves_to([]))


@pytest.mark.parametrize("name", ["a" * 64 + ".invalid", "two..dots.invalid"])
async def test_a_name_that_cannot_be_one_is_not_found(name: str) -> None:
    with pytest.raises(ResolveFailed):
        await resolve(name, 8883)


async def test_giving_up_leaves_nothing_behind() -> None:
    with (
        socket.create_server(("127.0.0.2", 0), backlog=0) as dead,
        socket.create_connection(dead.getsockname()),
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connect("127.0.0.2", dead.getsockname()[1])
        assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()


@pytest.fixture
def dead() -> Iterator[socket.socket]:
    """A listener whose queue is full: a SYN to it is not answered."""
    with (
        socket.create_server(("127.0.0.2", 0), backlog=0) as sock,
        socket.create_connection(sock.getsockname()),
    ):
        yield sock


@pytest.mark.parametrize("order", [["127.0.0.2", "127.0.0.3"], ["127.0.0.3", "127.0.0.2"]])
async def test_FR21_a_refusal_is_preferred_to_silence(
    dead: socket.socket, order: list[str]
) -> None:
    with pytest.raises(ConnectionRefusedError):
        await connect(
            "broker.invalid", dead.getsockname()[1], resolver=resolves_to(order), within_s=0.6
        )


async def test_FR21_silence_alone_is_a_time_out(dead: socket.socket) -> None:
    with pytest.raises(TimeoutError):
        await connect("127.0.0.2", dead.getsockname()[1], within_s=0.3)


FAILURES: list[list[OSError]] = [
    [ConnectionRefusedError(errno.ECONNREFUSED, ""), ConnectionResetError(errno.ECONNRESET, "")],
    [TimeoutError(), TimeoutError(errno.ETIMEDOUT, "")],
    [OSError(errno.EMFILE, ""), PermissionError(errno.EPERM, "")],
    [OSError(errno.ENETUNREACH, ""), OSError(errno.EHOSTUNREACH, "")],
]
"""The farthest first."""


@given(st.data())
def test_FR21_the_failure_that_got_farthest_decides_in_any_order(data: st.DataObject) -> None:
    steps = data.draw(
        st.lists(st.sampled_from(range(len(FAILURES))), min_size=1, max_size=4, unique=True)
    )
    failures = [data.draw(st.sampled_from(FAILURES[step])) for step in steps]
    assert farthest(failures) in FAILURES[min(steps)]


async def test_FR114_an_address_that_failed_goes_last_for_a_while(
    listener: socket.socket,
) -> None:
    port = listener.getsockname()[1]
    with socket.create_server(("127.0.0.2", port)) as silent:
        resolver = resolves_to(["127.0.0.2", "127.0.0.1"])
        addresses = await resolve("caster.invalid", port, resolver=resolver)
        sock, address = await dial(addresses)
        with pytest.raises(TimeoutError), on_trial(address):
            raise TimeoutError
        sock.close()
        assert address.place == silent.getsockname()

        sock, address = await dial(addresses)
        sock.close()
        assert address.place == listener.getsockname()


def test_FR114_after_ten_minutes_the_order_of_the_resolver_counts_again() -> None:
    async def scenario() -> list[str]:
        hosts = []
        with socket.create_server(("127.0.0.1", 0)) as here:
            port = here.getsockname()[1]
            with socket.create_server(("127.0.0.2", port)):
                addresses = await resolve(
                    "x.invalid", port, resolver=resolves_to(["127.0.0.2", "127.0.0.1"])
                )
                for wait_s in (0, 599, 2):
                    await asyncio.sleep(wait_s)
                    sock, address = await dial(addresses)
                    sock.close()
                    hosts.append(address.place[0])
                    if wait_s == 0:
                        with pytest.raises(OSError), on_trial(address):
                            raise ConnectionResetError
        return hosts

    assert run(scenario()) == ["127.0.0.2", "127.0.0.1", "127.0.0.2"]


async def test_FR114_where_every_address_failed_each_is_tried(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    addresses = await resolve("127.0.0.1", port)
    for _ in range(2):
        sock, address = await dial(addresses)
        sock.close()
        with pytest.raises(TimeoutError), on_trial(address):
            raise TimeoutError


async def test_FR114_the_memory_of_failures_is_bounded() -> None:
    for number in range(200):
        address = Address(socket.AF_INET, (f"127.0.1.{number}", 1))
        with pytest.raises(TimeoutError), on_trial(address):
            raise TimeoutError
    assert len(dialling._failed_s) == 64


async def test_FR114_older_failures_from_another_process_displace_no_newer_one() -> None:
    older = [["127.0.1.1", port, float(port)] for port in range(1, 65)]
    dialling.restore(older)

    dialling.restore([["127.0.0.1", 1, 100.0]])
    dialling.restore(older)

    assert ["127.0.0.1", 1, 100.0] in dialling.failures()


@pytest.mark.parametrize("here", ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "169.254.1.1"])
async def test_FR93_a_name_of_an_answer_that_leads_to_this_machine_is_refused(here: str) -> None:
    with pytest.raises(ZtpHostNotAllowed, match=f"caster.invalid is {here}"):
        await resolve("caster.invalid", 2102, public_only=True, resolver=resolves_to([here]))
    assert await resolve("caster.invalid", 2102, resolver=resolves_to([here])), "else it is fine"


async def test_FR93_an_address_of_this_machine_beside_a_public_one_is_passed_over() -> None:
    resolver = resolves_to(["127.0.0.1", "192.0.2.1"])
    addresses = await resolve("caster.invalid", 2102, public_only=True, resolver=resolver)
    assert [each.place[0] for each in addresses] == ["192.0.2.1"]


@pytest.mark.parametrize(
    "inner", ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1"]
)
async def test_FR93_a_public_name_may_lead_to_a_private_range(inner: str) -> None:
    """docs/decisions/0008: a private APN or a VPN has its own name server."""
    resolver = resolves_to([inner])
    (found,) = await resolve("caster.invalid", 2102, public_only=True, resolver=resolver)
    assert found.place[0] == inner


async def test_FR93_localhost_itself_is_no_public_name() -> None:
    with pytest.raises(ZtpHostNotAllowed):
        await resolve("localhost", 2102, public_only=True)


@pytest.mark.parametrize("nowhere", ["0.0.0.0", "::"])
async def test_N02_a_name_server_that_hides_a_name_is_named_and_asked_again_soon(
    nowhere: str,
) -> None:
    """As a DNS filter does, and a router that has no uplink yet."""
    resolver = resolves_to([nowhere])
    with pytest.raises(HostFiltered, match=f"caster.invalid is {nowhere}") as refused:
        await resolve("caster.invalid", 2102, public_only=True, resolver=resolver)
    assert refused.value.retry is Retry.LOCAL
    with pytest.raises(ResolveFailed, match=f"{nowhere} leads nowhere") as failed:
        await connect("caster.invalid", 1, resolver=resolver)
    assert "filter" in failed.value.advice
