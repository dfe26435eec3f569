"""The simulated modem follows its model, on every kind of line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import virtualtime
from ztpd.sim import modem as sim
from ztpd.sim.modem import NAMED, Engine, Hang, ModemModel, Refuse, Say, SimModem, Unplug, Wait

PLAIN = ModemModel("plain", {"AT+CGSN=1": NAMED, "AT+CGSN": sim.BARE})


class Host:
    """A person at a terminal program, who waits a second for each answer."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def ask(self, text: str) -> str:
        os.write(self._fd, text.encode())
        await asyncio.sleep(1)
        answer = b""
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self._fd, 65536):
                answer += more
        return answer.decode("latin-1")


@contextlib.asynccontextmanager
async def host(path: str) -> AsyncIterator[Host]:
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield Host(fd)
    finally:
        os.close(fd)


def said(tmp_path: Path, model: ModemModel, *texts: str, scale: float = 1.0) -> list[str]:
    async def scenario() -> list[str]:
        modem = SimModem(tmp_path / "modem", model, scale=scale)
        async with modem, host(modem.path) as person:
            return [await person.ask(text) for text in texts]

    return virtualtime.run(scenario())


def test_answers_are_framed_and_bytes_literal(tmp_path: Path) -> None:
    model = replace(PLAIN, answers={"ATX": b"\x00raw", "ATI": Say("one\ntwo")})
    assert said(tmp_path, model, "at\r", "ATI\r", "ATX\r", "AT+NONE\r") == [
        "\r\nOK\r\n",
        "\r\none\r\n\r\ntwo\r\n\r\nOK\r\n",
        "\x00raw",
        "\r\nERROR\r\n",
    ]


def test_echo_and_words_are_switched(tmp_path: Path) -> None:
    model = replace(PLAIN, echo=True)
    assert said(tmp_path, model, "AT\r", "ATE0\r", "ATV0\r", "AT\r", "AT+NONE\r") == [
        "AT\r\r\nOK\r\n",
        "ATE0\r\r\nOK\r\n",
        "0\r",
        "0\r",
        "4\r",
    ]


def test_errors_have_three_forms(tmp_path: Path) -> None:
    model = replace(PLAIN, answers={"AT+CGSN": Refuse(13)})
    texts = ["AT+CGSN\r", "AT+CMEE=1\r", "AT+CGSN\r", "AT+CMEE=2\r", "AT+CGSN\r"]
    assert said(tmp_path, model, *texts)[::2] == [
        "\r\nERROR\r\n",
        "\r\n+CME ERROR: 13\r\n",
        "\r\n+CME ERROR: SIM failure\r\n",
    ]


def test_the_nth_call_takes_the_nth_answer_and_then_the_last(tmp_path: Path) -> None:
    model = replace(PLAIN, answers={"ATI": [Say("first"), Say("then")]})
    answers = said(tmp_path, model, "ATI\r", "ATI\r", "ATI\r")
    assert ["first" in answer for answer in answers] == [True, False, False]
    assert ["then" in answer for answer in answers] == [False, True, True]


@pytest.mark.parametrize(("boot_s", "scale"), [(2.5, 1.0), (25, 0.1)])
def test_a_modem_is_deaf_while_it_starts_and_then_says_its_banner(
    tmp_path: Path, boot_s: float, scale: float
) -> None:
    model = replace(PLAIN, boot_s=boot_s, banner=("RDY",))
    answers = said(tmp_path, model, "AT\r", "AT\r", "", "AT\r", scale=scale)
    assert answers == ["", "", "\r\nRDY\r\n", "\r\nOK\r\n"]


def test_chunks_have_gaps_between_them(tmp_path: Path) -> None:
    model = replace(PLAIN, chunk_bytes=2, gap_s=0.7)
    assert said(tmp_path, model, "AT\r", "", "") == ["\r\nOK", "\r\n", ""]


def test_commands_wait_for_their_turn(tmp_path: Path) -> None:
    model = replace(PLAIN, answers={"ATI": (Wait(1.5), Say("late"))})
    assert said(tmp_path, model, "ATI\r", "AT\r") == ["", "\r\nlate\r\n\r\nOK\r\n\r\nOK\r\n"]


def test_a_modem_that_hangs_says_nothing_more(tmp_path: Path) -> None:
    model = replace(PLAIN, answers={"ATI": Hang()})
    assert said(tmp_path, model, "AT\r", "ATI\r", "AT\r") == ["\r\nOK\r\n", "", ""]


def test_another_speed_gives_noise(tmp_path: Path) -> None:
    (answer,) = said(tmp_path, replace(PLAIN, baudrate=9600), "AT\r")
    assert len(answer) == 40
    assert not answer.isascii()


def test_unplugged_it_is_back_behind_the_same_name_and_starts_again(tmp_path: Path) -> None:
    model = replace(PLAIN, answers={"ATI": Unplug(10)}, banner=("RDY",))
    story: list[str] = []

    async def scenario() -> None:
        async with SimModem(tmp_path / "modem", model, say=story.append) as modem:
            async with host(modem.path) as person:
                assert await person.ask("ATI\r") == ""
                with pytest.raises(OSError, match="Input/output"):
                    await person.ask("AT\r")
            assert not os.path.lexists(modem.path)
            await asyncio.sleep(10)
            async with host(modem.path) as person:
                assert await person.ask("AT\r") == "\r\nRDY\r\n\r\nOK\r\n"

    virtualtime.run(scenario())
    assert story[:2] == ["modem is unplugged", "modem is back"]
    assert story[-1] == "modem answered AT"


def test_commands_that_change_a_modem_are_noted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SimModem(tmp_path / "modem", PLAIN) as modem, host(modem.path) as person:
            await person.ask("AT\rATZ\rAT+IPR=9600\r+++")
            assert modem.commands == ["AT", "ATZ", "AT+IPR=9600", "+++"]
            assert modem.engine.forbidden == ["ATZ", "AT+IPR=9600", "+++"]

    virtualtime.run(scenario())


class Stream:
    """Another line than a pty, such as ModemManager's test interface offers."""

    baudrate = 0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def plug(self) -> None: ...

    def unplug(self) -> None:
        self._writer.close()

    async def read(self, limit: int = 4096) -> bytes:
        return await self._reader.read(limit)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)


async def test_the_engine_plays_on_a_socket_until_it_is_closed() -> None:
    host_end, modem_end = socket.socketpair()
    line = Stream(*await asyncio.open_connection(sock=modem_end))
    playing = asyncio.create_task(Engine(sim.SARA_R5, line).run())
    reader, writer = await asyncio.open_connection(sock=host_end)
    writer.write(b"AT+CGSN=1\r")
    answer = await reader.readuntil(b"OK\r\n")
    assert answer == b'AT+CGSN=1\r\r\n+CGSN: "490154203237518"\r\n\r\nOK\r\n'
    writer.close()
    await playing
    line.unplug()
    await writer.wait_closed()
