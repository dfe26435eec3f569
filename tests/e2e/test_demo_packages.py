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
if {missing!r} == "amqtt":
    import shutil
    shutil.which = lambda *_, **__: None  # mosquitto is missing too
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


def test_FR58_without_any_broker_mqtt_names_the_one_to_install() -> None:
    done = demo_without("amqtt", "--via", "mqtt")
    assert done.returncode == 69
    assert "Traceback" not in done.stderr
    assert "not installed: mosquitto" in done.stderr


def test_the_nearest_name_is_offered_for_a_fault_that_there_is_not() -> None:
    command = [sys.executable, "-m", "ztpd", "demo", "--fault", "no-antena"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "did you mean 'no-antenna'? `ztpd demo --fault list` lists them" in done.stderr


@pytest.mark.slow
def test_FR58_with_ntrip_the_demo_needs_no_package_of_its_own() -> None:
    done = demo_without("trustme")
    assert done.returncode == 0, done.stdout
    assert "goes without TLS" in done.stdout
    assert "RTK fixed, by corrections that the receiver used" in done.stdout
