"""The plots over time: fix, accuracy, corrections, satellites and signals, sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ztpd.history.transfer import HistoryData
from ztpd.report.sessions import SessionRecord, sessions
from ztpd.report.svg import (
    LEFT,
    RIGHT,
    WIDTH,
    Drawing,
    TimeAxis,
    linear,
    logarithmic,
    nice_steps,
    value_axis,
)
from ztpd.wire.ubx import Antenna, Jamming, Spoofing

FIX_STYLES = {
    "RTK fixed": "good",
    "RTK float": "warn",
    "DGNSS": "blue",
    "3D": "violet",
    "2D": "violet",
    "dead reckoning": "orange",
    "time only": "grey",
    "no fix": "bad",
    "unknown": "grey",
}
"""From the best to the worst, as :attr:`ztpd.model.Fix.label` names them."""

_ALWAYS_SHOWN = ("RTK fixed", "RTK float", "DGNSS", "3D", "no fix")
_STATE_STYLES = {
    "streaming": "good",
    "connecting": "blue",
    "starting": "blue",
    "identifying": "blue",
    "provisioning": "blue",
    "refreshing": "blue",
    "waiting": "warn",
    "paused": "grey",
    "blocked": "bad",
}
_LANE, _BELOW = 22.0, 38.0
_RASTER_PX = 3.0
_LONGEST_AGE_S = 60.0  # a receiver drops corrections that are older
_LONGEST_LABEL = 20


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot with its caption and legend: ``(style, text)`` pairs."""

    title: str
    svg: str
    caption: str = ""
    legend: tuple[tuple[str, str], ...] = ()


def fix(history: HistoryData, axis: TimeAxis) -> Figure:
    """The fix in lanes, and the accuracy below."""
    labels = history.texts["fix"]
    lanes = [each for each in FIX_STYLES if each in _ALWAYS_SHOWN or each in labels]
    lanes_end = 10 + _LANE * len(lanes)
    low, high = lanes_end + 24, lanes_end + 204
    drawing = Drawing(high + _BELOW, "fix and accuracy over time")
    axis.draw(drawing, 10, high)
    _lanes(drawing, axis, [(each, each, FIX_STYLES[each]) for each in lanes], labels, 10)
    accuracy = history.numbers["accuracy_m"]
    known = [each for each in accuracy if each]
    powers = [p for p in range(-3, 6) if 10.0**p <= max(known, default=1.0) * 10]
    first = max((p for p in powers if 10.0**p <= min(known, default=0.01)), default=-3)
    powers = [p for p in powers if p >= first][:7]
    powers = powers if len(powers) > 1 else [first, first + 1]
    y = logarithmic(10.0 ** powers[0], 10.0 ** powers[-1], high, low)
    ticks = [(10.0**p, f"{10.0**p:g}") for p in powers]
    value_axis(drawing, ticks, y, "accuracy (m)", middle=(low + high) / 2)
    axis.series(drawing, accuracy, y, "c1")
    caption = (
        "Accuracy is the receiver's own estimate of the horizontal position (hAcc, 1 sigma), on a "
        "logarithmic scale."
    )
    return Figure("Fix and accuracy", drawing.render(), caption, (("c1", "accuracy"),))


