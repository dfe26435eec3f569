"""The journal, ``status`` and ``check`` name the same cause and the same action."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.operability.faults import FAULTS, Fault, observe, page, row
from tests.operability.verdicts import HEAD, PASSING, VERDICTS, Verdict, section
from tests.operability.verdicts import observe as observe_verdict
from tests.support import TOP, virtualtime
from ztpd import check, events
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
    sections = PUBLISHED.partition(HEAD)[2]
    assert page(rows, [sections]) == PUBLISHED, "run `make operability`"
    starts = [f"\n`{each.event.name}`: {each.about}\n" for each in VERDICTS]
    assert [part for part in starts if sections.count(part) != 1] == []
    assert sections.count("\nstatus   ") == len(VERDICTS)


@pytest.mark.slow
@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.event.name)
def test_status_check_and_journal_say_the_same_about_the_receiver(
    verdict: Verdict, tmp_path: Path
) -> None:
    seen = virtualtime.run(observe_verdict(verdict, tmp_path))
    text = seen.status.partition(": ")[2]
    assert text
    assert seen.check.endswith(text)
    warns = verdict.event.level >= logging.WARNING
    assert seen.journal == (f"{text}. {seen.advice}" if warns else text)
    assert seen.advice == verdict.event.remedy
    assert seen.problems == (verdict.event.name,)
    assert section(verdict, seen) in PUBLISHED, "run `make operability`"


def test_every_verdict_about_the_receiver_is_shown() -> None:
    about = ("gnss.not_used.", "gnss.use_", "gnss.fix_", "gnss.no_fix")
    declared = {each.name for each in events.every() if each.name.startswith(about)}
    assert declared == {each.event.name for each in VERDICTS} | {each.name for each in PASSING}
