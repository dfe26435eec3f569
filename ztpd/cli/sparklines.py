"""The last ten minutes as small lines: what the receiver reported, and when it reported nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ztpd.cli.screen import row
from ztpd.history.columns import EVERY_S
from ztpd.history.transfer import HistoryData

SAMPLES = 60
COLUMNS = ("fix", "accuracy_m", "satellites", "correction_age_s")

_CELLS = (60, 30, 20, 15, 12, 10, 6, 5, 4, 3, 2, 1)  # parts into which the samples can be divided
_LEAST_BESIDE = 20  # cells; with fewer, the scale has a line of its own
_NAME_COLUMNS = 14
_NO_POSITION = ("no fix", "time only")
_LEVELS = {
    "no fix": 0,
    "time only": 1,
    "dead reckoning": 1,
    "2D": 2,
    "3D": 2,
    "DGNSS": 3,
    "RTK float": 5,
    "RTK fixed": 7,
}
_FIXES = tuple(_LEVELS)
_RED, _YELLOW, _GREEN = 31, 33, 32

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class BarGlyphs:
    bars: str  # from the lowest to the highest
    edge: str


BLOCKS = BarGlyphs("▁▂▃▄▅▆▇█", "│")
ASCII = BarGlyphs("_.-=+*%#", "|")


@dataclass(frozen=True, slots=True)
class Series:
    """One line: 60 values, the oldest first, None where there is none."""

    name: str
    values: Values
    worst: Callable[[Sequence[float]], float]  # of the values in one cell
    level: Callable[[float], int]  # 0 to 7
    scale: str  # from the least to the greatest, with the unit
    colour: Callable[[float], int | None] = field(default=lambda _: None)


def recent(data: HistoryData, unix_s: float) -> list[Series]:
    """The series of the ten minutes until ``unix_s``."""
    slots = _slots(data, unix_s)
    fixes = [data.texts["fix"][each] if each is not None else "" for each in slots]
    numbers = {
        name: [data.numbers[name][each] if each is not None else None for each in slots]
        for name in COLUMNS
        if name != "fix"
    }
    accuracy = [
        None if fix in _NO_POSITION else each
        for fix, each in zip(fixes, numbers["accuracy_m"], strict=True)
    ]
    return [
        _fix(fixes),
        Series("accuracy", accuracy, max, _logarithmic(accuracy), _scale(accuracy, "m")),
        _linear("satellites", numbers["satellites"], min, ""),
        _linear("corrections", numbers["correction_age_s"], max, "s old"),
    ]


def _slots(data: HistoryData, unix_s: float) -> list[int | None]:
    """The sample of each ten seconds, the last ones at the end."""
    found: list[int | None] = [None] * SAMPLES
    if not len(data):
        return found
    newest_s = data.unix_s[-1]
    late = max(0, round((unix_s - newest_s) / EVERY_S) - 1)
    for number, at_s in enumerate(data.unix_s):
        slot = SAMPLES - 1 - late - round((newest_s - at_s) / EVERY_S)
        if 0 <= slot < SAMPLES:
            found[slot] = number
    return found


def _fix(fixes: Sequence[str]) -> Series:
    ranks = [_FIXES.index(each) if each in _FIXES else None for each in fixes]
    known = [each for each in ranks if each is not None]
    scale = _span(*(_FIXES[each] for each in (min(known), max(known)))) if known else ""
    colours = {"no fix": _RED, "time only": _RED, "RTK fixed": _GREEN}
    return Series(
        "fix",
        ranks,
        min,
        lambda rank: _LEVELS[_FIXES[int(rank)]],
        scale,
        lambda rank: colours.get(_FIXES[int(rank)], _YELLOW),
    )


def _linear(
    name: str, values: Values, worst: Callable[[Sequence[float]], float], unit: str
) -> Series:
    """From the least value to the greatest; a level is 1 at least, so that noise stays flat."""
    known = [each for each in values if each is not None]
    low, span = min(known, default=0.0), max(7.0, max(known, default=0.0) - min(known, default=0.0))
    return Series(
        name, values, worst, lambda value: round(7 * (value - low) / span), _scale(values, unit)
    )


def _logarithmic(values: Values) -> Callable[[float], int]:
    """From the least value to the greatest, or to ten times the least."""
    known = [_positive(each) for each in values if each is not None]
    low = min(known, default=1.0)
    span = max(1.0, math.log10(max(known, default=1.0) / low))
    return lambda value: round(7 * math.log10(_positive(value) / low) / span)


def _positive(value: float) -> float:
    return max(value, 0.001)


def _scale(values: Values, unit: str) -> str:
    known = [each for each in values if each is not None]
    if not known:
        return ""
    if unit == "m" and max(known) >= 1000:
        known, unit = [each / 1000 for each in known], "km"
    return f"{_span(f'{min(known):.3g}', f'{max(known):.3g}')} {unit}".rstrip()


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def lines(
    series: Sequence[Series], columns: int, glyphs: BarGlyphs = BLOCKS, *, colour: bool = False
) -> str:
    """All ``series``, none wider than ``columns``, each with its scale."""
    scales = [each.scale or "no data" for each in series]
    beside = columns - _NAME_COLUMNS - 2 - 2 - max(map(len, scales), default=0)
    is_beside = beside >= _LEAST_BESIDE
    room = beside if is_beside else columns - _NAME_COLUMNS - 2
    count = next((each for each in _CELLS if each <= room), 1)
    text = row("last 10 min", _explained(SAMPLES // count * EVERY_S, several=count < SAMPLES))
    for each, scale in zip(series, scales, strict=True):
        drawn = glyphs.edge + "".join(_cells(each, count, glyphs, colour=colour)) + glyphs.edge
        text += f"{each.name:>12}  {drawn}" + (f"  {scale}\n" if is_beside else "\n")
        text += "" if is_beside else row("", scale)
    return text


def _explained(cell_s: float, *, several: bool) -> str:
    each = f"{cell_s:g} s" if cell_s < 60 else f"{cell_s / 60:g} min"
    return f"{each} each{', the worst of it' if several else ''}; blank: no data"


def _cells(series: Series, count: int, glyphs: BarGlyphs, *, colour: bool) -> Iterator[str]:
    """One character each: the worst of its samples, and nothing is worse than no data."""
    long = SAMPLES // count
    for begin in range(0, SAMPLES, long):
        known = [each for each in series.values[begin : begin + long] if each is not None]
        if len(known) < long:
            yield " "
            continue
        value = series.worst(known)
        shown, code = glyphs.bars[series.level(value)], series.colour(value)
        yield f"\033[{code}m{shown}\033[0m" if colour and code else shown
