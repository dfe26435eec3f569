"""A simulated AT modem: models as data, an engine that plays them, a pty for it.

The answers of a model are literal, since modems differ in details: echo, blank lines, quotes, a
wrong number in the place of the right one. See docs/modems.md.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ztpd.sim.pty import Pty

FORBIDDEN = ("ATZ", "AT&F", "AT&W", "AT+IPR", "AT+CFUN", "+++")
"""Commands that change the modem for other programs; ztpd must never send them."""

_CME_TEXTS = {
    4: "operation not supported",
    10: "SIM not inserted",
    11: "SIM PIN required",
    13: "SIM failure",
    14: "SIM busy",
    50: "Incorrect parameters",
}


@dataclass(frozen=True, slots=True)
class Say:
    """Information lines, divided by line feeds, and a final result code. The engine replaces
    ``{imei}`` by the number of the model."""

    text: str = ""
    final: str = "OK"


@dataclass(frozen=True, slots=True)
class Refuse:
    """A +CME ERROR, in the form that AT+CMEE chose (3GPP TS 27.007 section 9.2)."""

    code: int


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Unplug:
    """The port vanishes; after ``seconds`` the modem is back, restarted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """The modem answers nothing from now on."""


Step = Say | Refuse | Wait | Unplug | Hang | bytes
"""``bytes`` are sent as they are."""
Reply = Step | tuple[Step, ...]

ERROR = Say(final="ERROR")
BARE = Say("{imei}")
NAMED = Say('+CGSN: "{imei}"')


@dataclass(frozen=True)
class ModemModel:
    """The behaviour of one modem. Times are in seconds."""

    name: str
    answers: Mapping[
        str, Reply | list[Reply]
    ]  # of a list, the nth call gets the nth answer, then always the last
    imei: str = "490154203237518"
    echo: bool = False
    verbose: bool = True  # ATV1: result codes as words
    boot_s: float = 0.0  # time without answers after the start, then the banner
    banner: tuple[str, ...] = ()
    before: str = "\r\n"  # text before a line
    after: str = "\r\n"
    ends: bytes = b"\r"  # the end of a command line
    chunk_bytes: int = 0  # 0: all at once
    gap_s: float = 0.0  # between chunks
    baudrate: int = 0  # 0: USB, works at any speed
    training: int = 0  # number of AT lost while the modem measures the speed
    hangs: bool = False  # reads all, answers nothing: data mode, multiplexer, firmware fault
    stream: bytes = b""  # unsolicited, repeated
    stream_every_s: float = 1.0


class ModemLine(Protocol):
    """The line of an engine; :class:`ztpd.sim.pty.Pty` is one."""

    @property
    def baudrate(self) -> int: ...
    def plug(self) -> None: ...
    def unplug(self) -> None: ...
    async def read(self, limit: int = 4096) -> bytes: ...
    async def write(self, data: bytes) -> None: ...


