"""The page and its plots: what a person sees of a day."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest

from tests.support.histories import END_UNIX_S, LAT_DEG, LON_DEG, a_day, as_fetched
from ztpd import status
from ztpd.check import LinkState, Result
from ztpd.history.columns import Sample
from ztpd.history.ring import HistoryRing
from ztpd.history.transfer import HistoryData
from ztpd.report import page, plots, scatter
from ztpd.report.gather import history_rows
from ztpd.report.material import Material
from ztpd.report.plots import kind_name
from ztpd.report.sessions import sessions
from ztpd.report.svg import TimeAxis, nice_steps

DAY = a_day()
HOSTILE = "<script>alert('x')</script>\"'&"


def material(history: HistoryData) -> Material:
    found = Material(datetime.fromtimestamp(END_UNIX_S, UTC), history=history)
    found.versions = {"ztpd": "1.0", "system": HOSTILE}
    found.status = status.from_json(
        {
            "schema": 1,
            "state": "streaming",
            "reason": {"text": HOSTILE, "advice": HOSTILE},
            "receiver": {"model": "ZED-F9P", "findings": [{"text": HOSTILE, "advice": "Look."}]},
        }
    )
    found.is_running, found.verdict = True, "degraded"
    found.checked = (Result("tls", LinkState.PROBLEM, HOSTILE, "tls.x", HOSTILE),)
    found.journal = found.config_text = found.status_text = f"{HOSTILE}\n" * 3
    found.lacks("receiver settings", HOSTILE)
    return found


def figures(history: HistoryData) -> list[plots.Figure]:
    axis = TimeAxis(history.unix_s)
    found = [
        plots.fix(history, axis),
        plots.corrections(history, axis),
        plots.satellites(history, axis),
        plots.timeline(history, axis),
    ]
    measured = scatter.measure(history)
    return [*found, scatter.figure(measured)] if measured else found


def one_sample() -> HistoryData:
    ring = HistoryRing()
    ring.add(Sample(at_s=0.0, state="starting"))
    return as_fetched(ring)


def moving() -> HistoryData:
    """Three minutes, with a pause in which the gateway slept."""
    ring = HistoryRing()
    for number in range(18):
        at_s = 10.0 * number + 3600.0 * (number > 9)
        ring.add(Sample(at_s=at_s, state="streaming", fix="no fix", frames={"x" * 30: 300}))
    return as_fetched(ring)


HISTORIES = {
    "a day": DAY,
    "a single sample": one_sample(),
    "three minutes": moving(),
    "no sample": HistoryData(),
}


class _Tags(HTMLParser):
    """Fails where elements do not close in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", HISTORIES)
def test_the_page_is_whole_and_needs_nothing_from_outside(name: str) -> None:
    html = page.render(material(HISTORIES[name]))
    tags = _Tags()
    tags.feed(html)
    assert tags.open == []
    assert not tags.seen & {"script", "img", "link", "iframe", "object"}
    assert "http" not in html.replace("http-equiv", "")
    assert "default-src 'none'" in html
    assert "nan" not in re.sub(r"<pre>.*?</pre>|[a-z-]*nan[a-z]+", "", html)


def test_the_headline_says_why_corrections_are_not_used_and_what_to_do() -> None:
    found = material(DAY)
    use = {"use": "not used: there is no key", "use_event": "gnss.not_used.no_key"}
    found.status = status.from_json({"schema": 1, "state": "streaming", "receiver": use})
    headline = page.render(found).partition("<section")[2].partition("</section>")[0]
    assert "the receiver does not use them: there is no key" in headline
    assert "advice" in headline


def test_texts_from_outside_are_shown_and_never_become_elements() -> None:
    html = page.render(material(DAY))
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html


_TEXT = re.compile(r'<text x="([-\d.]+)" y="([-\d.]+)" class="([^"]*)"( transform)?[^>]*>([^<]*)<')
_WIDE, _HIGH = 7.4, 11.0  # of a character at 12 px


def _boxes(svg: str) -> list[tuple[float, float, float, float, str]]:
    """Left, top, right, bottom and text of each label, as wide as a sans-serif font may be."""
    found = []
    for x_text, y_text, style, turned, text in _TEXT.findall(svg):
        x, y, width = float(x_text), float(y_text), _WIDE * len(text)
        left = x - (width if "end" in style else width / 2 if "middle" in style else 0.0)
        if turned:
            found.append((x - _HIGH, y - width / 2, x, y + width / 2, text))
        else:
            found.append((left, y - _HIGH, left + width, y, text))
    return found


@pytest.mark.parametrize("name", [each for each in HISTORIES if each != "no sample"])
def test_no_label_covers_another_or_leaves_its_plot(name: str) -> None:
    for figure in figures(HISTORIES[name]):
        height = float(re.search(r'viewBox="0 0 960 (\d+)"', figure.svg)[1])  # type: ignore[index]
        boxes = _boxes(figure.svg)
        assert boxes
        for left, top, right, bottom, text in boxes:
            inside = left >= 0 and right <= 960 and top >= 0 and bottom <= height
            assert inside, (figure.title, text)
        for one, two in combinations(boxes, 2):
            apart = one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]
            assert apart, (figure.title, one[4], two[4])


