"""The queries of the dashboard in the package, as Grafana sends them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.support import TOP

FOLDER = TOP / "packaging/prometheus"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "ztpd.dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]


@dataclass(frozen=True, slots=True)
class Query:
    panel: str
    name: str
    text: str


def queries(*, job: str, instance: str) -> list[Query]:
    """Those of all panels, with values for the variables."""
    values = {"$job": job, "$instance": instance, "$__rate_interval": "1m"}
    found = []
    for panel in PANELS:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in values.items():
                text = text.replace(name, value)
            assert "$" not in text, "another variable"
            found.append(Query(panel["title"], target["refId"], text))
    return found
