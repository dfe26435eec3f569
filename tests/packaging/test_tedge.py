"""The plugin of thin-edge's `tedge diag collect`."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support import TOP

PLUGIN = TOP / "packaging/tedge/50_ztpd.sh"


def collect(top: Path, *words: str, has_ztpd: bool = True) -> subprocess.CompletedProcess[str]:
    folder = top / "bin"
    folder.mkdir()
    if has_ztpd:
        command = folder / "ztpd"
        config = f"--config {top}/ztpd.toml"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m ztpd {config} "$@"\n')
        command.chmod(0o755)
    environ = os.environ | {
        "PATH": str(folder),
        "PYTHONPATH": str(TOP),
        "STATE_DIRECTORY": str(top / "state"),
        "RUNTIME_DIRECTORY": str(top / "run"),
    }
    return subprocess.run(
        ["/bin/sh", str(PLUGIN), *words], env=environ, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("joined", [False, True])
def test_the_report_comes_into_the_folder_that_is_named(tmp_path: Path, joined: bool) -> None:
    output = tmp_path / "out"
    output.mkdir()
    given = [f"--output-dir={output}"] if joined else ["--output-dir", str(output)]
    done = collect(tmp_path, "collect", *given, "--config-dir", "/etc/tedge")
    assert done.returncode == 0, done.stderr
    with tarfile.open(output / "ztpd-report.tar.gz") as archive:
        assert "ztpd-report/report.html" in archive.getnames()


def test_without_ztpd_the_plugin_does_not_apply(tmp_path: Path) -> None:
    done = collect(tmp_path, "collect", "--output-dir", str(tmp_path), has_ztpd=False)
    assert done.returncode == 2


@pytest.mark.parametrize("words", [["collect"], ["collect", "--output-dir"], []])
def test_a_wrong_call_is_named(tmp_path: Path, words: list[str]) -> None:
    done = collect(tmp_path, *words)
    assert done.returncode == 64
    assert done.stderr


def test_the_package_installs_it_and_it_can_be_executed() -> None:
    assert PLUGIN.stat().st_mode & 0o111 == 0o111
    installed = (TOP / "packaging/debian/ztpd.install").read_text()
    assert "packaging/tedge/50_ztpd.sh usr/share/tedge/diag-plugins\n" in installed
