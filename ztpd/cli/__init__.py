"""The command line: verbs, their output, their exit statuses."""

from ztpd.cli.main import main

__all__ = ["main"]
