"""The pages of faults and the tests belong together."""

from __future__ import annotations

import re

import pytest

from tools.faulttable import names, numbers, rows, untested

MOST = {
    "N": 30,
    "Z": 19,
    "S": 22,
    "C": 10,
    "M": 14,
    "R": 16,
    "Q": 20,
    "U": 13,
    "G": 12,
    "D": 20,
    "P": 18,
    "T": 15,
}
LAST = {"A": 20, "B": 33, "C": 52, "D": 65, "E": 72, "F": 91, "G": 105}
LEFT_OUT = {
    *("G92", "G93", "G94", "G95", "M12", "Q12", "Q13", "Q14", "Q18"),
    *("D01", "D04", "D09", "D10", "D11", "D16", "D17", "P6", "P7"),
    *("T4", "T11", "T12", "T13"),
}
"""Numbers without a row: other rows cover these faults, or no test is possible."""


def test_the_pages_have_a_row_for_each_number() -> None:
    expected = []
    for kind, most in MOST.items():
        digits = 1 if kind in "PT" else 2
        expected += [f"{kind}{each:0{digits}}" for each in range(1, most + 1)]
    number = 1
    for group, last in LAST.items():
        expected += [f"{group}{each:02}" for each in range(number, last + 1)]
        number = last + 1
    listed = [number for number in rows() if not number.startswith("FR")]
    assert listed == [number for number in expected if number not in LEFT_OUT]


def test_faults_from_the_field_stand_in_the_order_of_their_numbers() -> None:
    reported = [number for number in rows() if number.startswith("FR")]
    assert reported == sorted(reported, key=lambda number: int(number[2:]))


@pytest.mark.parametrize("number", [number for number in rows() if number not in untested()])
def test_every_row_has_a_test_that_bears_its_number(number: str) -> None:
    assert any(number in numbers(name) for name in names())


@pytest.mark.parametrize("name", sorted(set(names())))
def test_every_number_in_the_name_of_a_test_has_a_row(name: str) -> None:
    assert set(re.findall(r"(?<![A-Za-z0-9])[A-Z]{1,2}\d{1,3}(?![A-Za-z0-9])", name)) <= set(rows())


def test_numbers_are_read_from_names() -> None:
    assert numbers("test_R05_R06_every_form") == {"R05", "R06"}
    assert numbers("test_R01_R14_a_refusal[auto-R03-MountpointUnknown]") == {"R03"}
    assert numbers("test_R05_R06_every_form[auto-icy]") == {"R05", "R06"}
    assert numbers("test_FR12_FR100_a_report") == {"FR12", "FR100"}
    assert numbers("test_S06_P1_T14_a_cut") == {"S06", "P1", "T14"}
    assert numbers("test_nothing") == set()
