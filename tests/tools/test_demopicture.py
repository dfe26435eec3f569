"""The picture of the demonstration in README.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from tests.support import TOP
from tests.support.demo_states import BEFORE, MIDDLE, STREAMING
from tools.demopicture import Recorder, drawn
from ztpd.demo.chain import NAMES

PUBLISHED = (TOP / "docs/demo.svg").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def frames(svg: str) -> list[str]:
    """The text of each frame."""
    groups = ElementTree.fromstring(svg).iterfind(f"{SVG}g")
    return [
        "\n".join("".join(row.itertext()) for row in group.iter(f"{SVG}text")) for group in groups
    ]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrasts(rules: str) -> Iterator[float]:
    """The contrast of each text colour of ``rules`` to their page (WCAG 2.1, 1.4.3)."""
    (page,) = re.findall(r"\.page\{fill:(#\w{6})", rules)
    for ink in re.findall(r"\.(?!page)\w+\{fill:(#\w{6})", rules):
        bright, dark = sorted((luminance(page), luminance(ink)), reverse=True)
        yield (bright + 0.05) / (dark + 0.05)


def recorded() -> Recorder:
    recorder = Recorder()
    for status in (BEFORE, BEFORE, MIDDLE, STREAMING):
        recorder.show(status)
    return recorder


def test_each_step_of_a_run_is_one_frame() -> None:
    shown = frames(drawn(recorded().frames))
    assert len(shown) == 3
    assert "reads the IMEI" in shown[0]
    assert "RTK fixed" in shown[-1]


def test_without_animation_the_last_frame_alone_is_visible() -> None:
    svg = drawn(recorded().frames)
    assert ".frame{visibility:hidden}#f2{visibility:visible}" in svg
    assert "@media (prefers-reduced-motion:no-preference)" in svg


def test_text_of_the_run_cannot_break_the_picture() -> None:
    recorder = Recorder()
    recorder.tell("ztpd", '<script>&"</text>')
    recorder.show(STREAMING)
    (frame,) = frames(drawn(recorder.frames))
    assert '<script>&"</text>' in frame


def test_the_published_picture_shows_the_whole_chain_done() -> None:
    last = frames(PUBLISHED)[-1]
    for name in NAMES:
        assert re.search(rf"✓ {name}\b", last), name
    assert "RTK fixed" in last
    assert re.search(r"1\.2 m [▁-█]+ 0\.014 m", last)


@pytest.mark.parametrize("page", ["light", "dark"])
def test_every_colour_can_be_read_on_its_page(page: str) -> None:
    light, _, dark = PUBLISHED.partition("@media (prefers-color-scheme:dark)")
    found = list(contrasts(light if page == "light" else dark))
    assert len(found) == 7
    assert min(found) >= 4.5
