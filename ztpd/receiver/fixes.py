"""The receiver's position over time: how good, for how long, how often. Time is passed in."""

from __future__ import annotations

from collections import deque

from ztpd.model import FIX_LABELS, Fix

FRESH_S = 5.0
"""An older fix is not shown as the present one, where they come once a second."""

_FRESH_INTERVALS = 2.5
_GAPS = 5  # between fixes, whose median is their interval

CALM_S = 60.0
"""Least time between two journal lines about something that comes and goes."""


class FixHistory:
    """The last fix, and how the fix developed since the receiver was set up."""

    def __init__(self) -> None:
        self.last: Fix | None = None
        self._last_s = 0.0
        self._label_since_s = 0.0
        self._started_s = 0.0
        self._first_s: dict[str, float] = {}  # seconds from the set-up, by label
        self._latest_s: dict[str, float] = {}  # when each label was last seen
        self._logged = "no fix"
        self._logged_s = 0.0
        self._set_interval_s: float | None = None
        self._gaps_s: deque[float] = deque(maxlen=_GAPS)
        self._seconds: dict[str, float] = {}
        self._accounted_s: float | None = None

    def restarted(self, now_s: float, interval_s: float | None = None) -> None:
        """The receiver has just been set up: times to the first fix count from now.

        ``interval_s`` is the time between fixes by the settings.
        """
        self._set_interval_s = interval_s
        self._gaps_s.clear()
        self._started_s, self._first_s, self._latest_s = now_s, {}, {}
        self._logged, self._logged_s = "no fix", 0.0

    def add(self, fix: Fix, now_s: float) -> None:
        """Note a fix that has just come."""
        if self.last is not None and self._last_s >= self._started_s:
            self._gaps_s.append(now_s - self._last_s)
        self._account(now_s)
        before = self.present(now_s)
        if before is None or before.label != fix.label:
            self._label_since_s = now_s
        self.last, self._last_s = fix, now_s
        self._latest_s[fix.label] = now_s

    def is_news(self, fix: Fix, now_s: float) -> bool:
        """Whether this fix is worth a line: at once where it is the best so far, else at most
        once a minute, for a fix may come and go every second."""
        label, rank = fix.label, FIX_LABELS.index
        best_so_far = all(rank(label) > rank(each) for each in self._first_s)
        self._first_s.setdefault(label, now_s - self._started_s)
        if label == self._logged or not (best_so_far or now_s - self._logged_s >= CALM_S):
            return False
        self._logged, self._logged_s = label, now_s
        return True

    @property
    def interval_s(self) -> float | None:
        """Between two fixes: as they come, at first as the settings say; None: not known."""
        if len(self._gaps_s) < 2:
            return self._set_interval_s
        return sorted(self._gaps_s)[len(self._gaps_s) // 2]

    def age_s(self, now_s: float) -> float | None:
        """How long ago :attr:`last` came; None where none ever did."""
        return None if self.last is None else now_s - self._last_s

    def present(self, now_s: float) -> Fix | None:
        """The last fix, unless it is too old to be shown as the present one."""
        age_s = self.age_s(now_s)
        return self.last if age_s is not None and age_s <= self._fresh_s else None

    @property
    def _fresh_s(self) -> float:
        """The age up to which a fix is the present one."""
        return max(FRESH_S, _FRESH_INTERVALS * (self.interval_s or 0.0))

    def label_for_s(self, now_s: float) -> float | None:
        """For how many seconds the present fix has had its label; None without a present fix."""
        return None if self.present(now_s) is None else now_s - self._label_since_s

    def below_for_s(self, label: str, now_s: float) -> float | None:
        """Seconds since the fix was ``label`` or better, or since the set-up if it never was;
        None for no label."""
        if label not in FIX_LABELS:
            return None
        good = [self._latest_s.get(each, 0.0) for each in FIX_LABELS[FIX_LABELS.index(label) :]]
        return now_s - max(self._started_s, *good)

    def lost_for_s(self, label: str, now_s: float) -> float:
        """As :meth:`below_for_s`; 0 where the fix was never so good since the set-up."""
        below_s = self.below_for_s(label, now_s)
        return below_s if below_s and self.first_at_least(label) is not None else 0.0

    def seconds(self, now_s: float) -> dict[str, float]:
        """For how many seconds each label was the present one; "unknown" without a present fix.
        They add up to the time since the first call, or the first fix."""
        self._account(now_s)
        return dict(self._seconds)

    def _account(self, now_s: float) -> None:
        """Add the time since the last call to the label of that time."""
        began_s = now_s if self._accounted_s is None else self._accounted_s
        known_s = 0.0
        if self.last is not None:
            known_s = max(0.0, min(now_s, self._last_s + self._fresh_s) - began_s)
            self._add_seconds(self.last.label, known_s)
        self._add_seconds("unknown", now_s - began_s - known_s)
        self._accounted_s = now_s

    def _add_seconds(self, label: str, seconds: float) -> None:
        self._seconds[label] = self._seconds.get(label, 0.0) + seconds

    def first_at_least(self, label: str) -> float | None:
        """Seconds from the set-up until the fix was ``label`` or better."""
        good = FIX_LABELS[FIX_LABELS.index(label) :]
        return min((self._first_s[each] for each in good if each in self._first_s), default=None)
