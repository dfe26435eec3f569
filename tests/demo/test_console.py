"""The output of the demonstration: a picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from tests.support.demo_states import BEFORE, STREAMING, refused
from tests.support.terminal import Screen
from ztpd.demo.console import Console, LiveConsole, open_console


class Terminal:
    """A pseudo-terminal and its screen."""

    def __init__(self, columns: int, rows: int, encoding: str = "utf-8") -> None:
        self._device, host = os.openpty()
        os.set_blocking(self._device, False)
        self.stream: TextIO = os.fdopen(host, "w", encoding=encoding)
        self.screen = Screen(columns, rows, encoding)
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._device, termios.TIOCSWINSZ, size)
        self.screen.resize(columns, rows)

    def look(self) -> Screen:
        data = b""
        while True:
            try:
                data += os.read(self._device, 65536)
            except BlockingIOError:
                break
        self.screen.feed(data)
        return self.screen

    def close(self) -> None:
        self.stream.close()
        os.close(self._device)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(60, 24)
    yield terminal
    terminal.close()


def test_the_picture_fills_in_place(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.show(BEFORE)
    before = terminal.look()
    assert before.on_own_page
    assert not before.has_cursor
    assert "▸ modem      reads the IMEI" in before.text
    console.show(STREAMING)
    after = terminal.look()
    assert "✓ fix        RTK fixed, 0.014 m, 24 satellites" in after.text
    assert "reads the IMEI" not in after.text
    assert after.text.count("modem") == 1
    assert after.scrolled == 0


def test_a_refusal_is_red_and_a_link_that_works_is_green(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.show(refused("ztp.refused.token", "the service does not accept the token", "mend it"))
    assert terminal.look().style_of("✗ ZTP") == "31"
    console.show(STREAMING)
    assert terminal.look().style_of("✓ ZTP") == "32"


@pytest.mark.parametrize(("columns", "rows"), [(100, 40), (60, 16), (40, 12), (12, 4), (1, 1)])
def test_another_size_leaves_no_remains(terminal: Terminal, columns: int, rows: int) -> None:
    console = LiveConsole(terminal.stream)
    console.show(STREAMING)
    terminal.look()
    terminal.resize(columns, rows)
    console.redraw()
    resized = terminal.look()
    assert resized.scrolled == 0
    assert resized.text.count("ztpd demo") <= 1
    assert resized.text.count("✓") <= 6
    if columns >= 60:
        assert "✓ fix        RTK fixed" in resized.text


def test_the_end_gives_the_terminal_back_with_the_chain(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.show(STREAMING)
    console.close()
    console.close()
    console.tell("demo", "done after 9.0 s")
    left = terminal.look()
    assert not left.on_own_page
    assert left.has_cursor
    assert left.text.count("✓") == 6
    assert "demo      done after 9.0 s" in left.text


def test_ctrl_z_gives_the_terminal_back_until_the_demo_goes_on(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.show(STREAMING)
    console.pause()
    paused = terminal.look()
    assert (paused.on_own_page, paused.has_cursor, paused.text.strip()) == (False, True, "")
    console.redraw()
    again = terminal.look()
    assert (again.on_own_page, again.has_cursor) == (True, False)
    assert again.text.count("✓") == 6


def test_words_of_the_simulators_are_left_out_of_the_picture(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.tell("receiver", "took 3 settings")
    console.tell("ztpd", "the receiver uses the corrections")
    shown = terminal.look().text
    assert "took 3 settings" not in shown
    assert "the receiver uses the corrections" in shown


def test_a_terminal_without_unicode_gets_ascii() -> None:
    terminal = Terminal(60, 24, "latin-1")
    console = LiveConsole(terminal.stream)
    console.show(STREAMING)
    shown = terminal.look().text
    terminal.close()
    assert "+ fix        RTK fixed" in shown


@pytest.mark.parametrize(
    "environ", [{}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}], ids=str
)
def test_a_terminal_that_cannot_or_shall_not_show_it_gets_lines(
    terminal: Terminal, environ: dict[str, str]
) -> None:
    console = open_console(terminal.stream, environ)
    console.name_commands(("/tmp/d/ztpd status",))
    console.show(STREAMING)
    console.tell("ztpd", "the receiver uses the corrections")
    console.close()
    shown = terminal.look()
    assert not shown.on_own_page
    assert "s  demo      in a second terminal: /tmp/d/ztpd status" in shown.text
    assert "s  ztpd      the receiver uses the corrections" in shown.text
    assert shown.style_of("the receiver uses") == ""


def test_a_terminal_with_colours_gets_the_picture(terminal: Terminal) -> None:
    assert type(open_console(terminal.stream, {"TERM": "xterm"})) is LiveConsole


def test_a_pipe_gets_lines() -> None:
    assert type(open_console(io.StringIO(), {"TERM": "xterm"})) is Console
