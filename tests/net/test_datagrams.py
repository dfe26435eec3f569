"""Datagrams to a program on this machine: whole, at once, and nothing comes back in."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ztpd.errors import OutputError
from ztpd.net.datagrams import DatagramTarget


@contextlib.contextmanager
def listener(family: int = socket.AF_INET, port: int = 0) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        bound.setblocking(False)
        yield bound


@contextlib.contextmanager
def sender(bound: socket.socket) -> Iterator[DatagramTarget]:
    host, port = bound.getsockname()[:2]
    target = DatagramTarget(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    target.open()
    try:
        yield target
    finally:
        target.close()


def received(bound: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(bound.recv(65536))
    return found


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_each_frame_is_one_datagram(family: int) -> None:
    with listener(family) as bound, sender(bound) as target:
        longest = bytes(8200)
        for frame in (b"one", b"\0two\r\n", longest):
            target.write_frame(frame)
        assert received(bound) == [b"one", b"\0two\r\n", longest]


def test_a_program_that_starts_later_misses_no_frame_from_then_on() -> None:
    with listener() as bound:
        port = bound.getsockname()[1]
        with sender(bound) as target:
            bound.close()
            for _ in range(3):
                target.write_frame(b"nobody reads this")
            with listener(port=port) as late:
                target.write_frame(b"first")
                target.write_frame(b"second")
                assert received(late) == [b"first", b"second"]


def test_a_reader_that_never_reads_delays_nothing_and_loses_whole_frames() -> None:
    with listener() as bound, sender(bound) as target:
        for number in range(5000):
            target.write_frame(b"%04d" % number * 250)
        assert 0 < len(found := received(bound)) < 5000
        assert found == [b"%04d" % number * 250 for number in range(len(found))]
        target.write_frame(b"afterwards")
        assert received(bound) == [b"afterwards"]


def test_the_socket_takes_nothing_from_any_other_place() -> None:
    with listener() as bound, sender(bound) as target, listener() as stranger:
        target.write_frame(b"x")
        _, where = bound.recvfrom(10)
        stranger.connect(where)
        stranger.send(b"take this")
        with pytest.raises(ConnectionRefusedError):
            stranger.send(b"and this")


def test_no_socket_listens() -> None:
    """`ss --listening` shows UDP sockets without a peer."""
    with listener() as bound, sender(bound) as target:
        target.write_frame(b"x")
        _, (_, own_port) = bound.recvfrom(10)
        rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
        (row,) = [each for each in rows if each[1].endswith(f":{own_port:04X}")]
        assert row[2] == f"0100007F:{bound.getsockname()[1]:04X}", "it has a peer"
        assert row[3] == "01", "ESTABLISHED"


def test_a_host_without_that_address_is_an_error_with_its_name() -> None:
    target = DatagramTarget("127.255.255.255:10110")
    with pytest.raises(OutputError, match=r"udp 127\.255\.255\.255:10110: "):
        target.open()
    assert not target.is_open


def test_a_frame_too_long_for_a_datagram_is_an_error() -> None:
    with listener() as bound, sender(bound) as target:
        with pytest.raises(OutputError, match="too long"):
            target.write_frame(bytes(70_000))
        target.write_frame(b"x")
        assert received(bound) == [b"x"]


def test_a_closed_target_can_be_opened_again() -> None:
    with listener() as bound, sender(bound) as target:
        target.close()
        target.write_frame(b"lost")
        target.open()
        target.open()
        target.write_frame(b"x")
        assert received(bound) == [b"x"]
