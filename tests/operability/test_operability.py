"""The journal, ``status`` and ``check`` name the same cause and the same action."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.operability.faults import FAULTS, Fault, observe, page, row
from tests.support import TOP
from ztpd import check
from ztpd.health import cause

PUBLISHED = (TOP / "docs/operability.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_all_three_name_the_same_cause_and_action(
    fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = asyncio.run(observe(fault, tmp_path))
    measured = row(fault, seen)
    with capsys.disabled():
        print(f"\n{measured} {seen.after_s:.1f} s", end=" ")

    known, walked = cause(seen.reported), check.document(seen.found)
    assert known
    assert known.event == fault.event
    assert walked["event"] == fault.event
    advice = fault.advice(tmp_path)
    assert known.advice == walked["advice"] == advice
    assert advice in seen.line
    assert advice in seen.screen
    assert known.text in seen.screen
    assert known.text in seen.line
    assert seen.after_s <= fault.within_s
    assert f"{measured}\n" in PUBLISHED, "run `make operability`"


def test_the_published_page_has_a_row_for_each_fault_and_nothing_else() -> None:
    rows = {line.split(" ")[1]: line for line in PUBLISHED.splitlines() if line.startswith("| ")}
    assert page(rows) == PUBLISHED, "run `make operability`"
