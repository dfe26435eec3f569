"""`make faults`: the rows of the pages of faults, each with the results of its tests."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
PAGES = ("faults.md", "modem-scenarios.md")
_FORM = r"(?:(?:[A-GMNQRSUZ]|FR)\d{2,3}|[PT]\d{1,2})"
_NUMBER = re.compile(rf"(?<![A-Z0-9]){_FORM}(?!\d)")


def rows() -> dict[str, str]:
    """Number and description of each fault."""
    return {number: fault for number, fault, _ in _table()}


def untested() -> set[str]:
    """The numbers whose row explains why there is no test."""
    return {number for number, _, does in _table() if does.startswith("not tested: ")}


def _table() -> list[tuple[str, str, str]]:
    text = "".join((TESTS.parent / "docs" / page).read_text() for page in PAGES)
    row = rf"^\| ({_FORM}) \| (.+?) \| (.*)"
    return re.findall(row, text, re.MULTILINE)


def numbers(test: str) -> set[str]:
    """The numbers in the name of a test, or in the name of one of its cases."""
    return set(_NUMBER.findall(test.partition("[")[2])) or set(_NUMBER.findall(test))


def names() -> Iterator[str]:
    """Every test function there is, and every case whose name begins with a number."""
    for file in TESTS.rglob("test_*.py"):
        if file.name == "test_faults.py":  # numbers as examples
            continue
        text = file.read_text()
        yield from re.findall(r"def (test_\w+)", text)
        yield from re.findall(rf'"({_FORM})["-]', text)


def main() -> int:
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        chosen = ["-k", " or ".join(rows()), f"--junitxml={report.name}"]
        chosen += [f"--ignore={TESTS}/test_faults.py"]  # every row has a case there
        status = subprocess.run([sys.executable, "-m", "pytest", "-q", *chosen], check=False)
        cases = ET.parse(report.name).getroot().iter("testcase")
        passed, failed, skipped = Counter[str](), Counter[str](), Counter[str]()
        for case in cases:
            ends = {child.tag for child in case}
            found = numbers(case.get("name", ""))
            if ends & {"failure", "error"}:
                failed.update(found)
            else:
                (skipped if "skipped" in ends else passed).update(found)
    totals = Counter[str]()
    for number, fault in rows().items():
        results = {"FAILED": failed, "passed": passed, "skipped": skipped}
        result = next((name for name, cases in results.items() if cases[number]), "NO TEST")
        result = "argued" if result == "NO TEST" and number in untested() else result
        totals[result] += 1
        count = passed[number] + failed[number]
        print(f"{number:<4}  {result:<8} {count:>4} cases  {fault}")
    shares = ", ".join(f"{count} {result}" for result, count in totals.items())
    print(f"{totals.total()} faults: {shares}")
    return status.returncode


if __name__ == "__main__":
    sys.exit(main())
