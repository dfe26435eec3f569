"""`make faults`: the rows of docs/faults.md, the tests that bear their numbers, and the results."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs/faults.md"
_NUMBER = re.compile(r"(?<![A-Z0-9])R\d\d(?!\d)")


def rows() -> dict[str, str]:
    """Number and description of each fault."""
    return dict(re.findall(r"^\| (R\d\d) \| (.+?) \| ", PAGE.read_text(), re.MULTILINE))


def numbers(test: str) -> set[str]:
    """The numbers in the name of a test, or in the name of one of its cases."""
    return set(_NUMBER.findall(test.partition("[")[2])) or set(_NUMBER.findall(test))


def names() -> Iterator[str]:
    """Every test function there is."""
    for file in TESTS.rglob("test_*.py"):
        yield from re.findall(r"def (test_\w+)", file.read_text())


def main() -> int:
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        chosen = ["-k", " or ".join(rows()), f"--junitxml={report.name}"]
        status = subprocess.run([sys.executable, "-m", "pytest", "-q", *chosen], check=False)
        cases = ET.parse(report.name).getroot().iter("testcase")
        passed, failed = Counter[str](), Counter[str]()
        for case in cases:
            ends = {child.tag for child in case}
            found = numbers(case.get("name", ""))
            if ends & {"failure", "error"}:
                failed.update(found)
            elif "skipped" not in ends:
                passed.update(found)
    for number, what in rows().items():
        result = "FAILED" if failed[number] else "passed" if passed[number] else "NO TEST"
        count = passed[number] + failed[number]
        print(f"{number}  {result:<8} {count:>4} cases  {what}")
    return status.returncode


if __name__ == "__main__":
    sys.exit(main())
