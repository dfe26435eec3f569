"""``ztpd metrics``: the text that Prometheus reads."""

from __future__ import annotations

import argparse

from ztpd import metrics as text
from ztpd.cli.ask import daemon_runs
from ztpd.cli.screen import line
from ztpd.errors import RuntimeDirectoryUnusable
from ztpd.health import EXIT_NOT_RUNNING
from ztpd.system import directories
from ztpd.system.files import read_regular


def metrics(_: argparse.Namespace) -> int:
    """The verb; its exit status is 0 if a daemon runs, else 3."""
    if not daemon_runs():
        print(text.DOWN, end="")
        return EXIT_NOT_RUNNING
    path = directories.runtime_dir() / text.FILE
    try:
        found = read_regular(path)
    except OSError as error:
        raise RuntimeDirectoryUnusable(f"{path}: {error.strerror}") from error
    lines = found.decode(errors="replace").removesuffix("\n").split("\n")
    print("\n".join(map(line, lines)))  # the directory belongs to the daemon's user
    return 0
