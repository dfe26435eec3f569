"""docs/configuration.md, from the declared configuration."""

from __future__ import annotations

from collections.abc import Iterator

from ztpd.config.options import TABLES, Option
from ztpd.config.render import fill, items
from ztpd.config.rules import toml

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


def reference() -> str:
    """``docs/configuration.md``."""
    parts = [_INTRODUCTION]
    for table in TABLES.values():
        parts.append(f"\n## {table.header}\n\n{fill(table.about)}")
        for option in table.options.values():
            parts.append(f"\n### {table.name}.{option.name}\n\n{fill(option.help)}\n")
            parts += [f"- {line}\n" for line in _facts(option)]
    return "".join(parts)


def _facts(option: Option) -> Iterator[str]:
    yield f"Takes {option.rule.allowed}."
    if option.is_table:
        yield f"Example: `{items(option.example)}`"
        return
    yield f"Default: `{toml(option.default)}`"
    if option.example is not None:
        yield f"Example: `{toml(option.example)}`"
