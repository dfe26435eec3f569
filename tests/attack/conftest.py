"""A table of the attacks, with the memory and the CPU time of each; see `make attack`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.attack import bench


@pytest.fixture(autouse=True)
def _cost(record_property: Callable[[str, object], None]) -> Iterator[None]:
    bench.measured.clear()
    yield
    for each in bench.measured:
        record_property("attack", list(each))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if "ZTPD_ATTACK_TABLE" not in os.environ:
        return
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
    ]
    rows = sorted(
        (report.nodeid.removeprefix("tests/attack/test_"), bench.Measured(*value))
        for report in reports
        for name, value in report.user_properties
        if name == "attack"
    )
    terminalreporter.section("attacks")
    terminalreporter.write_line(f"{'memory':>10} {'CPU':>7} {'of':>7} {'stalled':>8}  attack")
    for name, cost in rows:
        terminalreporter.write_line(
            f"{cost.grown_kib / 1024:6.1f} MiB {cost.cpu_s:5.2f} s {cost.took_s:5.1f} s "
            f"{1000 * cost.longest_s:5.0f} ms  {name}"
        )
