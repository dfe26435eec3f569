"""``ztpd config``: the values in force, mistakes, and an example."""

from __future__ import annotations

import argparse
import os

from ztpd import config as configuration
from ztpd.cli.screen import line
from ztpd.errors import ConfigError
from ztpd.sources.endpoints import backups_alone, configured_without_ztp
from ztpd.system import directories
from ztpd.system.files import become_owner, require_regular, user_name


def show(options: argparse.Namespace) -> int:
    print(configuration.show(configuration.load(options.config)), end="")
    return 0


def check(options: argparse.Namespace) -> int:
    """0, or 78 where something is wrong."""
    given = configuration.load(options.config)  # mistakes first, then files that only root can read
    well = "all is well"
    has_token = configuration.has_token(given.config)
    if backups_alone(given.config, has_token=has_token) and not configured_without_ztp(
        given.config
    ):
        well += "; no ZTP token: without credentials, [[backup]] alone is used"
    become_owner(directories.state_dir())
    loaded = configuration.load(options.config)
    problems = []
    for unknown in loaded.unknown:
        hint = f"; did you mean {unknown.nearest}?" if unknown.nearest else ""
        problems.append(f"{unknown.file}: unknown key {unknown.key}{hint}")
    for key, path in configuration.named_files(loaded.config):
        try:
            require_regular(path)
            path.open("rb").close()
        except OSError as error:
            reader = user_name(os.geteuid())
            problems.append(
                f"{loaded.origins[key]}: {key} = {path}: {error.strerror}, for user {reader}"
            )
    print("\n".join(map(line, problems)) or f"{options.config}: {well}")
    return ConfigError.exit_status if problems else 0


def example(_: argparse.Namespace) -> int:
    print(configuration.example(), end="")
    return 0
