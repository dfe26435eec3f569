"""How long a reading waits for more bytes."""

from __future__ import annotations

import pytest

from ztpd.serialport.gathering import TTY_BUFFER_BYTES, Arrival, Gathering

UART_BYTES_PER_S = 3840.0


def test_a_window_is_shorter_while_much_comes() -> None:
    """Else a receiver on USB drops messages, because the bus takes none."""
    gathering = Gathering(None)
    assert gathering.window_s(0.5) == 0.5
    gathering.on_read(1200, 10.0)
    gathering.on_read(2000, 10.1)  # 20 kB/s
    assert gathering.window_s(0.5) == pytest.approx(0.102, abs=0.001)
    gathering.on_read(1200, 11.1)  # one epoch a second
    assert gathering.window_s(0.5) == 0.5


def arrivals(gathering: Gathering, *readings: tuple[int, bool]) -> list[Arrival]:
    """After readings of so many bytes, each ended early or not."""
    found = []
    for number, (size_bytes, early) in enumerate(readings):
        gathering.window_s(0.1)
        gathering.on_read(size_bytes, float(number), early=early)
        found.append(gathering.arrival)
    return found


def test_a_window_that_was_full_of_bytes_is_followed_by_the_next_one() -> None:
    gathering = Gathering(UART_BYTES_PER_S)
    found = arrivals(gathering, (384, False), (200, False))
    assert found == [Arrival.FLOWING, Arrival.PAUSED]


@pytest.mark.parametrize("line_bytes_per_s", [UART_BYTES_PER_S, None])
def test_a_window_that_was_ended_early_is_followed_by_the_next_one(
    line_bytes_per_s: float | None,
) -> None:
    found = arrivals(Gathering(line_bytes_per_s), (10, True), (0, False))
    assert found == [Arrival.FLOWING, Arrival.PAUSED]


def test_after_a_reading_that_was_full_the_rest_is_read_at_once() -> None:
    full = TTY_BUFFER_BYTES - 1
    assert arrivals(Gathering(UART_BYTES_PER_S), (full, False)) == [Arrival.BEHIND]
