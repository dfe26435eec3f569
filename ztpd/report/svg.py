"""Plots as SVG: a drawing with axes. Colours are classes of the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

WIDTH = 960
LEFT, RIGHT = 160, 72
GAP_S = 30.0
"""A longer pause between two samples breaks a line: the daemon did not run, or was asleep."""

_STEPS_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200)
_MOST_TICKS = 13
_SHORTEST_S = 600.0
_DATE_PX = 70.0  # least distance of two dates

Scale = Callable[[float], float]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """``low`` to ``high`` in the data's unit becomes ``start`` to ``end`` in the drawing's."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """The same by powers of ten; values outside are drawn at the edge."""
    inner = linear(math.log10(low), math.log10(high), start, end)
    return lambda value: inner(math.log10(min(max(value, low), high)))


def nice_steps(high: float, most: int) -> list[float]:
    """0 and at most ``most`` round numbers above it, the last one at least ``high``."""
    rough = max(high, 1e-6) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.9999)
    return [step * number for number in range(math.ceil(high / step - 1e-9) + 1)]


class Drawing:
    """A drawing of :data:`WIDTH`, whose elements are added one after another."""

    def __init__(self, height: float, title: str) -> None:
        self.height = height
        self._title = title
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'
        )

    def bar(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        style: str,
        tip: str = "",
        opacity: float = 1.0,
    ) -> None:
        """``tip`` is shown where the pointer rests."""
        faint = f' opacity="{opacity:.2f}"' if opacity < 1 else ""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'class="{style}"{faint}>{_tip(tip)}</rect>'
        )

    def circle(
        self, x: float, y: float, radius: float, style: str, tip: str = "", opacity: float = 1.0
    ) -> None:
        faint = f' opacity="{opacity:.2f}"' if opacity < 1 else ""
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{style}"{faint}>'
            f"{_tip(tip)}</circle>"
        )

    def path(self, points: Sequence[tuple[float, float] | None], style: str) -> None:
        """A line through ``points``, broken at each None; a point alone is a dot."""
        words, begins = [], True
        for number, point in enumerate(points):
            if point is None:
                begins = True
                continue
            words.append(f"{'M' if begins else 'L'}{point[0]:.1f} {point[1]:.1f}")
            alone = begins and (number + 1 == len(points) or points[number + 1] is None)
            if alone:
                words.append("h1.5")
            begins = False
        if words:
            self._parts.append(f'<path d="{"".join(words)}" class="{style}"/>')

    def text(self, x: float, y: float, text: str, style: str = "", turned: bool = False) -> None:
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"{turn}>{escape(text)}</text>'
        )

    def render(self) -> str:
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height:.0f}" role="img" '
            f'aria-label="{escape(self._title)}">{"".join(self._parts)}</svg>'
        )


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


@dataclass(frozen=True, slots=True)
class Cell:
    """Samples that are drawn at one place: from ``x`` on, ``width`` wide."""

    x: float
    width: float
    samples: range
    after_gap: bool


class TimeAxis:
    """The horizontal axis that all plots over time share."""

    def __init__(self, unix_s: Sequence[float]) -> None:
        self._unix_s = unix_s
        self.end_s = unix_s[-1] if unix_s else 0.0
        self.begin_s = min(unix_s[0] if unix_s else 0.0, self.end_s - _SHORTEST_S)
        self.x = linear(self.begin_s, self.end_s, LEFT, WIDTH - RIGHT)

    def cells(self, width: float = 1.0) -> Iterator[Cell]:
        """The samples by places at least ``width`` wide."""
        times, first = self._unix_s, 0
        place = [math.floor(self.x(each) / width) for each in times]
        for after in range(1, len(times) + 1):
            if after < len(times) and place[after] == place[first]:
                continue
            x = self.x(times[first])
            last_s = min(times[after] if after < len(times) else math.inf, times[after - 1] + 10.0)
            gap = first > 0 and times[first] - times[first - 1] > GAP_S
            shown = max(width * 0.5, min(self.x(last_s), WIDTH - RIGHT) - x)
            yield Cell(x, shown, range(first, after), gap)
            first = after

    def draw(self, drawing: Drawing, top: float, bottom: float) -> None:
        """Grid, ticks and their times (UTC)."""
        span_s = self.end_s - self.begin_s
        step_s = next((each for each in _STEPS_S if span_s / each <= _MOST_TICKS), 86_400)
        tick_s = math.ceil(self.begin_s / step_s) * step_s
        dated_x = -math.inf
        while tick_s <= self.end_s:
            x, moment = self.x(tick_s), datetime.fromtimestamp(tick_s, UTC)
            drawing.line(x, top, x, bottom, "grid")
            drawing.text(x, bottom + 16, f"{moment:%H:%M}", "tick middle")
            begins = dated_x == -math.inf or (moment.hour, moment.minute) == (0, 0)
            if begins and x - dated_x > _DATE_PX:
                drawing.text(x, bottom + 30, f"{moment:%-d %b}", "tick middle")
                dated_x = x
            tick_s += step_s
        drawing.line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis")
        drawing.text(WIDTH - RIGHT, bottom + 30, "UTC", "tick end")

    def series(
        self, drawing: Drawing, values: Sequence[float | None], y: Scale, style: str
    ) -> None:
        """A line through the medians of each place, and faintly behind it the whole range."""
        line: list[tuple[float, float] | None] = []
        ranges: list[tuple[float, float] | None] = []
        for cell in self.cells(1.5):
            found = sorted(value for each in cell.samples if (value := values[each]) is not None)
            if not found or cell.after_gap:
                line.append(None)
            if found:
                line.append((cell.x, y(found[len(found) // 2])))
            if len(found) > 1 and found[0] < found[-1]:
                ranges += [(cell.x, y(found[0])), (cell.x, y(found[-1])), None]
        drawing.path(ranges, f"line range {style}")
        drawing.path(line, f"line {style}")


def value_axis(
    drawing: Drawing,
    ticks: Sequence[tuple[float, str]],
    y: Scale,
    title: str,
    *,
    middle: float,
) -> None:
    """The vertical axis: grid, numbers, and the ``title`` with its unit."""
    for value, label in ticks:
        drawing.line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid")
        drawing.text(LEFT - 8, y(value) + 4, label, "tick end")
    drawing.text(LEFT - 62, middle, title, "title middle", turned=True)
