"""Draws a run of the demonstration as an SVG: ``python -m tools.demopicture FILE [FAULT]``.

The picture plays the steps and stops at the last one; where the
reader wants no motion, or the viewer has no animation, it shows the last one only. It is readable
on a light and on a dark page.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from ztpd.demo import run
from ztpd.demo.console import Console
from ztpd.demo.picture import Line, Picture, Style
from ztpd.status import Status

COLUMNS, ROWS = 78, 24
_CHARACTER, _LINE, _BORDER = 8.4, 19.0, 14.0  # in pixels, for text of 14 pixels

_COLOURS = {  # on light, on dark: at least 4.5:1 (WCAG 2.1, 1.4.3)
    Style.PLAIN: ("#1f2328", "#e6edf3"),
    Style.DIM: ("#59636e", "#9198a1"),
    Style.BOLD: ("#1f2328", "#e6edf3"),
    Style.DONE: ("#116329", "#57ab5a"),
    Style.BUSY: ("#0a5c75", "#56b6c2"),
    Style.WARNING: ("#7d4e00", "#e0a82e"),
    Style.ERROR: ("#a40e26", "#ff7b72"),
}
_PAGES = (("#ffffff", "#d1d9e0"), ("#0d1117", "#3d444d"))  # ground and frame


class Frame(NamedTuple):
    at_s: float
    lines: list[Line]


class Recorder(Console):
    """Keeps a frame for each step that a reader can see."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.frames: list[Frame] = []
        self._picture = Picture()
        self._seen: object = None

    def tell(self, actor: str, text: str) -> None:
        if actor in ("ztpd", "demo"):
            self._picture.log(self.now_s, actor, text)
        if actor == "demo" and self.frames:
            self.frames.append(self._frame())

    def name_commands(self, commands: tuple[str, ...]) -> None:
        self._picture.commands = commands

    def name_fault(self, about: str) -> None:
        self._picture.fault = about

    def show(self, seen: Status) -> None:
        self._picture.show(seen)
        visible = (self._picture.marks, seen.receiver.fix)
        if visible != self._seen:
            self._seen = visible
            self.frames.append(self._frame())

    def _frame(self) -> Frame:
        return Frame(self.now_s, self._picture.lines(COLUMNS, ROWS, self.now_s))


def drawn(frames: Sequence[Frame]) -> str:
    """The SVG of ``frames``, which are shown in their order and with their times."""
    width = COLUMNS * _CHARACTER + 2 * _BORDER
    height = ROWS * _LINE + 2 * _BORDER
    pages = "\n".join(
        f'<g class="frame" id="f{number}">\n{_page(frame.lines)}</g>'
        for number, frame in enumerate(frames)
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" \
width="{width:.0f}" height="{height:.0f}" role="img" aria-labelledby="title">
<title id="title">ztpd demo on a terminal: modem, ZTP, store, service, receiver and fix fill in \
until the fix is RTK fixed</title>
<style>
{_style(frames)}</style>
<rect class="page" x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="8"/>
{pages}
</svg>
"""


def _style(frames: Sequence[Frame]) -> str:
    names = {style: style.value for style in _COLOURS}
    light = "".join(f".{names[style]}{{fill:{pair[0]}}}" for style, pair in _COLOURS.items())
    dark = "".join(f".{names[style]}{{fill:{pair[1]}}}" for style, pair in _COLOURS.items())
    page, inked = [f".page{{fill:{ground};stroke:{frame}}}" for ground, frame in _PAGES]
    last = len(frames) - 1
    rules = [
        "text{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}",
        f".{Style.BOLD.value}{{font-weight:bold}}",
        f"{page}{light}",
        f"@media (prefers-color-scheme:dark){{{inked}{dark}}}",
        f".frame{{visibility:hidden}}#f{last}{{visibility:visible}}",
        f"@media (prefers-reduced-motion:no-preference){{{_motion(frames)}}}",
    ]
    return "".join(f"{rule}\n" for rule in rules)


def _motion(frames: Sequence[Frame]) -> str:
    """Each frame is visible from its own time to that of the next one; the last one stays."""
    began_s = frames[0].at_s
    whole_s = max(frames[-1].at_s - began_s, 0.1)
    rules = []
    for number, frame in enumerate(frames):
        begin = 100 * (frame.at_s - began_s) / whole_s
        shown = f"{begin:.1f}%{{visibility:visible}}"
        hidden = "0%{visibility:hidden}" if number else ""
        if number + 1 < len(frames):
            end = 100 * (frames[number + 1].at_s - began_s) / whole_s
            shown += f"{end:.1f}%,100%{{visibility:hidden}}"
        rules.append(f"@keyframes k{number}{{{hidden}{shown}}}")
        rules.append(f"#f{number}{{animation:k{number} {whole_s:.1f}s step-end both}}")
    return "".join(rules)


def _page(lines: Sequence[Line]) -> str:
    rows = []
    for number, line in enumerate(lines):
        column, spans = 0, []
        for text, style in line:
            if text.strip():
                x = _BORDER + column * _CHARACTER
                length = f' textLength="{len(text) * _CHARACTER:.1f}"' if len(text) > 1 else ""
                spans.append(
                    f'<tspan x="{x:.1f}" class="{style.value}"{length}>{escape(text)}</tspan>'
                )
            column += len(text)
        if spans:
            y = _BORDER + (number + 0.75) * _LINE
            rows.append(f'<text y="{y:.1f}" xml:space="preserve">{"".join(spans)}</text>\n')
    return "".join(rows)


def main() -> int:
    path, fault = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    recorder = Recorder()
    options = {"service": "flex", "via": "ntrip", "format": "spartn", "fault": fault}
    result = run(argparse.Namespace(**options, capture=None, once=True), recorder)
    if result == 0:  # the very last words are about the end of the run
        path.write_text(drawn(recorder.frames[:-1]), encoding="utf-8")
        print(path)
    return result


if __name__ == "__main__":
    sys.exit(main())
