"""The page of faults and the tests belong together."""

from __future__ import annotations

import pytest
from faulttable import names, numbers, rows


def test_the_page_has_a_row_for_each_number() -> None:
    assert list(rows()) == [f"R{number:02}" for number in range(1, 17)]


@pytest.mark.parametrize("number", rows())
def test_every_row_has_a_test_that_bears_its_number(number: str) -> None:
    assert any(number in numbers(name) for name in names())


def test_numbers_are_read_from_names() -> None:
    assert numbers("test_R05_R06_every_form") == {"R05", "R06"}
    assert numbers("test_R01_R14_a_refusal[auto-R03-MountpointUnknown]") == {"R03"}
    assert numbers("test_R05_R06_every_form[auto-icy]") == {"R05", "R06"}
    assert numbers("test_nothing") == set()