def corrections(history: HistoryData, axis: TimeAxis) -> Figure:
    """Whether corrections are used, their age, and the messages by kind."""
    kinds = sorted(history.kinds, key=_kind_order)
    used_end, age_end = 10 + _LANE, 10 + _LANE + 160
    raster = age_end + 22
    bottom = raster + max(1, len(kinds)) * 18
    drawing = Drawing(bottom + _BELOW, "correction age and kinds over time")
    axis.draw(drawing, 10, bottom)
    words = [_use_word(each) for each in history.texts["use"]]
    lanes = [("used", "use", "good"), ("not used", "use", "bad"), ("unknown", "use", "grey")]
    _strip(drawing, axis, words, {word: style for word, _, style in lanes}, 10, "use")
    ages, frame_ages = history.numbers["correction_age_s"], history.numbers["frame_age_s"]
    seen = [each for each in (*ages, *frame_ages) if each is not None]
    top_s = min(_LONGEST_AGE_S, max([20.0, *seen]))
    ticks = nice_steps(top_s, 4)
    y = linear(0, ticks[-1], age_end, used_end + 16)
    marks = [(each, f"{each:g}") for each in ticks]
    value_axis(drawing, marks, y, "age (s)", middle=(used_end + age_end) / 2)
    for values, style in ((frame_ages, "c3"), (ages, "c1")):
        clipped = [None if each is None else min(each, ticks[-1]) for each in values]
        axis.series(drawing, clipped, y, style)
    flowing = sum(any(counts) for counts in zip(*history.kinds.values(), strict=True))
    for row, kind in enumerate(kinds):
        counts, top = history.kinds[kind], raster + 18 * row
        _raster_row(drawing, axis, counts, top)
        drawing.text(LEFT - 8, top + 13, kind_name(kind), "tick end")
        drawing.text(WIDTH - RIGHT + 8, top + 13, _rate(6 * sum(counts) / flowing), "tick")
    if not kinds:
        drawing.text((LEFT + WIDTH) / 2, raster + 13, "no corrections came", "tick middle")
    caption = (
        "Age in use is the upper bound of the class that the receiver reports. The rows are the "
        "messages by kind: light where less than half of the usual number came, empty where none "
        "came; on the right, the number in a minute. An age above "
        f"{ticks[-1]:g} s is drawn at the upper edge. Behind a line, faintly: all its values."
    )
    legend = (
        ("c1", "age of the corrections in use"),
        ("c3", "since the last message came"),
        ("good", "used"),
        ("bad", "not used"),
        ("grey", "use not known"),
    )
    return Figure("Corrections: use, age and kinds", drawing.render(), caption, legend)


def satellites(history: HistoryData, axis: TimeAxis) -> Figure:
    """Satellites, C/N0, and the reports about antenna and interference."""
    first_end, second, second_end = 170.0, 196.0, 346.0
    strips = second_end + 18
    bottom = strips + 3 * _LANE
    drawing = Drawing(bottom + _BELOW, "satellites, signal strength, antenna and interference")
    axis.draw(drawing, 10, bottom)
    counts = [history.numbers[name] for name in ("received", "received_well", "satellites")]
    most = max((each for values in counts for each in values if each is not None), default=0)
    ticks = nice_steps(max(10, most), 5)
    y = linear(0, ticks[-1], first_end, 14)
    marks = [(each, f"{each:g}") for each in ticks]
    value_axis(drawing, marks, y, "satellites", middle=(14 + first_end) / 2)
    for values, style in zip(counts, ("c4", "c3", "c1"), strict=True):
        axis.series(drawing, values, y, style)
    strengths = linear(15, 55, second_end, second)
    marks = [(each, str(each)) for each in (15, 25, 35, 45, 55)]
    middle = (second + second_end) / 2
    value_axis(drawing, marks, strengths, "C/N0 (dBHz)", middle=middle)
    for name, style in (("cno_best_dbhz", "c2"), ("cno_median_dbhz", "c5")):
        clipped = [
            None if each is None else min(55, max(15, each)) for each in history.numbers[name]
        ]
        axis.series(drawing, clipped, strengths, style)
    if not any(each is not None for each in history.numbers["cno_best_dbhz"]):
        drawing.text((LEFT + WIDTH) / 2, middle, "the receiver did not report C/N0", "note middle")
    _strip(drawing, axis, _words(history, "antenna", Antenna), _ANTENNA, strips, "antenna")
    jamming = _words(history, "jamming", Jamming)
    _strip(drawing, axis, jamming, _INTERFERENCE, strips + _LANE, "jamming")
    spoofing = _words(history, "spoofing", Spoofing)
    _strip(drawing, axis, spoofing, _INTERFERENCE, strips + 2 * _LANE, "spoofing")
    caption = (
        "Satellites received and C/N0 come from NAV-SAT, which is switched on only while the "
        "position is not RTK fixed. 35 dBHz is enough for carrier phases."
    )
    legend = (
        ("c1", "satellites used"),
        ("c3", "received with 35 dBHz or more"),
        ("c4", "received"),
        ("c2", "C/N0, best satellite"),
        ("c5", "C/N0, median"),
        ("good", "reported well"),
        ("warn", "warning"),
        ("bad", "trouble"),
        ("grey", "not known"),
    )
    return Figure("Satellites and signals", drawing.render(), caption, legend)


