"""A network and name service of a test's own: nothing in it reaches the machine's network.

The code under test runs in a child process, because a namespace belongs to a process. Needs root,
or user namespaces that are allowed to mount.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import TOP

_UNSHARE = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@functools.cache
def _why_not() -> str:
    probe = "ip link set lo up && mount --bind /etc/hosts /etc/hosts"
    try:
        subprocess.run([*_UNSHARE, "sh", "-c", probe], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespace here: {error}"
    return ""


def inside(
    scenario: str,
    directory: Path,
    *,
    nameservers: Sequence[str] = (),
    hosts: Sequence[str] = (),
    setup: Sequence[str] = (),
    timeout_s: float = 60,
) -> Any:
    """The result of ``scenario`` of tests/support/namespace_child.py, run in a namespace with
    these lines of resolv.conf and /etc/hosts, after the shell commands ``setup``.

    Skips the test where there are no namespaces.
    """
    if reason := _why_not():
        pytest.skip(reason)
    (directory / "resolv.conf").write_text("".join(f"nameserver {each}\n" for each in nameservers))
    (directory / "hosts").write_text("".join(f"{each}\n" for each in hosts))
    prepare = [
        "ip link set lo up",
        f"mount --bind {directory}/resolv.conf /etc/resolv.conf",
        f"mount --bind {directory}/hosts /etc/hosts",
        *setup,
        f"exec {sys.executable} -m tests.support.namespace_child {scenario} {directory}",
    ]
    done = subprocess.run(
        [*_UNSHARE, "sh", "-c", " && ".join(prepare)],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
