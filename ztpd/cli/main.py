"""The command line: verbs, their output, their exit statuses."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ztpd.cli import verbs
from ztpd.errors import (
    ConfigError,
    NotPermitted,
    StandardOutputUnwritable,
    UsageError,
    ZtpdError,
)
from ztpd.system import directories

EXIT_INTERRUPTED = 130
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # or broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status."""
    _make_output_lenient()
    status = 0
    try:
        status = _status(sys.argv[1:] if arguments is None else list(arguments))
        if not sys.stdout.closed:
            sys.stdout.flush()  # a failure at the interpreter's end could not be named
    except BrokenPipeError:
        _discard_output()  # the reader (`| head`) has ended
    except OSError as error:  # each module names the failures of its own files
        if error.errno not in _FULL or error.filename is not None:
            raise
        from ztpd.cli.screen import complain

        _discard_output()
        return complain(StandardOutputUnwritable(os.strerror(error.errno)))
    return status


def _status(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except ZtpdError as error:
        from ztpd.cli.screen import complain

        forbidden = isinstance(error.__cause__, PermissionError) and os.geteuid() != 0
        if forbidden and not isinstance(error, ConfigError):  # that names its own remedy
            error = NotPermitted(error.detail)
        return complain(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _discard_output() -> None:
    """The interpreter writes at its end what is left; that must not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _make_output_lenient() -> None:
    """Neither a closed standard output nor a character that its encoding lacks ends a verb."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for the life of the process
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error has it


def _run(arguments: list[str]) -> int:
    match arguments:
        case ["run"]:  # the unit's: it does without the parser, which takes 9 ms
            return verbs.run_daemon(directories.CONFIG_FILE)
        case ["--config", file, "run"]:
            return verbs.run_daemon(Path(file))
    from ztpd.cli.arguments import parser

    if not arguments:
        parser().print_help(sys.stderr)
        return UsageError.exit_status
    try:
        options = parser().parse_args(arguments)
    finally:
        sys.stdout.flush()  # of --help, which ends here
    status: int = options.verb(options)
    return status
