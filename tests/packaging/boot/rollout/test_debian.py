"""The package as a Debian maintainer judges it: built with its tests, lintian, autopkgtest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.conftest import tree
from tests.packaging.boot.container import Container

KNOWN = {
    # Debian 12's lintian: it ends at 4.6.2, and wants scripts of System V beside units
    "newer-standards-version",
    "package-supports-alternative-init-but-no-init.d-script",
}


@pytest.fixture
def builder(suite: str, place: Path, payload: Path, source: Path) -> Container:
    """A machine with the source, its Build-Depends and lintian."""
    machine = Container([tree(suite, "lint") / "root"], place, payload)
    machine.once("cp", "--recursive", "/payload/ztpd", "/root/ztpd")
    return machine


def test_it_is_built_with_its_tests_and_lintian_has_no_wish(builder: Container, suite: str) -> None:
    built = builder.once(  # without build-essential: there is nothing to compile
        "/bin/sh",
        "-euc",
        "cd /root/ztpd; dpkg-checkbuilddeps -I;"
        "dpkg-buildpackage --no-check-builddeps --unsigned-source --unsigned-changes",
    )
    (passed,) = re.findall(r"^(\d+) passed.*$", built, re.MULTILINE)
    assert int(passed) > 500
    bench.measured.append(f"{suite}: {passed} tests passed while the package was built")

    said = builder.once(
        "/bin/sh",
        "-euc",
        "cd /root; lintian --allow-root --fail-on=none --display-info --pedantic ztpd_*.changes",
    )

    tags = re.findall(r"^([EWIP]: .*?: ([\w.-]+).*)$", said, re.MULTILINE)
    assert [line for line, tag in tags if tag not in KNOWN] == []


def test_autopkgtest_passes(
    equipped: tuple[Path, ...], suite: str, place: Path, payload: Path, source: Path
) -> None:
    """The demo, the daemon under systemd, the upgrade and the way back."""
    with Container(equipped, place, payload) as machine:
        machine.run("cp --recursive /payload/ztpd /root/ztpd")
        done = machine.ask(
            "autopkgtest --no-built-binaries"
            " --ignore-restrictions=isolation-container,breaks-testbed"
            " --output-dir /root/out /payload/ztpd.deb /root/ztpd/ -- null"
        )
        summary = machine.run("cat /root/out/summary", check=False)

    results = dict(line.split()[:2] for line in summary.splitlines())
    assert results == dict.fromkeys(("demo", "daemon", "upgrade"), "PASS"), done.stdout[-8000:]
    bench.measured.extend(f"{suite}: autopkgtest: {line}" for line in summary.splitlines())
