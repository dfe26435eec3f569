"""The configuration as text for people: the example file, the reference, the values in force."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

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

_INTRODUCTION = """\
# Configuration

ztpd reads `/etc/ztpd/ztpd.toml` (or the file given with `--config`), then every `*.toml` in the
directory `ztpd.toml.d` next to it, in the order of their names. The last file that sets a key wins,
key by key; in `[receiver.keys]`, item by item; all `[[backup]]` together are one key. Hidden files
and those with another ending, such as the `*.dpkg-dist` that a package upgrade leaves, are not
read.

- `ztpd config example` prints the file with all defaults.
- `ztpd config show` prints the values in force, each with its file.
- `ztpd config check` ends with 0, or with 78 and the mistakes.

`systemctl reload ztpd` puts a change in force. A session that the change does not concern goes on.

A wrong type or value, or two that contradict each other, keep the daemon from starting (exit
status 78); the message names file, key, value and the allowed values. An unknown key is an error
for `config check`, but only a warning in the journal for `run`, so that one file can serve gateways
of several versions.

These files hold no secret. The ZTP token is in its own file or comes as the systemd credential
`ztp-token`; for passwords and private keys, the configuration names their files.

An empty text (`""`) or an empty list means "not set". The end of a key's name is its unit:
`_s` is seconds, `_bytes` is bytes.
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
        return f"{text}{_comment(f'Example: {_items(option.example)}')}[{table}.{option.name}]\n"
    if option.example is not None:
        text += f"# Example: {option.name} = {toml(option.example)}\n"
    return f"{text}#{option.name} = {toml(option.default)}\n"


def _items(table: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {toml(value)}" for name, value in table.items())


def _comment(text: str) -> str:
    return _fill(text, "# ")


def _fill(text: str, margin: str = "") -> str:
    lines = textwrap.wrap(
        " ".join(text.split()), 99 - len(margin), break_long_words=False, break_on_hyphens=False
    )
    return "".join(f"{margin}{line}\n" for line in lines)


def reference() -> str:
    """``docs/configuration.md``."""
    parts = [_INTRODUCTION]
    for table in TABLES.values():
        parts.append(f"\n## {table.header}\n\n{_fill(table.about)}")
        for option in table.options.values():
            parts.append(f"\n### {table.name}.{option.name}\n\n{_fill(option.help)}\n")
            parts += [f"- {line}\n" for line in _facts(option)]
    return "".join(parts)


def _facts(option: Option) -> Iterator[str]:
    yield f"Takes {option.rule.allowed}."
    if option.is_table:
        yield f"Example: `{_items(option.example)}`"
        return
    yield f"Default: `{toml(option.default)}`"
    if option.example is not None:
        yield f"Example: `{toml(option.example)}`"


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
