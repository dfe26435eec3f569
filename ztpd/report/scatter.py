"""The positions in metres from their median, with the circles that hold half and 95 % of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, pstdev

from ztpd.history.transfer import HistoryData
from ztpd.report.plots import FIX_STYLES, Figure
from ztpd.report.svg import Drawing, Scale, linear

_RADIUS_M = 6_371_000.0
_SIDE, _TOP = 380.0, 12.0
_ENOUGH = 30  # samples of one fix: five minutes
_STILL_M = 1000.0


@dataclass(frozen=True, slots=True)
class Scatter:
    """``east_m`` and ``north_m`` from the median of the positions with ``fix``."""

    fix: str
    count: int  # of those
    east_m: tuple[float, ...]
    north_m: tuple[float, ...]
    labels: tuple[str, ...]
    cep50_m: float
    cep95_m: float
    height_sigma_m: float


def measure(history: HistoryData) -> Scatter | None:
    """None without positions. Centre and circles are those of the best fix that lasted."""
    lats, lons = history.numbers.get("lat_deg", ()), history.numbers.get("lon_deg", ())
    heights, labels = history.numbers.get("height_m", ()), history.texts.get("fix", ())
    known = [
        (lat, lon, height or 0.0, label)
        for lat, lon, height, label in zip(lats, lons, heights, labels, strict=True)
        if lat is not None and lon is not None
    ]
    if not known:
        return None
    counts = Counter(each[3] for each in known)
    fix = next((each for each in FIX_STYLES if counts[each] >= _ENOUGH), "")
    chosen = [each for each in known if not fix or each[3] == fix]
    lat0, lon0 = median(each[0] for each in chosen), _median_lon([each[1] for each in chosen])
    per_lat = math.radians(1) * _RADIUS_M
    per_lon = per_lat * math.cos(math.radians(lat0))
    east = [(_turned(each[1] - lon0)) * per_lon for each in known]
    north = [(each[0] - lat0) * per_lat for each in known]
    distances = sorted(
        math.hypot(e, n)
        for e, n, each in zip(east, north, known, strict=True)
        if not fix or each[3] == fix
    )
    return Scatter(
        fix=fix or "any fix",
        count=len(chosen),
        east_m=tuple(east),
        north_m=tuple(north),
        labels=tuple(each[3] for each in known),
        cep50_m=_quantile(distances, 0.5),
        cep95_m=_quantile(distances, 0.95),
        height_sigma_m=pstdev([each[2] for each in chosen]),
    )


def figure(found: Scatter) -> Figure:
    """The positions around the median, east to the right, north up: nearly all, and the middle."""
    drawing = Drawing(_TOP + _SIDE + 44, "scatter of the positions in metres from the median")
    outside = _panel(drawing, found, 70.0, _reach_m(found))
    _panel(drawing, found, 960 - 30.0 - _SIDE, max(0.02, found.cep95_m * 1.5))
    caption = (
        f"Left nearly all positions, right the middle of them. Centre and circles: median of "
        f"{found.count} positions with {found.fix}. CEP50 {metres(found.cep50_m)}, CEP95 "
        f"{metres(found.cep95_m)}, height {metres(found.height_sigma_m)} (standard deviation). "
        "NAV-PVT gives positions in steps of 1e-7 degrees, about 1 cm."
    )
    if outside:
        caption += f" {outside} of {len(found.labels)} positions are outside of the left plot."
    if found.cep95_m > _STILL_M:
        caption += " The gateway has moved: the circles then say nothing about the receiver."
    shown = [each for each in FIX_STYLES if each in found.labels]
    legend = [(FIX_STYLES[each], each) for each in shown]
    legend += [("ringmark", "CEP50: half are inside"), ("ringmark dashed", "CEP95")]
    return Figure("Scatter of the position", drawing.render(), caption, tuple(legend))


def _panel(drawing: Drawing, found: Scatter, left: float, reach_m: float) -> int:
    """One square with axes; how many positions are outside."""
    ticks = _ticks(reach_m)
    edge_m = ticks[-1]
    x = linear(-edge_m, edge_m, left, left + _SIDE)
    y = linear(-edge_m, edge_m, _TOP + _SIDE, _TOP)
    for tick in ticks:
        style = "axis" if tick == 0 else "grid"
        drawing.line(x(tick), _TOP, x(tick), _TOP + _SIDE, style)
        drawing.line(left, y(tick), left + _SIDE, y(tick), style)
        drawing.text(x(tick), _TOP + _SIDE + 16, f"{tick:g}", "tick middle")
        drawing.text(left - 8, y(tick) + 4, f"{tick:g}", "tick end")
    drawing.text(left + _SIDE / 2, _TOP + _SIDE + 34, "east (m)", "title middle")
    drawing.text(left - 52, _TOP + _SIDE / 2, "north (m)", "title middle", turned=True)
    outside = _points(drawing, found, x, y, edge_m)
    for radius_m, style in ((found.cep50_m, "ring"), (found.cep95_m, "ring dashed")):
        if 0 < radius_m <= edge_m:
            drawing.circle(x(0), y(0), x(radius_m) - x(0), style)
    return outside


def metres(value: float) -> str:
    return f"{value * 1000:.0f} mm" if value < 1 else f"{value:.2f} m"


def _points(drawing: Drawing, found: Scatter, x: Scale, y: Scale, edge_m: float) -> int:
    """Draw each place once; how many positions are outside."""
    places: Counter[tuple[float, float, str]] = Counter()
    outside = 0
    for east, north, label in zip(found.east_m, found.north_m, found.labels, strict=True):
        if abs(east) > edge_m or abs(north) > edge_m:
            outside += 1
        else:
            places[round(x(east), 1), round(y(north), 1), label] += 1
    order = list(FIX_STYLES)
    for (at_x, at_y, label), count in sorted(
        places.items(), key=lambda each: (-order.index(each[0][2]), each[1])
    ):
        style = FIX_STYLES.get(label, "grey")
        weight = math.log2(count)
        tip = f"{label}, {count} times"
        drawing.circle(
            at_x, at_y, min(6.0, 2.2 + 0.4 * weight), style, tip, min(0.9, 0.45 + 0.1 * weight)
        )
    return outside


def _reach_m(found: Scatter) -> float:
    """So far from the centre that nearly all positions are inside."""
    distances = sorted(map(math.hypot, found.east_m, found.north_m))
    return max(0.02, found.cep95_m * 1.3, min(_quantile(distances, 0.98), found.cep95_m * 8))


def _ticks(reach_m: float) -> list[float]:
    power = 10.0 ** math.floor(math.log10(reach_m / 3))
    step = next(each * power for each in (1, 2, 5, 10) if each * power * 3 >= reach_m)
    return [round(step * number, 9) for number in range(-3, 4)]


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def _turned(degrees: float) -> float:
    """Across the date line the short way."""
    return (degrees + 180) % 360 - 180


def _median_lon(degrees: Sequence[float]) -> float:
    first = degrees[0]
    return first + median(_turned(each - first) for each in degrees)
