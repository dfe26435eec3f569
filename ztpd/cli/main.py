"""The command line: verbs, their output, their exit statuses."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ztpd.cli import verbs
from ztpd.errors import ConfigError, NotPermitted, UsageError, ZtpdError
from ztpd.system import directories

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status."""
    _make_output_lenient()
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except ZtpdError as error:
        from ztpd.cli.screen import complain

        forbidden = isinstance(error.__cause__, PermissionError) and os.geteuid() != 0
        if forbidden and not isinstance(error, ConfigError):  # that names its own remedy
            error = NotPermitted(error.detail)
        return complain(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`| head`) has ended
        return 0


def _make_output_lenient() -> None:
    """Neither a closed standard output nor a character that its encoding lacks ends a verb."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for the life of the process
    elif isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
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
    options = parser().parse_args(arguments)
    status: int = options.verb(options)
    return status