@dataclass
class Engine:
    """One modem at work on one line. ``scale`` stretches or shortens all its times."""

    model: ModemModel
    line: ModemLine
    scale: float = 1.0
    say: Callable[[str], None] = lambda _: None
    seed: int = 0
    commands: list[str] = field(default_factory=list)
    """Every command that came, also those without an answer."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._calls: dict[str, int] = {}
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._sending = asyncio.Lock()
        self._reset()

    @property
    def forbidden(self) -> list[str]:
        """Received commands that change the modem for other programs."""
        return [command for command in self.commands if command.upper().startswith(FORBIDDEN)]

    def _reset(self) -> None:
        self._ready = self.model.boot_s == 0
        self._hung = self.model.hangs
        self._echo = self.model.echo
        self._verbose = self.model.verbose
        self._cmee = 0
        self._training = self.model.training
        self._input = b""

    async def run(self) -> None:
        """Play until cancelled, or until the line ends (a pty's does not)."""
        parts = [self._boot(), self._answer()]
        if self.model.stream:
            parts.append(self._chatter())
        async with asyncio.TaskGroup() as tasks:
            playing = [tasks.create_task(part) for part in parts]
            await self._listen()
            for task in playing:
                task.cancel()

    async def _boot(self) -> None:
        await self._sleep(self.model.boot_s)
        self._ready = True
        for line in self.model.banner:
            await self._send(self._framed(line))

    async def _chatter(self) -> None:
        while True:
            async with self._sending:
                await self.line.write(self.model.stream)
            await self._sleep(self.model.stream_every_s)

    async def _listen(self) -> None:
        while data := await self.line.read():
            *lines, self._input = (self._input + data).split(self.model.ends)
            if b"+++" in self._input:  # needs no CR
                lines.append(self._input)
                self._input = b""
            self.commands += filter(None, map(_command, lines))
            if not self._ready or self._hung:
                continue
            if self.model.baudrate not in (0, self.line.baudrate):
                await self.line.write(bytes(self._random.choices((0, 0x80, 0xF8, 0xFF), k=40)))
                continue
            for line in lines:
                if self._training == 0:
                    self._lines.put_nowait(line)
                elif _command(line):
                    self._training -= 1

    async def _answer(self) -> None:
        while True:
            line = await self._lines.get()
            if self._echo:
                await self._send(line + b"\r")
            command = _command(line)
            if not command:
                continue
            reply = self._reply(command.upper())
            for step in reply if isinstance(reply, tuple) else (reply,):
                await self._play(step)
                if self._hung:
                    break
            else:
                self.say(f"modem answered {command}")

    def _reply(self, command: str) -> Reply:
        """The model's answer, else the one common to all modems."""
        if command in self.model.answers:
            answer = self.model.answers[command]
            if not isinstance(answer, list):
                return answer
            number = self._calls.get(command, 0)
            self._calls[command] = number + 1
            return answer[min(number, len(answer) - 1)]
        match command:
            case "ATE0" | "ATE1":
                self._echo = command == "ATE1"
            case "ATV0" | "ATV1":
                self._verbose = command == "ATV1"
            case "AT+CMEE=0" | "AT+CMEE=1" | "AT+CMEE=2":
                self._cmee = int(command[-1])
            case "AT":
                pass
            case _:
                return ERROR
        return Say()

    async def _play(self, step: Step) -> None:
        match step:
            case bytes():
                await self._send(step)
            case Say():
                for line in filter(None, step.text.split("\n")):
                    await self._send(self._framed(line))
                await self._send(self._final(step.final))
            case Refuse():
                await self._send(self._final(self._cme(step.code)))
            case Wait():
                await self._sleep(step.seconds)
            case Hang():
                self._hung = True
            case Unplug():
                self.say("modem is unplugged")
                self.line.unplug()
                await self._sleep(step.seconds)
                self._reset()
                while not self._lines.empty():
                    self._lines.get_nowait()
                self.line.plug()
                self.say("modem is back")
                await self._boot()

    def _framed(self, line: str) -> bytes:
        text = line.replace("{imei}", self.model.imei)
        return f"{self.model.before}{text}{self.model.after}".encode("latin-1")

    def _final(self, code: str) -> bytes:
        if self._verbose:
            return self._framed(code)
        return {"OK": b"0\r", "ERROR": b"4\r"}.get(code, self._framed(code))

    def _cme(self, code: int) -> str:
        if self._cmee == 0:
            return "ERROR"
        return f"+CME ERROR: {code if self._cmee == 1 else _CME_TEXTS[code]}"

    async def _send(self, data: bytes) -> None:
        size = self.model.chunk_bytes or max(len(data), 1)
        async with self._sending:  # so unsolicited lines come between lines
            for start in range(0, len(data), size):
                if start:
                    await self._sleep(self.model.gap_s)
                await self.line.write(data[start : start + size])

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.scale)


def _command(line: bytes) -> str:
    return line.decode("ascii", "replace").strip()


