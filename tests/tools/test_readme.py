"""The first page: its claims, its commands and its picture."""

from __future__ import annotations

import re

from tests.support import TOP
from tools import faulttable

README = (TOP / "README.md").read_text(encoding="utf-8")
FIRST_SCREEN = "\n".join(README.splitlines()[:35])


def test_the_first_screen_says_plainly_where_ztpd_was_not_tried() -> None:
    assert "**Not yet tried on hardware, nor with the live service.**" in FIRST_SCREEN


def test_the_first_screen_leads_to_the_words() -> None:
    assert "](#words)" in FIRST_SCREEN
    rows = README.partition("\n## Words\n")[2].partition("\n## ")[0].count("\n| ")
    assert rows >= 10


def test_there_are_as_many_faults_as_claimed() -> None:
    claimed = re.search(r"More than (\d+) faults", README)
    assert claimed
    assert len(faulttable.rows()) > int(claimed[1])


def test_each_make_command_is_a_target() -> None:
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README))
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "deb"} <= named <= targets


def test_each_fault_that_it_names_is_one_of_the_demo() -> None:
    from ztpd.demo import FAULTS

    paragraph = next(each for each in README.split("\n\n") if "--fault list" in each)
    named = set(re.findall(r"`(?:--fault )?([a-z]+-?[a-z]+)`", paragraph)) - {"mosquitto"}
    assert len(named) >= 3
    assert named <= set(FAULTS)
