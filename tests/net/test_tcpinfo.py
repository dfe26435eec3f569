"""The kernel's count of a connection's bytes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.ipv6 import needs_ipv6
from ztpd.net.tcpinfo import ip_bytes


@pytest.fixture(params=["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with (
        socket.create_server((request.param, 0), family=family) as listening,
        socket.create_connection(listening.getsockname()[:2]) as client,
    ):
        served, _ = listening.accept()
        with served:
            yield client, served


def test_content_headers_and_acknowledgements_count_both_ways(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, served = pair
    opened = ip_bytes(client)
    assert opened is not None
    assert 100 < opened < 300, "the handshake"

    served.sendall(bytes(100_000))
    left = 100_000
    while left:
        left -= len(client.recv(65_536))
    client.sendall(bytes(5000))
    served.recv(5000, socket.MSG_WAITALL)

    counted = ip_bytes(client)
    assert counted is not None
    assert 105_000 < counted - opened < 120_000


def test_a_closed_connection_has_no_count(pair: tuple[socket.socket, socket.socket]) -> None:
    client, _ = pair
    client.close()
    assert ip_bytes(client) is None
    assert ip_bytes(None) is None


def test_a_socket_without_tcp_has_no_count() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert ip_bytes(one) is None
