"""The layers that the boot tests start from, and their measurements.

Collected only with ``ZTPD_DEB``, the package to test: `make boot-test` sets it. Then nothing is
skipped: where a container cannot be booted, the tests fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container

TOP = Path(__file__).parents[3]
SUITES = os.environ.get("ZTPD_SUITES", "bookworm trixie").split()

collect_ignore_glob = [] if "ZTPD_DEB" in os.environ else ["test_*"]


def tree(suite: str, kind: str) -> Path:
    """The directory of a minimal system, made if it is not there."""
    command = [str(TOP / "packaging/make-tree"), suite, kind]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(made.stdout.strip())


@pytest.fixture(scope="session")
def deb() -> Path:
    return Path(os.environ["ZTPD_DEB"]).resolve()


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def top() -> Iterator[Path]:
    """A directory on a disk that can carry overlays."""
    directory = Path(
        tempfile.mkdtemp(prefix="ztpd-boot-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    )
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def payload(top: Path, deb: Path) -> Path:
    """The /payload of the containers: the package, a newer one, the simulators."""
    directory = top / "payload"
    directory.mkdir()
    shutil.copy(deb, directory / "ztpd.deb")
    bench.newer(deb, directory / "ztpd-newer.deb")
    shutil.copy(Path(__file__).with_name("simulators.py"), directory)
    return directory


@pytest.fixture(scope="session")
def image(suite: str, top: Path, payload: Path) -> tuple[Path, ...]:
    """A minimal system into which the package was installed, never booted."""
    container = Container([tree(suite, "boot") / "root"], top / f"{suite}-image", payload)
    container.once("apt-get", "--quiet", "--yes", "install", "/payload/ztpd.deb")
    return container.layers


@pytest.fixture(scope="session")
def gateway(image: tuple[Path, ...], suite: str, top: Path, payload: Path) -> tuple[Path, ...]:
    """The same with simulated devices and services around it; still without a token."""
    container = Container(image, top / f"{suite}-gateway", payload)
    bench.equip(container)
    return container.layers


@pytest.fixture(scope="session")
def provisioned(
    gateway: tuple[Path, ...], suite: str, top: Path, payload: Path
) -> tuple[Path, ...]:
    """A gateway that has got its credentials, and was switched off."""
    with Container(gateway, top / f"{suite}-provisioned", payload) as container:
        bench.give_token(container)
        bench.streams(container)
        assert bench.calls(container) == 1
    return container.layers


@pytest.fixture
def running(provisioned: tuple[Path, ...], place: Path, payload: Path) -> Iterator[Container]:
    """A gateway that has its credentials, just booted."""
    with Container(provisioned, place, payload) as machine:
        bench.streams(machine)
        yield machine


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, top: Path) -> Iterator[Path]:
    """Where the changes of one test go."""
    directory = Path(tempfile.mkdtemp(dir=top))
    yield directory / "test"
    shutil.rmtree(directory, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sections = dict(bench.journals)
    if bench.measured:
        sections["measured"] = "\n".join(bench.measured)
    for name, text in sections.items():
        terminalreporter.section(name)
        terminalreporter.write_line(text)
