"""The alert rules and the dashboard of the package."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support import TOP
from tests.support.dashboard import DASHBOARD, FOLDER, PANELS, queries
from tests.support.prometheus import PROMTOOL, with_promtool
from ztpd.metrics import DOWN, FAMILIES

RULES = FOLDER / "ztpd.rules.yml"
CASES = TOP / "tests/data/prometheus/ztpd.rules.test.yml"
OF_EXPORTER = {"node_time_seconds", "node_textfile_mtime_seconds"}


def promtool(*words: str | Path) -> None:
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@with_promtool
def test_the_rules_are_sound() -> None:
    promtool("check", "rules", RULES)


@with_promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", CASES)


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text())


@pytest.mark.parametrize("name", alerts())
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    cases = re.findall(
        rf"alertname: {name}\b,?\s*(exp_alerts: ?\[\]|exp_alerts:\n)", CASES.read_text()
    )
    assert {"[]" in case for case in cases} == {True, False}


def test_the_alerts_are_those_that_an_operator_was_promised() -> None:
    page = (TOP / "docs/metrics.md").read_text()
    assert set(re.findall(r"^\| `(Ztpd\w+)`", page, re.M)) == set(alerts())


@with_promtool
def test_every_query_of_the_dashboard_is_one(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:number_{number}", "expr": each.text}
        for number, each in enumerate(queries(job=".*", instance="gw"))
    ]
    file = tmp_path / "queries.json"  # which is YAML as well
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)


@pytest.mark.parametrize(
    "file", [RULES, FOLDER / "ztpd.dashboard.json"], ids=lambda file: file.name
)
def test_no_metric_is_asked_for_that_there_is_not(file: Path) -> None:
    text = file.read_text()
    assert set(re.findall(r"\bztpd_[a-z_]+\b", text)) <= set(FAMILIES)
    assert set(re.findall(r"\bnode_[a-z_]+\b", text)) <= OF_EXPORTER


def test_the_panels_do_not_overlap() -> None:
    places = [each["gridPos"] for each in DASHBOARD["panels"]]
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    numbers = [each["id"] for each in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_fleet_is_sorted_by_trouble() -> None:
    (table,) = (each for each in PANELS if each["type"] == "table")
    assert table["options"]["sortBy"] == [{"displayName": "Trouble", "desc": True}]
    (organize,) = (each for each in table["transformations"] if each["id"] == "organize")
    assert organize["options"]["renameByName"]["Value #A"] == "Trouble"


def test_the_text_for_no_daemon_is_the_one_of_the_program() -> None:
    assert (FOLDER / "down.prom").read_text() == DOWN
