"""Reads the configuration files into one consistent :class:`Config`."""

from __future__ import annotations

import itertools
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ztpd.config import rules
from ztpd.config.options import (
    TABLES,
    BackupOptions,
    Config,
    MqttOptions,
    NtripOptions,
    Table,
    sections,
)
from ztpd.config.rules import Rule
from ztpd.errors import ConfigError
from ztpd.sanitize import decoded
from ztpd.system.directories import CONFIG_FILE
from ztpd.system.files import read_regular, user_name
from ztpd.wire.hostnames import is_loopback

_USER_IN_URL = re.compile(r"//[^/]*@")
_KEYS = [
    f"{table.name}.{name}"
    for table in TABLES.values()
    if not table.repeated
    for name in table.options
]
_NOT_SHOWN = "(not shown)"  # a secret may be in it
_MOST_TABLES = 8  # of one repeated name
_NUMBER = re.compile(r"\[\d+\]")  # in the key path of a repeated table: backup[1].host


class UnknownKey(NamedTuple):
    """An unknown key; ``nearest`` is the most similar known key, or ""."""

    file: Path
    key: str
    nearest: str


class LoadedConfig(NamedTuple):
    """A configuration, and for each key path the file that sets it, or ``"default"``."""

    config: Config
    origins: Mapping[str, str]
    unknown: tuple[UnknownKey, ...]