def test_every_plot_has_axes_units_and_a_legend() -> None:
    expected = {
        "Fix and accuracy": ("accuracy (m)", "UTC", "RTK fixed", "no fix"),
        "Corrections: use, age and kinds": ("age (s)", "UTC", "1077 GPS MSM7", "1230 GLO biases"),
        "Satellites and signals": ("satellites", "C/N0 (dBHz)", "antenna", "jamming"),
        "Scatter of the position": ("east (m)", "north (m)"),
        "States and sessions": ("state", "UTC"),
    }
    for figure in figures(DAY):
        for label in expected[figure.title]:
            assert f">{label}<" in figure.svg, figure.title
        assert figure.legend


def test_a_day_is_drawn_with_few_elements() -> None:
    assert len(page.render(material(DAY))) < 400_000


def test_the_scatter_is_measured_from_the_median_of_the_best_fix() -> None:
    found = scatter.measure(DAY)
    assert found
    assert found.fix == "RTK fixed"
    assert found.count > 7000
    assert found.cep50_m == pytest.approx(0.0095, abs=0.003)  # 1.18 sigma of 8 mm, on a 1 cm grid
    assert found.cep95_m == pytest.approx(0.0196, abs=0.005)  # 2.45 sigma
    assert found.height_sigma_m == pytest.approx(0.0136, abs=0.002)


def test_the_scatter_crosses_the_date_line_the_short_way() -> None:
    ring = HistoryRing()
    day = a_day(60)
    history = HistoryData(
        day.unix_s,
        {
            "lat_deg": (0.0,) * 60,
            "lon_deg": (179.9999999, -179.9999999) * 30,
            "height_m": (0.0,) * 60,
        },
        {"fix": ("RTK fixed",) * 60},
    )
    assert ring.count == 0
    found = scatter.measure(history)
    assert found
    assert max(map(abs, found.east_m)) < 0.05


def test_sessions_are_found_with_their_service_and_their_end() -> None:
    found = sessions(DAY)
    assert [each.channel.split()[-1] for each in found] == [
        "ppntrip.example:2102",
        "backup.example:2101/MP",
        "ppntrip.example:2102",
        "ppntrip.example:2102",
        "ppntrip.example:2102",
    ]
    assert [each.cause for each in found] == ["session.stale", "", "", "", ""]
    assert [each.is_open for each in found] == [False, False, False, False, True]
    hours = [(each.end_s - each.begin_s) / 3600 for each in found]
    assert hours == pytest.approx([5.0, 1.3, 11.2, 0.1, 5.7], abs=0.01)
    assert sum(each.frames for each in found) == sum(map(sum, DAY.kinds.values()))


def test_the_samples_as_a_table_have_no_coordinate_unless_it_is_wanted() -> None:
    without, with_them = (history_rows(DAY, with_position=each) for each in (False, True))
    assert "lat_deg" not in without[0]
    assert not any(cell.startswith("47.28") for row in without for cell in row)
    place = with_them[0].index("lat_deg")
    lats = [float(row[place]) for row in with_them[1:] if row[place]]
    assert sum(lats) / len(lats) == pytest.approx(LAT_DEG, abs=1e-5)
    assert len(without) == len(with_them) == len(DAY) + 1
    assert LON_DEG != 0


def test_kinds_are_named_as_engineers_know_them() -> None:
    names = ["1077", "1084", "1127", "1006", "OCB-GPS", "other", "4072"]
    assert [kind_name(each) for each in names] == [
        "1077 GPS MSM7",
        "1084 GLO MSM4",
        "1127 BDS MSM7",
        "1006 station",
        "OCB-GPS",
        "other",
        "4072 moving base",
    ]


@pytest.mark.parametrize(
    ("high", "steps"),
    [(10, [0, 2, 4, 6, 8, 10]), (60, [0, 20, 40, 60]), (24, [0, 5, 10, 15, 20, 25])],
)
def test_axes_have_round_numbers(high: float, steps: list[float]) -> None:
    assert nice_steps(high, 5 if high != 60 else 4) == steps


CHROMIUM = shutil.which("chromium")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize(
    ("scheme", "switches", "background"),
    [
        ("light", [], (0xF6, 0xF6, 0xF3)),
        ("dark", ["--blink-settings=preferredColorScheme=0"], (0x14, 0x14, 0x13)),
    ],
)
def test_a_browser_shows_the_page_in_light_and_dark(
    tmp_path: Path, scheme: str, switches: list[str], background: tuple[int, int, int]
) -> None:
    html, picture = tmp_path / "report.html", tmp_path / "page.png"
    html.write_text(page.render(material(DAY)))
    assert CHROMIUM
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *switches]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,2600"]
    command += [f"--screenshot={picture}", html.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr
    assert _first_pixel(picture.read_bytes()) == background
    assert picture.stat().st_size > 100_000, scheme


def _first_pixel(png: bytes) -> tuple[int, ...]:
    """The first pixel is stored as it is, whatever the filter of its row."""
    at, data = 8, b""
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    return tuple(zlib.decompressobj().decompress(data, 4)[1:4])
