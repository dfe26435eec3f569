"""Which of the offered topics to subscribe to, by region and position.

The forms of the paths, and the regions' bounding boxes, are those that the public clients of
PointPerfect agree on; none of them is official. The paths decide, not the descriptions: their
wording differs from one answer to the next ("EU", "Japan").
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from ztpd.errors import LocalizedOnly, RegionUnknown, SubscriptionRefused
from ztpd.model import Fix, FrameKind, SourceEndpoint, Topic


class Role(Enum):
    """The content of a topic."""

    KEY = "key"  # UBX-RXM-SPARTNKEY, retained
    ASSIST = "assist"  # UBX-MGA, retained
    CORRECTIONS = "corrections"
    OTHER = "other"  # JSON: keys, frequencies, tile dictionaries


_ROLES = (
    (re.compile(r"(^|/)ubx/0236(/|$)"), Role.KEY),
    (re.compile(r"(^|/)ubx/mga(/|$)"), Role.ASSIST),
    (re.compile(r"^/?pp/(key|frequencies)(/|$)|^/?pp/ip/.+/dict$"), Role.OTHER),
)

_FRAMES = {
    Role.KEY: (FrameKind.UBX,),
    Role.ASSIST: (FrameKind.UBX,),
    Role.CORRECTIONS: (FrameKind.SPARTN, FrameKind.RTCM3),
    Role.OTHER: (),
}


def role(path: str) -> Role:
    """The role of ``path``: corrections, where it has no known form (a private broker's)."""
    return next((found for form, found in _ROLES if form.search(path)), Role.CORRECTIONS)


def frame_kinds(path: str) -> tuple[FrameKind, ...]:
    """The framings to look for in messages of ``path``."""
    return _FRAMES[role(path)]


def qos(path: str) -> int:
    """The quality of service to ask for: 1 for topics that are sent once and retained, else 0."""
    return 1 if role(path) in (Role.KEY, Role.ASSIST) and not path.endswith("/updates") else 0


class _Box(NamedTuple):
    """Degrees."""

    west: float
    east: float
    south: float
    north: float


_REGIONS = {
    "us": _Box(-170, -50, 20, 75),
    "eu": _Box(-30, 40, 35, 75),
    "au": _Box(111, 160, -43, -9),
    "kr": _Box(126, 130, 34, 39),
    "jp": _Box(128, 147, 30, 47),
    "cn": _Box(75, 135, 15, 60),
    "sa": _Box(34, 56, 15, 33),
    "br": _Box(-73, -34, -34, 3),
}

_DATA = re.compile(r"^/?pp/(?P<link>ip|Lb)/(?P<region>[a-z]{2})(?:/(?P<part>gad|hpac|ocb|clk))?$")

_LOCALIZED = re.compile(r"^/?pp/ip/L\d[NS]\d+[EW]\d+(/|$)")  # tiles and their nodes


def choose(
    offered: Sequence[Topic],
    *,
    region: str = "auto",
    position: Fix | None = None,
) -> tuple[Topic, ...]:
    """The topics to subscribe to: keys, assistance, and the corrections of one region.

    A region has one topic with everything and one for each kind of message; the first is
    preferred, and the two are never mixed, since every message would come twice. Region "auto"
    is the smallest of the offered ones around ``position``, else the nearest. Raises
    :class:`RegionUnknown` where that takes a position and there is none yet, and
    :class:`SubscriptionRefused` where ``offered`` has no corrections, or none for ``region``.
    """
    link = "ip" if any(_is_data(topic, "ip") for topic in offered) else "Lb"
    data = {
        (match["region"], match["part"]): topic
        for topic in offered
        if (match := _DATA.match(topic.path)) and match["link"] == link
    }
    regions = sorted({name for name, _ in data})
    if not regions and any(_LOCALIZED.match(topic.path) for topic in offered):
        raise LocalizedOnly(f"{len(offered)} topics")
    if not regions:
        raise SubscriptionRefused(f"no corrections among the {len(offered)} topics offered")
    if region == "auto":
        region = _region_at(position, regions)
    if region not in regions:
        raise SubscriptionRefused(f"region {region} is not offered, only {', '.join(regions)}")
    whole = data.get((region, None))
    parts = [topic for (name, _), topic in data.items() if name == region]
    return (*_keys(offered, link), *_assistance(offered), *([whole] if whole else parts))


def waits_for_position(endpoint: SourceEndpoint) -> bool:
    """Whether :func:`choose` needs a position: region "auto", and several regions are offered."""
    if endpoint.kind != "mqtt" or not endpoint.topics_offered or endpoint.region != "auto":
        return False
    data = (match for topic in endpoint.topics if (match := _DATA.match(topic.path)))
    return len({match["region"] for match in data}) > 1


def _is_data(topic: Topic, link: str) -> bool:
    match = _DATA.match(topic.path)
    return match is not None and match["link"] == link


def _keys(offered: Iterable[Topic], link: str) -> list[Topic]:
    """The key topic of this link; plans for different links have different keys."""
    keys = [topic for topic in offered if role(topic.path) is Role.KEY]
    return [topic for topic in keys if topic.path.endswith(f"/{link}")] or keys


def _assistance(offered: Iterable[Topic]) -> list[Topic]:
    """The one topic with all constellations; the others repeat parts of it."""
    return [topic for topic in offered if re.search(r"(^|/)ubx/mga$", topic.path)]


def _region_at(position: Fix | None, regions: Sequence[str]) -> str:
    if len(regions) == 1:
        return regions[0]
    if position is None or not position.ok:
        raise RegionUnknown(f"one of {', '.join(regions)}")
    known = {name: box for name, box in _REGIONS.items() if name in regions}
    if not known:
        raise SubscriptionRefused(f"where {', '.join(regions)} are is not known; set the region")

    def rank(name: str) -> tuple[float, float]:
        box = known[name]
        area = (box.east - box.west) * (box.north - box.south)
        return _distance_deg(box, position.lat_deg, position.lon_deg), area

    return min(known, key=rank)


def _distance_deg(box: _Box, lat: float, lon: float) -> float:
    """From the place to the nearest edge of the box, in degrees of latitude; 0 inside."""
    north_south = max(box.south - lat, lat - box.north, 0.0)
    inside = (lon - box.west) % 360 <= box.east - box.west
    east_west = 0.0 if inside else min((lon - box.east) % 360, (box.west - lon) % 360)
    return math.hypot(north_south, east_west * math.cos(math.radians(lat)))