class SimModem:
    """A modem on a pty behind a stable name, which appears ``appears_s`` after the start."""

    def __init__(
        self,
        path: str | Path,
        model: ModemModel,
        *,
        appears_s: float = 0.0,
        scale: float = 1.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.pty = Pty(path)
        self.engine = Engine(model, self.pty, scale, say)
        self._appears_s = appears_s * scale
        self._task: asyncio.Task[None] | None = None

    @property
    def path(self) -> str:
        return self.pty.path

    @property
    def commands(self) -> list[str]:
        """Every command that the modem received."""
        return self.engine.commands

    async def __aenter__(self) -> SimModem:
        if not self._appears_s:
            self.pty.plug()
        self._task = asyncio.create_task(self._live())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._task is not None:
                self._task.cancel()
                (outcome,) = await asyncio.gather(self._task, return_exceptions=True)
                if isinstance(outcome, Exception):
                    raise outcome
        finally:
            self.pty.unplug()

    async def _live(self) -> None:
        await asyncio.sleep(self._appears_s)
        self.pty.plug()
        await self.engine.run()


_UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"

SARA_R5 = ModemModel(
    "u-blox SARA-R5", {"AT+CGSN": BARE, "AT+CGSN=1": NAMED, "AT+GSN": BARE}, echo=True
)
SARA_R410M = ModemModel("u-blox SARA-R410M", {"AT+CGSN": BARE, "AT+GSN": BARE})
LARA_R6 = ModemModel("u-blox LARA-R6", {"AT+CGSN": BARE, "AT+CGSN=1": NAMED}, boot_s=10)
LENA_R8 = ModemModel(
    "u-blox LENA-R8", {"ATE0": ERROR, "AT+CGSN": BARE, "AT+CGSN=1": NAMED}, echo=True
)
NRF9160 = ModemModel(
    "Nordic nRF9160", {"AT+CGSN": BARE, "AT+CGSN=1": NAMED}, imei="352656100367872"
)
NRF9160_UNPROGRAMMED = ModemModel("Nordic nRF9160 without an IMEI", {})
NRF9160_SLM = ModemModel(
    "Nordic nRF9160, Serial LTE Modem", NRF9160.answers, imei=NRF9160.imei, ends=b"\r\n"
)
NRF93M1 = ModemModel("Nordic nRF93M1", {"AT+CGSN": Say("2623CKLQ0009707"), "AT+CGSN=1": NAMED})
EC25 = ModemModel("Quectel EC25", {"AT+CGSN": BARE, "AT+GSN": BARE}, banner=("RDY",))
BG96 = ModemModel(
    "Quectel BG96", {"AT+CGSN": BARE, "AT+GSN": BARE}, banner=("APP RDY", "+CPIN: NOT INSERTED")
)
RM520N = ModemModel("Quectel RM520N", {"AT+CGSN": BARE, "AT+CGSN=1": Say('+CGSN:"{imei}"')})
BC26 = ModemModel("Quectel BC26", {"AT+CGSN": Say(_UUID), "AT+CGSN=1": Say("+CGSN:{imei}")})
SIM7600 = ModemModel(
    "SIMCom SIM7600",
    {"AT+CGSN": BARE, "AT+GSN": BARE},
    boot_s=12,
    banner=("RDY", "+CPIN: READY", "SMS DONE", "PB DONE"),
)
SIM7080 = ModemModel("SIMCom SIM7080", {"AT+CGSN": BARE})
A7670 = ModemModel("SIMCom A7670", {"AT+CGSN": BARE, "AT+GSN": BARE})
LE910 = ModemModel("Telit LE910 V2", {"AT#CGSN": Say("#CGSN: {imei}")})
ME910G1 = ModemModel("Telit ME910G1", {"AT+CGSN=1": Refuse(50), "AT+CGSN": BARE})
EM7455 = ModemModel("Sierra EM7455", {"AT+CGSN": BARE}, echo=True, before="\n\n\n", after="\n")
L610 = ModemModel(
    "Fibocom L610", {"AT+CGSN": Say('"{imei}" '), "AT+CGSN=1": Say('+CGSN: "{imei}" ')}
)
E303 = ModemModel("Huawei E303", {"AT+CGSN": Say("AT+CGSN\n{imei}"), "AT+CGSN=1": ERROR})
E1612 = ModemModel(
    "Huawei E1612",
    {"ATI": Say("Manufacturer: huawei\nModel: E1612\nIMEI: {imei}\n+GCAP: +CGSM,+DS,+ES")},
)
