"""Positions on the ellipsoid WGS 84."""

from __future__ import annotations

import math

SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1 / 298.257223563


def ecef_m(lat_deg: float, lon_deg: float, height_m: float) -> tuple[float, float, float]:
    """Earth-centred, earth-fixed coordinates; ``height_m`` is above the ellipsoid."""
    lat, lon = math.radians(lat_deg), math.radians(lon_deg)
    eccentricity = FLATTENING * (2 - FLATTENING)
    normal_m = SEMI_MAJOR_M / math.sqrt(1 - eccentricity * math.sin(lat) ** 2)
    return (
        (normal_m + height_m) * math.cos(lat) * math.cos(lon),
        (normal_m + height_m) * math.cos(lat) * math.sin(lon),
        (normal_m * (1 - eccentricity) + height_m) * math.sin(lat),
    )
