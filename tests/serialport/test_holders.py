"""The processes that hold a serial port."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from ztpd.serialport import holders


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal: the device's and the host's."""
    device, host = os.openpty()
    yield device, host
    os.close(device)
    os.close(host)


def test_the_process_that_simulates_a_device_does_not_hold_its_port(pair: tuple[int, int]) -> None:
    assert holders.pids_of(os.ttyname(pair[1])) == []


def test_a_program_that_reads_the_port_of_a_simulated_device_holds_it(
    pair: tuple[int, int],
) -> None:
    with subprocess.Popen(["sleep", "60"], stdin=pair[1]) as reader:
        try:
            assert holders.pids_of(os.ttyname(pair[1])) == [reader.pid]
        finally:
            reader.kill()


def test_a_simulator_of_another_port_holds_this_one(pair: tuple[int, int]) -> None:
    """The index of the other end is compared, not only its kind."""
    other, mine = os.openpty()
    try:
        with subprocess.Popen(["sleep", "60"], stdin=pair[1], stdout=other) as reader:
            try:
                assert holders.pids_of(os.ttyname(pair[1])) == [reader.pid]
            finally:
                reader.kill()
    finally:
        os.close(other)
        os.close(mine)
