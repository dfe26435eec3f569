"""The sessions of the history: when, with which service, and what ended them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from ztpd.history.columns import EVERY_S
from ztpd.history.transfer import HistoryData

_CAUSE_WITHIN = 6  # samples after the end


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Times are seconds since 1970, true to ten seconds."""

    number: int
    channel: str
    begin_s: float
    end_s: float
    frames: int
    bytes: int
    is_open: bool  # with the last sample
    cause: str  # event of the failure that followed, "" where there was none


def sessions(history: HistoryData) -> list[SessionRecord]:
    """All sessions, the oldest first. One that was shorter than ten seconds may be missing."""
    return list(_sessions(history)) if len(history) else []


def _sessions(history: HistoryData) -> Iterator[SessionRecord]:
    numbers, causes = history.numbers["session"], history.texts["cause"]
    for number, group in groupby(range(len(history)), key=lambda each: numbers[each] or 0):
        samples = list(group)
        first, last = samples[0], samples[-1]
        if not number:
            continue
        is_open = last == len(history) - 1
        after = causes[last + 1 : last + 1 + _CAUSE_WITHIN]
        yield SessionRecord(
            number=int(number),
            channel=history.texts["channel"][last],
            begin_s=history.unix_s[first],
            end_s=history.unix_s[last] + (0.0 if is_open else EVERY_S),
            frames=sum(series[each] for series in history.kinds.values() for each in samples),
            bytes=int(sum(history.numbers["bytes"][each] or 0 for each in samples)),
            is_open=is_open,
            cause=next((each for each in after if each), "") if not is_open else "",
        )
