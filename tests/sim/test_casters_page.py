"""The page of casters names simulated manners and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from tools.faulttable import names
from ztpd.sim.caster_answers import FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "casters.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| caster", "| ---"))
]
OPTIONS = {"needs_gga", "users", "ban", "icy", "icy-short", "str2str", "[ntrip] tls = true"}


def words(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_every_peculiarity_on_the_page_is_simulated() -> None:
    for _, _, _, simulated, _ in ROWS:
        assert words(simulated), simulated
        assert words(simulated) <= OPTIONS | set(FAULTS), simulated


def test_the_page_has_every_large_service() -> None:
    named = " ".join(row[0] for row in ROWS)
    for service in ("PointPerfect", "BKG", "SNIP", "RTK2go", "Trimble", "Leica", "Emlid"):
        assert service in named
    for service in ("Centipede", "SAPOS", "Point One"):
        assert service in named


def test_every_test_on_the_page_exists() -> None:
    existing = {name.partition("[")[0] for name in names()}
    for _, _, _, _, tests in ROWS:
        assert words(tests)
        assert words(tests) <= existing


def test_every_peculiarity_on_the_page_has_a_source() -> None:
    assert all(source for _, _, source, _, _ in ROWS)
