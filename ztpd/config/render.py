"""The configuration as text for people: the example file, the values in force."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from ztpd.config.load import LoadedConfig
from ztpd.config.options import TABLES, Option, sections
from ztpd.config.rules import toml

_HEAD = """\
# The configuration of ztpd.
#
# This file lists every setting with its default, behind a "#"; remove the "#" of a setting that
# you change. Most gateways need no change: `ztpd token set` stores the token.
#
# ztpd reads the files ztpd.toml.d/*.toml next to this one after it, in the order of their names;
# the last file that sets a key wins. `ztpd config check` finds mistakes, and `ztpd config show`
# prints the values in force, each with its file. An empty text means "not set".
"""


def example() -> str:
    """The file shipped as ``/etc/ztpd/ztpd.toml``: all settings, commented out."""
    parts = [_HEAD]
    for table in TABLES.values():
        mark = "#" if table.repeated else ""  # the header alone would be an empty one
        parts.append(f"\n\n{_comment(table.about)}{mark}{table.header}\n")
        parts += [f"\n{_example_of(table.name, option)}" for option in table.options.values()]
    return "".join(parts)


def _example_of(table: str, option: Option) -> str:
    text = _comment(option.help) + _comment(f"Takes {option.rule.allowed}.")
    if option.is_table:
        return f"{text}{_comment(f'Example: {items(option.example)}')}[{table}.{option.name}]\n"
    if option.example is not None:
        text += f"# Example: {option.name} = {toml(option.example)}\n"
    return f"{text}#{option.name} = {toml(option.default)}\n"


def items(table: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {toml(value)}" for name, value in table.items())


def _comment(text: str) -> str:
    return fill(text, "# ")


def fill(text: str, margin: str = "") -> str:
    lines = textwrap.wrap(
        " ".join(text.split()), 99 - len(margin), break_long_words=False, break_on_hyphens=False
    )
    return "".join(f"{margin}{line}\n" for line in lines)


_BACKUPS = (
    "# after all other services; alone, without ZTP, if there is neither token nor credentials"
)


def show(loaded: LoadedConfig) -> str:
    """All values in force as TOML, each with its file.

    A configuration holds no secrets, only the names of their files.
    """
    lines = []
    for prefix, table, section in sections(loaded.config):
        if prefix == "backup[1]":
            lines.append(_BACKUPS)
        lines.append(table.header)
        for name, option in table.options.items():
            key, value = f"{prefix}.{name}", getattr(section, name)
            if not option.is_table:
                origin = loaded.origins.get(key, "default")
                lines.append(_with_origin(f"{name} = {toml(value)}", origin))
            elif value:
                lines += ["", f"[{key}]"]
                lines += [
                    _with_origin(f"{item} = {toml(inner)}", loaded.origins[f"{key}.{item}"])
                    for item, inner in value.items()
                ]
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _with_origin(setting: str, origin: str) -> str:
    return f"{setting:<40}  # {origin}"
