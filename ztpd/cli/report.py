"""``ztpd report``: one archive for support."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ztpd.cli import ask
from ztpd.cli import status as screen
from ztpd.errors import NotPermitted, ReportUnwritable
from ztpd.system.files import create
from ztpd.unit import read as read_unit
from ztpd.unit import why_not_running

if TYPE_CHECKING:
    from ztpd.report.material import Material
    from ztpd.status import Status


def report(options: argparse.Namespace) -> int:
    """Write the archive and print its path; 0, or raises :class:`ReportUnwritable`."""
    from ztpd import config
    from ztpd.report import archive
    from ztpd.report.gather import gather
    from ztpd.report.masking import Masking

    ask.yield_to_daemon()
    path = options.output or Path(f"ztpd-report-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar.gz")
    try:
        file = create(path)  # before anything is asked, and before root's rights are given up
    except OSError as error:
        raise ReportUnwritable(f"{path}: {error.strerror}") from error
    try:
        daemon, unknown = _daemon()
        masking = Masking(with_position=options.with_position)
        material = gather(
            options.config, daemon=daemon, masking=masking, record_s=options.seconds or 0.0
        )
        if unknown:
            material.lacks("daemon", unknown)
        down = None if daemon else why_not_running(read_unit(), lambda: config.load(options.config))
        material.status_text = screen.render(
            material.status, is_running=daemon is not None, clock="", down=down
        )
        with file:
            sizes = archive.write(file, material, masking, with_position=options.with_position)
    except OSError as error:
        _remove(path)
        raise ReportUnwritable(f"{path}: {error.strerror}") from error
    except BaseException:
        _remove(path)
        raise
    print(path)
    print(_summary(material, sizes, with_position=options.with_position), file=sys.stderr)
    return 0


def _remove(path: Path) -> None:
    """As far as this user still may; else it stays behind, incomplete."""
    with suppress(OSError):
        path.unlink()


def _daemon() -> tuple[Status | None, str]:
    """The running daemon's status; and why it is not known, where this user may not know."""
    try:
        return ask.daemon_status(), ""
    except NotPermitted as error:
        return None, f"{error}: run it as root"


def _summary(material: Material, sizes: dict[str, int], *, with_position: bool) -> str:
    position = "with" if with_position else "without"
    lines = [f"{len(sizes)} files, {position} position, without secrets: {', '.join(sizes)}"]
    lines += [f"not in it: {part}: {why}" for part, why in material.missing]
    return "\n".join(lines)
