"""Whether the gateway stands still, by the receiver's positions. Time is passed in."""

from __future__ import annotations

import math

from ztpd.model import Fix

STILL_BELOW_MPS = 0.3
MOVED_M = 5.0
_SIGMAS = 3.0
_EARTH_M = 6_371_000.0


class Standstill:
    """Positions without a valid fix, or from sensors alone, say nothing."""

    def __init__(self) -> None:
        self._first: Fix | None = None
        self._since_s = 0.0

    def restart(self) -> None:
        """The next position is the first one."""
        self._first = None

    def still_for_s(self, fix: Fix, now_s: float) -> float:
        """For how long every speed was below 0.3 m/s, and every position within 3 sigma (both
        positions') of the first one, as of ``fix``; 0 where it says nothing."""
        if not _is_position(fix):
            return 0.0
        first, speed_mps = self._first, fix.speed_mps or 0.0
        is_still = speed_mps < STILL_BELOW_MPS
        if first is None or not is_still or distance_m(first, fix) > _SIGMAS * _sigma_m(first, fix):
            self._first, self._since_s = fix, now_s
        return now_s - self._since_s

    def has_moved(self, fix: Fix) -> bool:
        """Whether ``fix`` is 5 m or more from the first position, and not within 3 sigma of it;
        without a first position it is that."""
        if not _is_position(fix):
            return False
        if self._first is None:
            self._first = fix
        first = self._first
        return distance_m(first, fix) >= max(MOVED_M, _SIGMAS * _sigma_m(first, fix))


def distance_m(a: Fix, b: Fix) -> float:
    """Horizontal, on a sphere: good to 0.6 % over distances of some kilometres."""
    north = math.radians(b.lat_deg - a.lat_deg)
    east = math.radians((b.lon_deg - a.lon_deg + 180) % 360 - 180)
    return _EARTH_M * math.hypot(north, east * math.cos(math.radians(a.lat_deg)))


def _sigma_m(a: Fix, b: Fix) -> float:
    """Of the distance between two positions, as the receiver estimates each."""
    return math.hypot(a.accuracy_m, b.accuracy_m)


def _is_position(fix: Fix) -> bool:
    return fix.ok and not fix.dead_reckoning
