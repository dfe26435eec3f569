"""The receiver's position over time: how good, for how long, how often. Time is passed in."""

from __future__ import annotations

from ztpd.model import Fix

FRESH_S = 5.0
"""An older fix is not shown as the present one."""

CALM_S = 60.0
"""Least time between two journal lines about something that comes and goes."""

_RANKS = ("no fix", "2D", "3D", "DGNSS", "RTK float", "RTK fixed")


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

    def restarted(self, now_s: float) -> None:
        """The receiver has just been set up: times to the first fix count from now."""
        self._started_s, self._first_s, self._latest_s = now_s, {}, {}
        self._logged, self._logged_s = "no fix", 0.0

    def add(self, fix: Fix, now_s: float) -> None:
        """Note a fix that has just come."""
        before = self.present(now_s)
        if before is None or before.label != fix.label:
            self._label_since_s = now_s
        self.last, self._last_s = fix, now_s
        self._latest_s[fix.label] = now_s

    def is_news(self, fix: Fix, now_s: float) -> bool:
        """Whether this fix is worth a line: at once where it is the best so far, else at most
        once a minute, for a fix may come and go every second."""
        label = fix.label
        best_so_far = all(_RANKS.index(label) > _RANKS.index(each) for each in self._first_s)
        self._first_s.setdefault(label, now_s - self._started_s)
        if label == self._logged or not (best_so_far or now_s - self._logged_s >= CALM_S):
            return False
        self._logged, self._logged_s = label, now_s
        return True

    def age_s(self, now_s: float) -> float | None:
        """How long ago :attr:`last` came; None where none ever did."""
        return None if self.last is None else now_s - self._last_s

    def present(self, now_s: float) -> Fix | None:
        """The last fix, unless it is too old to be shown as the present one."""
        age_s = self.age_s(now_s)
        return self.last if age_s is not None and age_s <= FRESH_S else None

    def label_for_s(self, now_s: float) -> float | None:
        """For how many seconds the present fix has had its label; None without a present fix."""
        return None if self.present(now_s) is None else now_s - self._label_since_s

    def below_for_s(self, label: str, now_s: float) -> float | None:
        """Seconds since the fix was ``label`` or better, or since the set-up if it never was;
        None for no label."""
        if label not in _RANKS:
            return None
        good = [self._latest_s.get(each, 0.0) for each in _RANKS[_RANKS.index(label) :]]
        return now_s - max(self._started_s, *good)

    def first_at_least(self, label: str) -> float | None:
        """Seconds from the set-up until the fix was ``label`` or better."""
        good = [
            self._first_s[each] for each in _RANKS[_RANKS.index(label) :] if each in self._first_s
        ]
        return min(good, default=None)
