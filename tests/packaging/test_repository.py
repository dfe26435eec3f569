"""The APT repository: its suites, its signature, and what stays private."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import TOP

pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("reprepro", "gpg", "gpgv", "dpkg-deb")),
    reason="reprepro, gpg or dpkg is not installed",
)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def repository(tmp_path: Path) -> Run:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TOP / "packaging/repository", tmp_path / "repository", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    def make(version: str, contents: str = "") -> Path:
        root = tmp_path / "package"
        (root / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (root / "contents").write_text(contents)
        (root / "DEBIAN/control").write_text(
            f"Package: ztpd\nVersion: {version}\nArchitecture: all\nSection: net\n"
            "Priority: optional\nMaintainer: T <t@ztpd.invalid>\nDescription: of a test\n"
        )
        deb = tmp_path / f"{version}{contents}.deb"
        subprocess.run(["dpkg-deb", "--build", root, deb], check=True, capture_output=True)
        return deb

    return make


def offered(top: Path) -> dict[str, str]:
    """The version in each suite, as a gateway with a Raspberry Pi OS of 64 bits sees it."""
    return {
        suite: "".join(
            re.findall(
                r"^Version: (.*)$",
                (top / f"repository/public/dists/{suite}/main/binary-arm64/Packages").read_text(),
                re.MULTILINE,
            )
        )
        for suite in ("candidate", "stable")
    }


def test_a_version_goes_from_candidate_to_stable_and_back(
    repository: Run, package: Callable[..., Path], tmp_path: Path
) -> None:
    old, new = package("1.0"), package("1.1")
    repository("put", "candidate", old)
    assert offered(tmp_path) == {"candidate": "1.0", "stable": ""}
    repository("promote")
    repository("put", "candidate", new)
    assert offered(tmp_path) == {"candidate": "1.1", "stable": "1.0"}
    repository("promote")
    assert offered(tmp_path) == {"candidate": "1.1", "stable": "1.1"}
    repository("put", "stable", old)
    assert offered(tmp_path) == {"candidate": "1.1", "stable": "1.0"}


def test_other_bytes_of_a_version_are_refused_and_the_suite_stays_as_it_was(
    repository: Run, package: Callable[..., Path], tmp_path: Path
) -> None:
    repository("put", "stable", package("1.0"))
    refused = repository("put", "stable", package("1.0", "other"))
    assert refused.returncode != 0
    assert "1.0" in refused.stderr
    repository("put", "candidate", package("1.1"))
    assert offered(tmp_path) == {"candidate": "1.1", "stable": "1.0"}


def test_the_signature_is_that_of_the_published_key_and_no_secret_is_published(
    repository: Run, package: Callable[..., Path], tmp_path: Path
) -> None:
    repository("put", "stable", package("1.0"))
    public = tmp_path / "repository/public"
    keyring = tmp_path / "keyring.gpg"
    subprocess.run(
        ["gpg", "--batch", "--dearmor", "--output", keyring, public / "ztpd.asc"],
        check=True,
        capture_output=True,
    )
    for suite in ("stable", "candidate"):
        signed = public / f"dists/{suite}/InRelease"
        verify = ["gpgv", "--keyring", str(keyring), str(signed)]
        assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
        signed.write_text(signed.read_text().replace("Origin: ztpd", "Origin: ztpe"))
        assert subprocess.run(verify, capture_output=True, check=False).returncode != 0
    assert {path.name for path in public.iterdir()} == {"dists", "pool", "ztpd.asc"}


def test_a_wrong_word_is_an_error_of_usage(repository: Run) -> None:
    assert repository("publish").returncode == 64
    assert repository("put", "stable").returncode == 64
