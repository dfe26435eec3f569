"""Actions of the tests of the roll-out."""

from __future__ import annotations

import re
from pathlib import Path

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container

TOP = Path(__file__).parents[4]

_SERVER = """\
[Unit]
Description=APT repository

[Service]
ExecStart=/usr/bin/python3 -m http.server --directory /payload/repository/public 8000

[Install]
WantedBy=multi-user.target
"""


def serve_repository(machine: Container) -> None:
    """Serve /payload/repository/public on port 8000 of the machine, which has no network."""
    machine.once(
        "/bin/sh",
        "-euc",
        f"cat >/etc/systemd/system/repository.service <<'UNIT'\n{_SERVER}UNIT\n"
        "systemctl enable repository.service",
    )


def documented(page: str, file: str) -> str:
    """The contents of ``file`` in a code block of a page, whose first line names the file."""
    found = re.search(
        rf"^```\w*\n(?:#|//) {re.escape(file)}\b[^\n]*\n(.*?)^```$",
        (TOP / "docs" / page).read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, f"docs/{page} does not show {file}"
    return found[1]


def write(machine: bench.Machine, file: str, text: str) -> None:
    machine.run(f"mkdir -p $(dirname {file}); cat >{file}", input=text)
