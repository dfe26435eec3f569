"""The demonstration where a package that it needs is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import TOP

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from ztpd.cli import main
sys.exit(main(["demo", "--once", *sys.argv[1:]]))
"""


def demo_without(missing: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT.format(missing=missing), *options]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", ["trustme", "cryptography"])
def test_FR58_a_missing_package_is_named_with_the_command_to_install_it(missing: str) -> None:
    done = demo_without(missing, "--via", "mqtt")
    assert done.returncode == 69
    assert "Traceback" not in done.stderr
    assert f"not installed: {missing}" in done.stderr
    assert "apt install python3-trustme" in done.stderr


@pytest.mark.slow
def test_FR58_with_ntrip_the_demo_needs_no_package_of_its_own() -> None:
    done = demo_without("trustme")
    assert done.returncode == 0, done.stdout
    assert "goes without TLS" in done.stdout
    assert "RTK fixed, by corrections that the receiver used" in done.stdout
