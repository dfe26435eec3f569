"""The journal, ``status`` and ``check`` name the same cause and the same action."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.operability.faults import FAULTS, Fault, observe, page, row
from tests.support import TOP
from ztpd import check
from ztpd.health import cause

DOCUMENT = TOP / "docs/operability.md"

_rows: dict[str, str] = {}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_all_three_name_the_same_cause_and_action(
    fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = asyncio.run(observe(fault, tmp_path))
    _rows[fault.id] = row(fault, seen)
    with capsys.disabled():
        print(f"\n{_rows[fault.id]} {seen.after_s:.1f} s", end=" ")

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


def test_the_published_table_is_the_measured_one() -> None:
    if len(_rows) < len(FAULTS):
        pytest.skip("needs the results of all the others")
    assert page(_rows) == DOCUMENT.read_text(encoding="utf-8"), "run `make operability`"
