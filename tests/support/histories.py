"""A day in the life of a gateway, as the daemon's history has it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from ztpd.history import transfer
from ztpd.history.columns import EVERY_S, LENGTH, Sample, Signals
from ztpd.history.ring import HistoryRing
from ztpd.history.transfer import HistoryData
from ztpd.model import Carrier, Fix
from ztpd.wire.ubx import Antenna, Jamming, Spoofing

LAT_DEG, LON_DEG = 47.2851234, 8.5654321
END_UNIX_S = 1_795_939_200.0  # 2026-11-29 08:00 UTC
_KINDS = {"1006": 1, "1033": 1, "1077": 10, "1087": 10, "1097": 10, "1127": 10, "1230": 2}
_ACCURACY_M = {"RTK fixed": 0.014, "RTK float": 0.28, "DGNSS": 0.7, "3D": 1.5}
_SPREAD_M = {"RTK fixed": 0.008, "RTK float": 0.22, "DGNSS": 0.6, "3D": 1.3}


def as_fetched(ring: HistoryRing, *, end_unix_s: float = END_UNIX_S) -> HistoryData:
    """The history as a verb gets it, whose last sample was taken at ``end_unix_s``."""
    last_s = ring.read("at_s", ring.count)[-1]

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if request:
            return {"series": transfer.series(ring, request["column"], request["until"])}
        return {"history": transfer.contents(ring, now_s=last_s, unix_s=end_unix_s)}

    return transfer.fetch(ask)


def a_day(count: int = LENGTH) -> HistoryData:
    """Mostly RTK fixed; an outage of the service, a backup, jamming, float, and weak signals."""
    ring = HistoryRing()
    for sample in _samples(count):
        ring.add(sample)
    return as_fetched(ring)


def _samples(count: int) -> Iterator[Sample]:
    rng = random.Random(7)
    for number in range(count):
        hour = number / count * 24
        down = 5.0 <= hour < 5.7
        backup = 5.7 <= hour < 7.0
        jammed = 13.0 <= hour < 13.6
        fix = _fix(hour, rng)
        session = 1 + (hour >= 5.0) + (hour >= 7.0) + (hour >= 18.2) + (hour >= 18.3)
        channel = "backup.example:2101/MP" if backup else "ntrip ppntrip.example:2102"
        age_s = (hour - 5.0) * 3600 if down else rng.choice([2, 2, 2, 5, 5, 10])
        strengths = [rng.randint(20, 30 if jammed else 49) for _ in range(28)]
        yield Sample(
            at_s=number * EVERY_S,
            state="waiting" if down else "streaming",
            session=0 if down else session,
            channel="" if down else channel,
            cause="session.stale" if down else "",
            use="gnss.not_used.no_position" if fix == "no fix" else "unknown" if down else "used",
            fix=fix,
            accuracy_m=_ACCURACY_M[fix] * rng.uniform(0.8, 1.6) if fix != "no fix" else None,
            satellites=0 if fix == "no fix" else rng.randint(17, 24) - 8 * jammed,
            correction_age_s=None if age_s > 60 else age_s,
            frame_age_s=age_s if down else rng.uniform(0.1, 1.2),
            bytes=0 if down else rng.randint(4_000, 6_000),
            frames={} if down else _frames(hour, backup, number, rng),
            signals=Signals(
                Antenna.OK,
                Jamming.CRITICAL if jammed else Jamming.NONE,
                Spoofing.NONE,
                None if fix == "RTK fixed" else tuple(strengths),
            ),
            position=None if fix == "no fix" else _position(fix, rng),
        )


def _fix(hour: float, rng: random.Random) -> str:
    if hour < 0.05 or 13.1 <= hour < 13.5:
        return "no fix"
    if hour < 0.1 or 5.2 <= hour < 5.7 or 13.0 <= hour < 13.6:
        return "3D"
    if hour < 0.3 or 9.0 <= hour < 10.5 or 13.6 <= hour < 13.8:
        return rng.choice(["RTK float", "RTK float", "RTK fixed"])
    return "RTK fixed" if rng.random() < 0.995 else "RTK float"


def _frames(hour: float, backup: bool, number: int, rng: random.Random) -> dict[str, int]:
    thin = 16.0 <= hour < 17.0
    found = {
        kind: max(0, rate // 3 if thin else rate - (rng.random() < 0.03))
        for kind, rate in _KINDS.items()
        if not (kind == "1127" and backup) and not (kind == "1033" and number % 3)
    }
    return {kind: rate for kind, rate in found.items() if rate}


def _position(fix: str, rng: random.Random) -> Fix:
    spread_deg = _SPREAD_M[fix] / 111_195
    return Fix(
        ok=True,
        lat_deg=LAT_DEG + rng.gauss(0, spread_deg),
        lon_deg=LON_DEG + rng.gauss(0, spread_deg) * 1.47,
        height_m=412.0 + rng.gauss(0, 1.7 * _SPREAD_M[fix]),
        geoid_m=47.6,
        accuracy_m=_ACCURACY_M[fix],
        satellites=20,
        carrier=Carrier.FIXED if fix == "RTK fixed" else Carrier.NONE,
        differential=True,
        correction_age_s=2.0,
        utc=None,
    )