def named_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Key path and path of the files that the daemon reads itself; systemd reads the token."""
    for prefix, table, section in sections(config):
        for name in table.options:
            path = getattr(section, name)
            if name.endswith("_file") and name != "token_file" and path:
                yield f"{prefix}.{name}", Path(path)


class ExposedFile(NamedTuple):
    """A file of a secret that other users may read: the setting that names it, and its mode."""

    key: str
    path: Path
    mode: str


def exposed_files(config: Config) -> Iterator[ExposedFile]:
    """Files of passwords and private keys that others than this user and its groups may read."""
    groups = {os.getegid(), *os.getgroups()}
    for key, path in named_files(config):
        if not key.endswith(("password_file", "key_file")):
            continue
        with suppress(OSError):  # its reader names that
            found = path.stat()
            group = 0 if found.st_gid in groups else stat.S_IRGRP
            if found.st_mode & (group | stat.S_IROTH):
                yield ExposedFile(key, path, f"{stat.S_IMODE(found.st_mode):04o}")


def load(path: Path = CONFIG_FILE) -> LoadedConfig:
    """Read ``path``, then ``<path>.d/*.toml`` in the order of their names; the last one that sets
    a key wins. The tables of one repeated name are one key.

    Unknown keys are returned, not refused. Raises :class:`ConfigError` for a file that cannot be
    read or is not TOML, and for wrong values: all of them at once, each with file, key path,
    value and the allowed values.
    """
    found: dict[str, Any] = {}
    origins = dict.fromkeys(_KEYS, "default")
    unknown: list[UnknownKey] = []
    problems: list[str] = []
    for file in (path, *_drop_ins(path)):
        document = _parse(file)
        for table in TABLES.values():
            if table.repeated and table.name in document:
                _forget(f"{table.name}[", found, origins)
        for key, rule, value, shown in _settings(document):
            if rule is None:
                unknown.append(UnknownKey(file, key, _nearest(key)))
                continue
            try:
                found[key] = rule.read(value)
            except ValueError:
                problems.append(f"{file}: {key} = {shown} is wrong: it takes {rule.allowed}")
            else:
                origins[key] = str(file)
    if not problems:
        config = _assemble(found)
        problems = [
            f"{_origin(key, origins)}: {key}: {text}" for key, text in _contradictions(config)
        ]
    if problems:
        raise ConfigError("; ".join(problems))
    return LoadedConfig(config, origins, tuple(unknown))


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """The file that sets ``key``, or that has the repeated table where it is missing."""
    prefix = key.rpartition(".")[0] + "."
    return origins.get(key) or next(
        origin for known, origin in origins.items() if known.startswith(prefix)
    )


def _forget(prefix: str, *settings: dict[str, Any]) -> None:
    for each in settings:
        for key in [key for key in each if key.startswith(prefix)]:
            del each[key]


def _drop_ins(path: Path) -> list[Path]:
    """Files that an editor, dpkg or a person put aside have another ending, or are hidden."""
    directory = path.with_name(path.name + ".d")
    try:
        files = [file for file in directory.iterdir() if file.suffix == ".toml"]
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise ConfigError(_unreadable(directory, "0755")) from error
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}") from error
    return sorted(file for file in files if not file.name.startswith("."))


def _unreadable(path: Path, mode: str) -> str:
    return f"{path} may not be read by user {user_name(os.geteuid())}: `chmod {mode} {path}`"


def _parse(file: Path) -> dict[str, Any]:
    try:
        data = read_regular(file, follow=True)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file} does not exist; `ztpd config example` prints an example"
        ) from error
    except PermissionError as error:
        raise ConfigError(_unreadable(file, "0644")) from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    try:
        text = decoded(data)
    except ValueError as error:
        raise ConfigError(f"{file} {error}") from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, absurd numbers or depth
        raise ConfigError(f"{file}: {error}") from error


class _Setting(NamedTuple):
    key: str
    rule: Rule | None  # None: not known
    value: Any
    shown: str


def _settings(document: Mapping[str, Any]) -> Iterator[_Setting]:
    for table, content in document.items():
        if table not in TABLES:
            yield _Setting(table, None, content, "")
            continue
        if TABLES[table].repeated:
            yield from _settings_of_all(TABLES[table], content)
        elif isinstance(content, dict):
            yield from _settings_of(TABLES[table], table, content)
        else:
            yield _Setting(table, _table(table), content, _NOT_SHOWN)


def _settings_of_all(table: Table, content: Any) -> Iterator[_Setting]:
    """The settings of all ``[[table]]``."""
    is_list = isinstance(content, list) and all(isinstance(each, dict) for each in content)
    if not is_list or len(content) > _MOST_TABLES:
        rule = _table(table.name, f"at most {_MOST_TABLES} tables: {table.header}")
        yield _Setting(table.name, rule, content, _NOT_SHOWN)
        return
    first = next(iter(table.options.values()))
    for number, each in enumerate(content, 1):
        # An empty table counts too, so one setting at least is set.
        yield from _settings_of(
            table, f"{table.name}[{number}]", {first.name: first.default, **each}
        )


def _settings_of(table: Table, prefix: str, content: Mapping[str, Any]) -> Iterator[_Setting]:
    for name, value in content.items():
        key = f"{prefix}.{name}"
        option = table.options.get(name)
        if option is None:
            yield _Setting(key, None, value, "")
        elif not option.is_table:
            shown = _NOT_SHOWN if option.private else _shown(value)
            yield _Setting(key, option.rule, value, shown)
        elif not isinstance(value, dict):
            yield _Setting(key, _table(key), value, _shown(value))
        else:
            for item, inner in value.items():
                yield _Setting(f"{key}.{item}", option.rule, (item, inner), _shown(inner))


def _table(name: str, allowed: str = "") -> Rule:
    def read(_: Any) -> Any:
        raise ValueError

    return Rule(allowed or f"a table: [{name}]", read)


def _shown(value: object) -> str:
    try:
        text = _USER_IN_URL.sub("//***@", rules.toml(value))
    except RecursionError:  # brackets in brackets, some hundred deep
        return "…"
    return text if len(text) <= 80 else text[:79] + "…"


def _nearest(key: str) -> str:
    """The known key that a person may have meant: a similar name in the same table, the same name
    in another table, or a similar path."""
    import difflib  # for a mistake only

    prefix, _, name = key.rpartition(".")
    table = _NUMBER.sub("", prefix)
    siblings = list(TABLES[table].options) if table in TABLES else []
    if alike := difflib.get_close_matches(name, siblings, 1):
        return f"{prefix}.{alike[0]}"
    elsewhere = [known for known in _KEYS if known.partition(".")[2] == name]
    alike = difflib.get_close_matches(key, [*_KEYS, *TABLES], 1)
    return (elsewhere or alike or [""])[0]


def _assemble(found: Mapping[str, Any]) -> Config:
    tables: dict[str, Any] = {}
    for table in TABLES.values():
        if table.repeated:
            prefixes = dict.fromkeys(
                key.partition(".")[0] for key in found if key.startswith(f"{table.name}[")
            )
            tables[table.name] = tuple(_section(table, prefix, found) for prefix in prefixes)
        else:
            tables[table.name] = _section(table, table.name, found)
    return Config(**tables)


def _section(table: Table, prefix: str, found: Mapping[str, Any]) -> Any:
    settings = {}
    for name, option in table.options.items():
        key = f"{prefix}.{name}"
        if option.is_table:
            settings[name] = {
                path.removeprefix(key + "."): value
                for path, value in found.items()
                if path.startswith(key + ".")
            }
        elif key in found:
            settings[name] = found[key]
    return table.kind(**settings)


def _contradictions(config: Config) -> Iterator[tuple[str, str]]:
    """Settings that contradict each other: key path and explanation."""
    identity, mqtt, ntrip, receiver = config.identity, config.mqtt, config.ntrip, config.receiver
    if identity.source == "fixed" and not identity.hardware_id:
        yield "identity.source", 'with "fixed", hardware_id must be set'
    if identity.source != "fixed" and identity.hardware_id:
        yield "identity.hardware_id", 'is used only where source is "fixed"'
    if identity.port == receiver.port != "auto":
        yield "receiver.port", "modem and receiver cannot have the same port"
    if not mqtt.tls and not is_loopback(mqtt.host):
        yield "mqtt.tls", "without TLS, host must be this machine, such as localhost"
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        given, lacking = ("cert", "key") if mqtt.cert_file else ("key", "cert")
        yield f"mqtt.{given}_file", f"needs {lacking}_file too"
    backups = [(f"backup[{number}]", each) for number, each in enumerate(config.backup, 1)]
    accounts: list[tuple[str, MqttOptions | NtripOptions | BackupOptions]]
    accounts = [("mqtt", mqtt), ("ntrip", ntrip), *backups]
    for name, table in accounts:
        if table.password_file and not table.username:
            yield f"{name}.password_file", "needs username too"
    for name, backup in backups:
        for setting in ("host", "mountpoint"):
            if not getattr(backup, setting):
                yield f"{name}.{setting}", "must be set"
    for (_, before), (name, backup) in itertools.combinations(backups, 2):
        if (before.label, before.port) == (backup.label, backup.port):
            yield f"{name}.host", f"{backup.label} is there twice; give each a name of its own"
    if receiver.keys and not receiver.configure:
        yield "receiver.configure", "must be true where receiver.keys are to be written"
