"""The command line: verbs, what they print, how they end."""

from ztpd.cli.main import main

__all__ = ["main"]
