"""docs/failover.md: what it shows happens, and what it measured is so."""

from __future__ import annotations

import pytest

from tests.failover.days import FAULTS, Fault, spend
from tests.failover.page import figures, page, row
from tests.failover.story import parse, tell
from tests.support import TOP

PUBLISHED = (TOP / "docs/failover.md").read_text(encoding="utf-8")
ROWS = {
    line.split(" | ")[0].removeprefix("| "): f"{line}\n"
    for line in PUBLISHED.splitlines()
    if line.startswith("| ") and line.count("|") == 9
}
USUAL_BYTES = figures(ROWS[FAULTS[0].name]).bytes


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_journal_and_the_status_tell_the_published_story() -> None:
    told = tell()
    print("\n".join(scene.text() for scene in told))
    assert [scene.shape() for scene in told] == [scene.shape() for scene in parse(PUBLISHED)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_day_with_a_fault_has_few_changes_and_costs_what_the_page_says(fault: Fault) -> None:
    day, published = spend(fault.name), figures(ROWS[fault.name])
    print(row(fault, day, USUAL_BYTES), end="")
    for each in (day, published):
        assert each.changes <= fault.most_changes
        assert each.used >= fault.least_used
        assert sum(each.hours) <= fault.most_hours
        assert each.bytes <= fault.most_bytes * USUAL_BYTES
    assert day.bytes == pytest.approx(published.bytes, rel=0.25)
    assert sum(day.hours) == pytest.approx(sum(published.hours), abs=2)


def test_the_published_page_has_a_row_for_each_fault_and_nothing_else() -> None:
    rows = {name: text for name, text in ROWS.items() if name in {each.name for each in FAULTS}}
    assert page(parse(PUBLISHED), rows) == PUBLISHED, "run `make failover`"
    for fault in FAULTS:
        limit = int(ROWS[fault.name].split(" | ")[2])
        assert limit == fault.most_changes, "run `make failover`"
