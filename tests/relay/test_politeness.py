"""A caster that misbehaves all day is asked seldom, and as often as the page of faults says."""

from __future__ import annotations

import pytest

from tests.support import politeness
from tests.support.politeness import BAN, asked, faults, listed


def test_the_page_lists_every_fault_through_which_no_corrections_flow() -> None:
    assert list(listed()) == faults()


@pytest.mark.parametrize("fault", ["unauthorized", "outside", "digest"])
def test_R10_a_day_of_a_refusal_stays_far_below_a_ban(fault: str) -> None:
    assert asked(fault).most_failed_in_a_row < 60


@pytest.mark.slow
@pytest.mark.timeout(240)  # a day with a session every 20 s
@pytest.mark.parametrize("fault", politeness.faults())
def test_R10_a_day_of_any_fault_stays_below_a_ban_and_is_as_the_page_says(fault: str) -> None:
    found = asked(fault)
    first, later = listed()[fault]

    assert found.most_failed_in_a_row < BAN
    assert found.first == pytest.approx(first, abs=max(3, 0.2 * first))
    assert found.later == pytest.approx(later, abs=max(3, 0.2 * later))
