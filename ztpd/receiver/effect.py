"""The effect of the corrections on the positions, for a receiver that reports no use of them.

Time is passed in. docs/decisions/0011-use-without-reports.md has the reasons. Source of the fields:
u-blox ZED-F9P (HPG 1.50) interface description, "UBX-NAV-PVT": diffSoln, carrSoln,
lastCorrectionAge.
"""

from __future__ import annotations

import math

from ztpd.model import Carrier, Fix

NO_EFFECT_S = 180.0
"""Corrections that have had no effect on so many seconds of positions are not used."""

_DELIVERING_S = 30.0  # SPARTN sends every kind of message within 30 s
_GROWING_FROM_S = 10.0  # a younger correction may be the newest of a slow service
_AHEAD_S = 5.0  # a correction so much newer than the last one sent is from another source
_JITTER_S = 2.0  # positions come so irregularly at the most
_LONGEST_STEP_S = 30.0  # between two positions, for which the second speaks
_SBAS_WINDOW_S = 30.0


class CorrectionAge:
    """Bounds of the time when the newest correction in the receiver was made, by the coarse
    classes of its age in consecutive positions."""

    def __init__(self) -> None:
        self.earliest_s = -math.inf
        self.is_growing = False  # no new ones are taken; with a slow service the age only is great
        self._latest_s = -math.inf
        self._renewed_s = -math.inf

    def add(self, fix: Fix, now_s: float) -> None:
        """Note a position that has just come; after one without an age all begins anew."""
        if fix.correction_age_s is None:
            self.earliest_s = self._latest_s = -math.inf
            self.is_growing = False
            return
        earliest_s, latest_s = now_s - fix.correction_age_s, now_s - fix.correction_age_from_s
        if self._latest_s == -math.inf:
            self._renewed_s = earliest_s
        elif earliest_s > self._latest_s + _JITTER_S:
            self._renewed_s = now_s
            self.is_growing = False
        elif latest_s >= self.earliest_s - _JITTER_S:  # it may be the same correction
            latest_s = min(latest_s, self._latest_s)
            earliest_s = min(max(earliest_s, self.earliest_s), latest_s)
        self.earliest_s, self._latest_s = earliest_s, latest_s
        held_s = now_s - self._renewed_s + _JITTER_S
        if held_s >= fix.correction_age_from_s >= _GROWING_FROM_S:
            self.is_growing = True


class CorrectionEffect:
    """Do the positions show that the corrections are used, or that they are not?

    A carrier solution needs corrections like those of ztpd; their age shows whose they are. A
    differential position without a carrier solution may come from SBAS too.
    """

    def __init__(self) -> None:
        self.without_s = 0.0  # of positions that show no use, since the last one that may
        self.is_of_others = False  # a carrier solution, with newer corrections than were sent
        self._age = CorrectionAge()
        self._delivered_s = -math.inf
        self._position_s: float | None = None
        self._like_sbas_s = -math.inf

    def on_delivered(self, now_s: float) -> None:
        """A correction message has left for the receiver."""
        self._delivered_s = now_s

    def on_fix(self, fix: Fix, now_s: float) -> bool:
        """Note a position that has just come; whether it shows that corrections are used."""
        if self._position_s is None:  # an earlier run may have sent corrections until now
            self._position_s, self._delivered_s = now_s, max(self._delivered_s, now_s)
        step_s = min(now_s - self._position_s, _LONGEST_STEP_S)
        self._position_s = now_s
        self._age.add(fix, now_s)
        if not fix.ok or fix.dead_reckoning:
            return False
        is_growing, has_carrier = self._age.is_growing, fix.carrier is not Carrier.NONE
        if has_carrier and self._age.earliest_s > self._delivered_s + _AHEAD_S:
            self.is_of_others = True
        elif is_growing:
            self.is_of_others = False
        if now_s - self._delivered_s > _DELIVERING_S:
            return False
        if is_growing or not (fix.differential or has_carrier):
            self.without_s += step_s
            return False
        self.without_s = 0.0
        if not has_carrier:
            self._like_sbas_s = now_s
        return has_carrier and fix.differential and not self.is_of_others

    def is_like_sbas(self, now_s: float) -> bool:
        """Whether positions of the last 30 s were differential, without a carrier solution."""
        return now_s - self._like_sbas_s <= _SBAS_WINDOW_S
