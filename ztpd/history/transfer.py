"""The history over the control socket: one request for what there is, then one for each series, so
that no answer takes the daemon more than a moment."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ztpd.history.columns import COLUMNS, EVERY_S, KIND, LENGTH, TIME, Column
from ztpd.history.ring import MOST_KINDS, HistoryRing
from ztpd.records import number
from ztpd.sanitize import quoted

SCHEMA = 1

_LATEST_S = 2e11  # of a time; a date has four digits for its year


@dataclass(frozen=True, slots=True)
class HistoryData:
    """The samples, oldest first: each series has one value for each time."""

    unix_s: tuple[float, ...] = ()  # by the host's clock
    numbers: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # frames in each sample

    def __len__(self) -> int:
        return len(self.unix_s)


def contents(ring: HistoryRing, *, now_s: float, unix_s: float) -> dict[str, Any]:
    """What there is; ``now_s`` is the time of the samples, ``unix_s`` the same on the wall."""
    return {
        "schema": SCHEMA,
        "count": ring.count,
        "every_s": EVERY_S,
        "now_s": now_s,
        "unix_s": unix_s,
        "columns": [each.name for each in COLUMNS],
        "kinds": list(ring.kinds),
    }


def series(ring: HistoryRing, name: str, until: int, last: int | None = None) -> dict[str, Any]:
    """One series, little-endian; its ``last`` samples. Raises KeyError for one that there is
    not."""
    values = ring.read(name, until, last)
    if sys.byteorder == "big":
        values.byteswap()
    return {
        "names": list(ring.names(name)),
        "data": base64.b64encode(values.tobytes()).decode(),
    }


def fetch(
    ask: Callable[[dict[str, Any]], Mapping[str, Any]],
    *,
    only: Collection[str] = (),
    last: int | None = None,
) -> HistoryData:
    """The history by requests: ``ask`` takes ``column``, ``until`` and ``last``, or nothing for
    the contents. ``only``: these columns, and no kinds; ``last``: so many samples at most.

    Empty where the daemon has none, or is of a version without; a column that it lacks has no
    values. Answers may come from an enemy. Raises as ``ask``.
    """
    found = _mapping(ask({}).get("history"))
    known = {each.name for each in COLUMNS if each.name in _list(found.get("columns"))}
    until = found.get("count")
    offset_s = number(found.get("unix_s")) - number(found.get("now_s"))
    is_sound = isinstance(until, int) and abs(offset_s) < _LATEST_S
    if found.get("schema") != SCHEMA or not is_sound or TIME.name not in known:
        return HistoryData()
    if only:
        known &= {TIME.name, *only}
    which = {"until": until} if last is None else {"until": until, "last": last}
    numbers: dict[str, tuple[float | None, ...]] = {}
    texts: dict[str, tuple[str, ...]] = {}
    for column in COLUMNS:
        if column.name in known:
            answer = _mapping(ask({"column": column.name} | which).get("series"))
            raw = _values(column, answer)
            if column.is_text:
                names = [quoted(str(each)) for each in _list(answer.get("names"))]
                texts[column.name] = tuple(names[each] if each < len(names) else "" for each in raw)
            else:
                numbers[column.name] = tuple(
                    None if each == column.missing else each / column.per_unit for each in raw
                )
    kinds = {
        quoted(kind): tuple(_values(KIND, _mapping(ask({"column": kind} | which).get("series"))))
        for kind in ([] if only else _list(found.get("kinds"))[: MOST_KINDS + 1])
        if isinstance(kind, str)
    }
    for column in COLUMNS:
        if column.name not in known and (not only or column.name in only):
            count = len(numbers[TIME.name])
            if column.is_text:
                texts[column.name] = ("",) * count
            else:
                numbers[column.name] = (None,) * count
    return _aligned(numbers, texts, kinds, offset_s=offset_s)


def _aligned(
    numbers: dict[str, tuple[float | None, ...]],
    texts: dict[str, tuple[str, ...]],
    kinds: dict[str, tuple[int, ...]],
    *,
    offset_s: float,
) -> HistoryData:
    """All series end with the same sample; one that was replaced meanwhile is missing at the
    beginning of those that were asked for later."""
    lengths = [len(each) for each in (*numbers.values(), *texts.values(), *kinds.values())]
    begin = -min(lengths)
    if not begin:
        return HistoryData()
    times = numbers.pop(TIME.name)[begin:]
    return HistoryData(
        unix_s=tuple((at_s or 0.0) + offset_s for at_s in times),
        numbers={name: each[begin:] for name, each in numbers.items()},
        texts={name: each[begin:] for name, each in texts.items()},
        kinds={name: each[begin:] for name, each in kinds.items() if any(each[begin:])},
    )


def _values(column: Column, answer: Mapping[str, Any]) -> array[int]:
    values = array(column.typecode)
    data = str(answer.get("data", ""))
    decoded = b""
    with suppress(ValueError):
        decoded = base64.b64decode(data)[: LENGTH * values.itemsize]
    values.frombytes(decoded[: len(decoded) - len(decoded) % values.itemsize])
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