def timeline(history: HistoryData, axis: TimeAxis) -> Figure:
    """The state of the daemon, and the sessions by service."""
    found = sessions(history)
    channels = list(dict.fromkeys(each.channel for each in found))[:10]
    bottom = 10 + _LANE * (1 + max(1, len(channels)))
    drawing = Drawing(bottom + _BELOW, "states and sessions over time")
    axis.draw(drawing, 10, bottom)
    _strip(drawing, axis, history.texts["state"], _STATE_STYLES, 10, "state")
    for row, channel in enumerate(channels):
        top = 10 + _LANE * (row + 1)
        drawing.text(LEFT - 8, top + 15, _short(channel), "tick end")
        ours = [each for each in found if each.channel == channel]
        for session in ours:
            x = axis.x(session.begin_s)
            width = max(1.0, axis.x(session.end_s) - x - 0.8)
            style = "c5" if session.number % 2 else "c5b"
            drawing.bar(x, top + 4, width, _LANE - 8, style, _session_tip(session))
    if not channels:
        drawing.text((LEFT + WIDTH) / 2, 10 + _LANE + 15, "no session was open", "tick middle")
    legend = (
        ("good", "streaming"),
        ("blue", "connecting"),
        ("warn", "waiting"),
        ("bad", "blocked"),
        ("c5", "a session"),
        ("c5b", "the next one"),
    )
    return Figure("States and sessions", drawing.render(), "", legend)


def fix_shares(history: HistoryData) -> dict[str, float]:
    """The share of the samples of each fix, 0 to 1, the best first."""
    counts = Counter(history.texts.get("fix", ()))
    return {each: counts[each] / len(history) for each in FIX_STYLES if counts[each]}


_ANTENNA = {"ok": "good", "short": "bad", "open": "bad", "init": "grey", "unknown": "grey"}
_INTERFERENCE = {
    "none": "good",
    "warning": "warn",
    "indicated": "warn",
    "critical": "bad",
    "affirmed": "bad",
    "unknown": "grey",
}
_WORST = ("bad", "warn", "blue", "violet", "orange", "good", "grey", "")


def _words(
    history: HistoryData, name: str, kind: Callable[[int], Antenna | Jamming | Spoofing]
) -> list[str]:
    """The states of a series as words; "" where nothing was reported."""
    return ["" if each is None else kind(int(each)).name.lower() for each in history.numbers[name]]


def _use_word(use: str) -> str:
    return use if use in ("used", "unknown", "") else "not used"


def _lanes(
    drawing: Drawing,
    axis: TimeAxis,
    lanes: Iterable[tuple[str, str, str]],
    values: Sequence[str],
    top: float,
) -> None:
    """A row for each value, filled where a sample has it: fainter where only some have it."""
    rows = {value: (row, style) for row, (value, _, style) in enumerate(lanes)}
    for value, (row, _) in rows.items():
        drawing.text(LEFT - 8, top + _LANE * row + 15, value, "tick end")
        drawing.line(LEFT, top + _LANE * (row + 1), WIDTH - RIGHT, top + _LANE * (row + 1), "grid")
    for x, width, shares in _runs(axis, values):
        for value, share in shares:
            if value in rows:
                row, style = rows[value]
                y = top + _LANE * row + 4
                drawing.bar(x, y, width, _LANE - 8, style, value, 0.35 + 0.65 * share)


