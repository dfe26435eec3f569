"""The last ten minutes as small lines: gaps are seen, the worst is not hidden, a scale is named."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ztpd.cli.sparklines import ASCII, SAMPLES, lines, recent
from ztpd.history.transfer import HistoryData

NOW_S = 1_800_000_000.0
SGR = re.compile(r"\033\[\d+m")


def history(
    age_s: list[float | None], *, fix: list[str] | None = None, **numbers: list[float | None]
) -> HistoryData:
    """A sample each ten seconds; the last one now."""
    count = len(age_s)
    nothing: list[float | None] = [None] * count
    columns = {"accuracy_m": nothing, "satellites": nothing, "correction_age_s": age_s} | numbers
    return HistoryData(
        unix_s=tuple(NOW_S - 10.0 * back for back in reversed(range(count))),
        numbers={name: tuple(values) for name, values in columns.items()},
        texts={"fix": tuple(fix or ["RTK fixed"] * count)},
    )


def drawn(
    data: HistoryData, columns: int = 120, now_s: float = NOW_S
) -> dict[str, tuple[str, str]]:
    """Of each series what is between the edges, and the scale."""
    text = lines(recent(data, now_s), columns)
    found = re.findall(r"^ *(\w+)  │(.*)│(?:  |\n {14})(.*)$", text, re.M)
    return {name: (bars, scale) for name, bars, scale in found}


def test_a_minute_without_a_report_is_a_gap_of_a_minute() -> None:
    ages: list[float | None] = [2.0] * 30 + [None] * 6 + [2.0] * 24
    assert drawn(history(ages))["corrections"] == ("▁" * 30 + " " * 6 + "▁" * 24, "2 s old")


def test_what_was_before_the_start_of_the_daemon_is_a_gap() -> None:
    bars, scale = drawn(history([1.0, 15.0]))["corrections"]
    assert bars == " " * 58 + "▁█"
    assert scale == "1 to 15 s old"


def test_no_sample_for_a_while_moves_the_line_away_from_its_end() -> None:
    bars, _ = drawn(history([2.0] * 60), now_s=NOW_S + 64)["corrections"]
    assert bars == "▁" * 55 + " " * 5
    assert drawn(history([2.0] * 60), now_s=NOW_S + 14)["corrections"][0] == "▁" * 60


def test_a_column_of_several_samples_shows_the_worst_of_them_and_hides_no_gap() -> None:
    ages: list[float | None] = [2.0] * 60
    ages[7], ages[21], ages[22] = 60.0, None, 60.0
    sats: list[float | None] = [20.0] * 60
    sats[7] = 6.0
    found = drawn(history(ages, satellites=sats), columns=80)
    assert found["corrections"] == ("▁" * 3 + "█" + "▁" * 6 + " █" + "▁" * 18, "2 to 60 s old")
    assert found["satellites"] == ("█" * 3 + "▁" + "█" * 26, "6 to 20")


def test_noise_of_one_satellite_or_one_second_stays_flat() -> None:
    noisy: list[float | None] = [20.0 + number % 2 for number in range(60)]
    assert set(drawn(history(noisy))["corrections"][0]) == {"▁", "▂"}


def test_accuracy_is_on_a_logarithmic_scale_and_is_left_out_without_a_position() -> None:
    fixes = ["RTK fixed"] * 20 + ["RTK float"] * 20 + ["no fix"] * 20
    accuracy: list[float | None] = [*[0.01] * 20, *[0.1] * 10, *[1.0] * 10, *[4e6] * 20]
    bars, scale = drawn(history([2.0] * 60, fix=fixes, accuracy_m=accuracy))["accuracy"]
    assert bars == "▁" * 20 + "▅" * 10 + "█" * 10 + " " * 20
    assert scale == "0.01 to 1 m"


def test_the_fix_has_levels_that_differ_and_names_its_worst_and_best() -> None:
    fixes = ["no fix", "3D", "DGNSS", "RTK float", "RTK fixed", "unknown"]
    bars, scale = drawn(history([2.0] * 6, fix=fixes))["fix"]
    assert bars[-6:] == "▁▃▄▆█ "
    assert scale == "no fix to RTK fixed"


def test_without_any_sample_the_frame_says_so() -> None:
    data = HistoryData()
    for series in recent(data, NOW_S):
        assert series.scale == ""
    assert lines(recent(data, NOW_S), 80).count("no data") == 5


def test_a_terminal_without_block_characters_gets_others_of_the_same_meaning() -> None:
    ages: list[float | None] = [*map(float, range(8)), None]
    text = lines(recent(history(ages), NOW_S), 120, ASCII)
    assert text.isascii()
    assert "_.-=+*%# |  0 to 7 s old" in text


def test_colours_change_nothing_but_colours() -> None:
    fixes = ["no fix", "3D", "RTK float", "RTK fixed"] * 15
    series = recent(history([2.0] * 60, fix=fixes), NOW_S)
    plain, coloured = lines(series, 120), lines(series, 120, colour=True)
    assert SGR.sub("", coloured) == plain
    assert "\033[31m▁\033[0m\033[33m▃\033[0m\033[33m▆\033[0m\033[32m█\033[0m" in coloured


VALUES = st.lists(st.none() | st.floats(0, 4e9), min_size=1, max_size=7).map(
    lambda few: [few[number * len(few) // SAMPLES] for number in range(SAMPLES)]
)


@given(VALUES, VALUES, VALUES, st.integers(42, 200))
def test_any_values_fit_into_any_width(
    ages: list[float | None],
    accuracy: list[float | None],
    satellites: list[float | None],
    columns: int,
) -> None:
    data = history(ages, accuracy_m=accuracy, satellites=satellites)
    text = lines(recent(data, NOW_S), columns)
    framed = [line for line in text.splitlines() if "│" in line]
    assert all(len(line) <= columns for line in framed)
    cells = {len(line.split("│")[1]) for line in framed}
    assert len(cells) == 1
    assert SAMPLES % cells.pop() == 0
