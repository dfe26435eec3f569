"""The picture of the demonstration: lines of styled text for any size, without any I/O."""

from __future__ import annotations

import math
import textwrap
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ztpd.demo.chain import Mark, Step, steps
from ztpd.status import Status

_BEST_M, _WORST_M = 0.01, 3.0  # the ends of the accuracy's bars
_SAMPLES = 24
_NAME_WIDTH = 13  # of mark and name of a link
_FAULT_LINES = 4  # at most, of its text, and of its advice
_LEAST_LOG = 5  # lines, with the space around it: the rails give way to it
_MOST_LOG = 200
_TITLE = "the real daemon among simulated devices and services"


class Style(Enum):
    PLAIN = "plain"
    DIM = "dim"
    BOLD = "bold"
    DONE = "done"
    BUSY = "busy"
    WARNING = "warning"
    ERROR = "error"


class Span(NamedTuple):
    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]

_STYLES = {
    Mark.PENDING: Style.DIM,
    Mark.BUSY: Style.BUSY,
    Mark.DONE: Style.DONE,
    Mark.WARNING: Style.WARNING,
    Mark.ERROR: Style.ERROR,
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The marks differ in more than their colour."""

    marks: dict[Mark, str]
    bars: str  # from the lowest to the highest
    rail: str
    arrow: str
    ellipsis: str


UNICODE = Glyphs(
    marks={
        Mark.PENDING: "·",
        Mark.BUSY: "▸",
        Mark.DONE: "✓",
        Mark.WARNING: "!",
        Mark.ERROR: "✗",
    },
    bars="▁▂▃▄▅▆▇█",
    rail="│",
    arrow="→",
    ellipsis="…",
)
ASCII = Glyphs(
    marks={Mark.PENDING: ".", Mark.BUSY: ">", Mark.DONE: "+", Mark.WARNING: "!", Mark.ERROR: "x"},
    bars="_.-=+*%#",
    rail="|",
    arrow="->",
    ellipsis=".",
)


class History:
    """The accuracy since the start, in at most 24 samples: when they are full, each is for twice
    the time, and has the worst of it."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._each = 1
        self._count = 0

    def add(self, accuracy_m: float) -> None:
        if self._count % self._each == 0:
            self.samples.append(accuracy_m)
        else:
            self.samples[-1] = max(self.samples[-1], accuracy_m)
        self._count += 1
        if len(self.samples) > _SAMPLES:
            worst = zip(self.samples[::2], [*self.samples[1::2], 0.0], strict=False)
            self.samples = [max(pair) for pair in worst]
            self._each *= 2
            self._count = len(self.samples) * self._each


def bars(samples: Sequence[float], glyphs: str) -> str:
    """One character for each accuracy in metres, on a logarithmic scale."""
    span = math.log(_WORST_M / _BEST_M)

    def bar(accuracy_m: float) -> str:
        height = math.log(min(max(accuracy_m, _BEST_M), _WORST_M) / _BEST_M) / span
        return glyphs[min(int(height * len(glyphs)), len(glyphs) - 1)]

    return "".join(map(bar, samples))


class Picture:
    """The chain, the accuracy, the last journal lines and the commands for a second terminal."""

    def __init__(self, glyphs: Glyphs = UNICODE) -> None:
        self.commands: tuple[str, ...] = ()
        self.fault = ""
        self._glyphs = glyphs
        self._steps = steps(Status())
        self._history = History()
        self._log: deque[tuple[float, str, str]] = deque(maxlen=_MOST_LOG)

    def show(self, seen: Status) -> None:
        self._steps = steps(seen)
        accuracy_m = seen.receiver.accuracy_m
        if accuracy_m is not None and seen.receiver.fix not in ("no fix", "unknown"):
            self._history.add(accuracy_m)

    def log(self, at_s: float, actor: str, text: str) -> None:
        self._log.append((at_s, actor, text))

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple(step.mark for step in self._steps)

    def lines(self, width: int, height: int, now_s: float) -> list[Line]:
        """At most ``height`` lines of at most ``width`` characters; the log fills the space."""
        head = self._header(width, now_s)
        foot = list(self._footer())
        for rails in (True, False):
            chain = list(self._chain(width, rails=rails))
            free = height - len(head) - len(chain) - len(foot)
            if free >= _LEAST_LOG:
                break
        log = [self._log_line(*each) for each in list(self._log)[-max(free - 2, 0) :]]
        log = log if free > 2 else []
        padding: list[Line] = [()] * max(free - 1 - len(log), 0)
        shown = [*head, *chain, (), *log, *padding, *foot]
        return [self._cropped(line, width) for line in shown[:height]]

    def summary(self, width: int, now_s: float) -> list[Line]:
        """The picture without log and commands, to leave behind at the end."""
        chain = [*self._header(width, now_s), *self._chain(width, rails=False)]
        return [self._cropped(line, width) for line in chain]

    def _header(self, width: int, now_s: float) -> list[Line]:
        clock = f"{now_s:.0f} s"
        name = Span(" ztpd demo  ", Style.BOLD)
        room = width - len(name.text) - len(clock) - 2
        title = self._cropped((Span(_TITLE),), max(room, 0))
        gap = " " * (room - sum(len(span.text) for span in title) + 1)
        second = (Span(f" fault: {self.fault}", Style.WARNING),) if self.fault else ()
        return [(name, *title, Span(gap + clock, Style.DIM)), second]

    def _chain(self, width: int, *, rails: bool) -> Iterator[Line]:
        for number, step in enumerate(self._steps):
            if rails and number:
                before = self._steps[number - 1].mark
                yield (Span(f"  {self._glyphs.rail}", _STYLES[before]),)
            yield from self._step(step, width)
        if samples := self._history.samples:
            drawn = bars(samples, self._glyphs.bars)
            first, last = f"{samples[0]:.3g} m ", f" {samples[-1]:.3g} m"
            indent = " " * (_NAME_WIDTH + 2)
            yield (Span(indent + first), Span(drawn, Style.DONE), Span(last))

    def _step(self, step: Step, width: int) -> Iterator[Line]:
        style = _STYLES[step.mark]
        mark = f"  {self._glyphs.marks[step.mark]} "
        name = f"{step.name:<{_NAME_WIDTH - 2}}"
        if not step.advice:
            dim = Style.DIM if step.mark is Mark.PENDING else Style.PLAIN
            yield (Span(mark, style), Span(name, style), Span(step.text, dim))
            return
        indent = " " * (_NAME_WIDTH + 2)
        room = max(width - len(indent), 10)
        for number, text in enumerate(self._wrapped(step.text, room)):
            begin = mark + name if number == 0 else indent
            yield (Span(begin, style), Span(text, style))
        for number, text in enumerate(self._wrapped(step.advice, room - 3)):
            yield (Span(f"{indent}{self._glyphs.arrow if number == 0 else '':<3}{text}"),)

    def _wrapped(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(
            text, max(width, 10), max_lines=_FAULT_LINES, placeholder=self._glyphs.ellipsis
        )

    def _log_line(self, at_s: float, actor: str, text: str) -> Line:
        style = Style.BOLD if actor == "demo" else Style.DIM
        for name in (Style.WARNING, Style.ERROR):
            if text.startswith(f"{name.value}:"):
                style = name
        return (Span(f"{at_s:6.1f} s  {actor:<5} ", Style.DIM), Span(text, style))

    def _footer(self) -> Iterator[Line]:
        for number, command in enumerate(self.commands):
            label = "second terminal:" if number == 0 else ""
            yield (Span(f" {label:<17}", Style.DIM), Span(command, Style.BOLD))
        yield (Span(" Ctrl-C ends it; --fault list names the faults to try", Style.DIM),)

    def _cropped(self, line: Line, width: int) -> Line:
        left = width
        shown: list[Span] = []
        for span in line:
            if len(span.text) > left:
                text = span.text[: max(left - 1, 0)] + self._glyphs.ellipsis * (left > 0)
                return (*shown, Span(text[:left], span.style))
            shown.append(span)
            left -= len(span.text)
        return tuple(shown)
