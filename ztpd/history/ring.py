"""The ring of samples: one array for each series, which grows to its length and is then reused."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from ztpd.history.columns import COLUMNS, KIND, LENGTH, Sample, numbers, texts

MOST_KINDS = 24  # of correction messages; a stream has about a dozen
MOST_NAMES = 250  # of one series of texts
OTHER = "other"


class HistoryRing:
    """The last ``length`` samples in less than 1 MiB, however long it runs."""

    def __init__(self, length: int = LENGTH) -> None:
        self._length = length
        self.count = 0  # of all samples, those too that have been replaced
        self._series: dict[str, array[int]] = {each.name: array(each.typecode) for each in COLUMNS}
        self._names: dict[str, list[str]] = {each.name: [OTHER] for each in COLUMNS if each.is_text}
        self._kinds: dict[str, array[int]] = {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of correction messages that have a series."""
        return tuple(self._kinds)

    def add(self, sample: Sample) -> None:
        """Take the next sample; the oldest one is replaced once there are ``length``."""
        values, words = numbers(sample), texts(sample)
        for column in COLUMNS:
            series = self._series[column.name]
            if column.is_text:
                self._put(series, self._index(column.name, words[column.name]))
            else:
                self._put(series, column.stored(values[column.name]))
        frames = dict(sample.frames)
        for kind in [each for each in frames if each not in self._kinds]:
            if not self._has_place(kind, frames):
                frames[OTHER] = frames.get(OTHER, 0) + frames.pop(kind)
        for kind, series in self._kinds.items():
            self._put(series, KIND.stored(frames.get(kind, 0)))
        self.count += 1

    def names(self, column: str) -> tuple[str, ...]:
        """The texts that the numbers of ``column`` stand for."""
        return tuple(self._names.get(column, ()))

    def read(self, name: str, until: int, last: int | None = None) -> array[int]:
        """The samples of a series, oldest first: those before number ``until`` that are kept.

        ``name`` is a column's or a kind's; of ``last`` only so many, the newest. Raises KeyError
        for another name.
        """
        series = self._kinds[name] if name in self._kinds else self._series[name]
        oldest = self.count % self._length if self.count > self._length else 0
        ordered = series[oldest:] + series[:oldest]
        newer = max(0, self.count - until)
        end = max(0, len(ordered) - newer)
        return ordered[0 if last is None else max(0, end - last) : end]

    def _put(self, series: array[int], value: int) -> None:
        if len(series) < self._length:
            series.append(value)
        else:
            series[self.count % self._length] = value

    def _index(self, column: str, text: str) -> int:
        """The number that stands for ``text``; one that no sample has any more is given again."""
        names = self._names[column]
        if text in names:
            return names.index(text)
        if len(names) < MOST_NAMES:
            names.append(text)
            return len(names) - 1
        free = set(range(1, MOST_NAMES)) - set(self._series[column])
        if not free:
            return 0  # OTHER
        names[min(free)] = text
        return min(free)

    def _has_place(self, kind: str, frames: Mapping[str, int]) -> bool:
        """Whether ``kind`` can have a series of its own; one without any frame, also among the
        ``frames`` that are about to be added, gives its place."""
        if len(self._kinds) >= MOST_KINDS and kind != OTHER:
            series = self._kinds.items()
            unused = (name for name, each in series if not (frames.get(name) or any(each)))
            if (name := next(unused, None)) is None:
                self._has_place(OTHER, frames)
                return False
            del self._kinds[name]
        if kind not in self._kinds:
            self._kinds[kind] = array(KIND.typecode, bytes(min(self.count, self._length)))
        return True
