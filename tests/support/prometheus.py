"""The text form of Prometheus, read strictly; and Debian's own checker of it, where it is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROMTOOL = shutil.which("promtool")
with_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (Debian package prometheus) is not installed"
)

Labels = frozenset[tuple[str, str]]

_LABEL = r'([a-z_]+)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
_SAMPLE = re.compile(rf"([a-z_]+)(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")
_UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Metrics:
    """The series of one text; a text with a mistake fails the test."""

    def __init__(self, text: str) -> None:
        assert text.endswith("\n")
        self.series: dict[tuple[str, Labels], float] = {}
        self.types: dict[str, str] = {}
        helped: list[str] = []
        for line in text.removesuffix("\n").split("\n"):
            if line.startswith("# HELP "):
                helped.append(line.split(" ")[2])
            elif line.startswith("# TYPE "):
                name, kind = line.split(" ")[2:]
                assert helped[-1] == name
                assert name not in self.types
                self.types[name] = kind
            else:
                self._add(line)

    def _add(self, line: str) -> None:
        sample = _SAMPLE.fullmatch(line)
        assert sample, line
        labels = frozenset(
            (name, re.sub(r"\\.", lambda escape: _UNESCAPED[escape[0]], value))
            for name, value in re.findall(_LABEL, sample[2] or "")
        )
        assert sample[1] == list(self.types)[-1], "a metric is in one piece"
        assert (sample[1], labels) not in self.series, f"{line}: twice"
        self.series[sample[1], labels] = float(sample[7])

    def value(self, name: str, **labels: str) -> float | None:
        return self.series.get((name, frozenset(labels.items())))

    def sum(self, name: str, **labels: str) -> float:
        """Of all series that have these labels, and others."""
        wanted = frozenset(labels.items())
        return sum(
            value for (each, found), value in self.series.items() if each == name if wanted <= found
        )

    def label(self, name: str) -> str:
        """The value of the one label of the series of ``name`` that is 1."""
        ((found,),) = [
            found for (each, found), value in self.series.items() if each == name if value == 1
        ]
        return found[1]


def read(runtime_dir: Path) -> Metrics:
    return Metrics((runtime_dir / "metrics.prom").read_text())


def complaints(text: str) -> str:
    """What `promtool check metrics` has against ``text``."""
    assert PROMTOOL
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr if done.returncode or done.stderr else ""