def _strip(
    drawing: Drawing,
    axis: TimeAxis,
    values: Sequence[str],
    styles: dict[str, str],
    top: float,
    name: str,
) -> None:
    """One row, whose colour is the worst state at each place."""
    drawing.text(LEFT - 8, top + 15, name, "tick end")
    for x, width, shares in _runs(axis, values):
        worst = min(
            (value for value, _ in shares), key=lambda value: _WORST.index(styles.get(value, ""))
        )
        if style := styles.get(worst):
            drawing.bar(x, top + 4, width, _LANE - 8, style, f"{name}: {worst}")


def _runs(
    axis: TimeAxis, values: Sequence[str]
) -> Iterable[tuple[float, float, tuple[tuple[str, float], ...]]]:
    """Neighbouring places with the same values, as one: x, width, and the values' shares."""
    begin, end, before = 0.0, 0.0, None
    for cell in axis.cells(2.0):
        counts = Counter(values[each] for each in cell.samples)
        shares = tuple(
            sorted((value, round(count / len(cell.samples), 1)) for value, count in counts.items())
        )
        if shares != before or cell.after_gap or cell.x > end + 3:
            if before is not None:
                yield begin, end - begin, before
            begin, before = cell.x, shares
        end = cell.x + cell.width
    if before is not None:
        yield begin, end - begin, before


def _raster_row(drawing: Drawing, axis: TimeAxis, counts: Sequence[int], top: float) -> None:
    cells = [
        (cell, sum(counts[each] for each in cell.samples) / len(cell.samples))
        for cell in axis.cells(_RASTER_PX)
    ]
    rates = sorted(rate for _, rate in cells if rate)
    usual = rates[len(rates) // 2] if rates else 0.0
    drawing.line(LEFT, top + 17.5, WIDTH - RIGHT, top + 17.5, "grid")
    begin, end, level = 0.0, 0.0, 0
    for cell, rate in cells:
        now = 0 if not rate else 1 if rate < usual / 2 else 2
        if now != level or cell.x > end + _RASTER_PX:
            _raster_run(drawing, begin, end, level, top)
            begin, level = cell.x, now
        end = cell.x + cell.width
    _raster_run(drawing, begin, end, level, top)


def _rate(per_minute: float) -> str:
    return f"{per_minute:.0f}/min" if per_minute >= 100 else f"{per_minute:.3g}/min"


def _raster_run(drawing: Drawing, begin: float, end: float, level: int, top: float) -> None:
    if level and end > begin:
        drawing.bar(begin, top + 3, end - begin, 12, "few" if level == 1 else "c1")


_RTCM = {
    "1005": "station",
    "1006": "station",
    "1007": "antenna",
    "1008": "antenna",
    "1032": "physical station",
    "1033": "antenna",
    "1230": "GLO biases",
    "4072": "moving base",
}
_MSM = {"107": "GPS", "108": "GLO", "109": "GAL", "110": "SBAS", "111": "QZSS", "112": "BDS"}


def kind_name(kind: str) -> str:
    """A kind with its meaning: "1077 GPS MSM7"."""
    if len(kind) == 4 and kind[:3] in _MSM and kind[3] in "1234567":
        return f"{kind} {_MSM[kind[:3]]} MSM{kind[3]}"
    return f"{kind} {_RTCM[kind]}" if kind in _RTCM else kind[:_LONGEST_LABEL]


def _kind_order(kind: str) -> tuple[bool, str]:
    return kind == "other", kind


def _session_tip(session: SessionRecord) -> str:
    minutes = (session.end_s - session.begin_s) / 60
    why = f", then {session.cause}" if session.cause else ""
    return f"{session.channel}: {minutes:.0f} min, {session.frames} messages{why}"


def _short(channel: str) -> str:
    """The label of a channel without its kind, cut where it is too long for the margin."""
    text = channel.removeprefix("ntrip ").removeprefix("mqtt ")
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"
