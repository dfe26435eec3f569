"""The rules for configuration values, and how to write a value as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ztpd.wire import hostnames, ubxcfg
from ztpd.wire.hostnames import is_address, is_loopback, is_name
from ztpd.wire.ztp import GIVEN_NAME_LIMIT


class Rule(NamedTuple):
    """``read`` turns a TOML value into the value that ztpd uses, or raises ``ValueError``;
    ``allowed`` describes the allowed values for a person."""

    allowed: str
    read: Callable[[Any], Any]


def one_of(*words: str) -> Rule:
    shown = [f'"{word}"' for word in words]
    allowed = ", ".join(shown[:-1]) + f" or {shown[-1]}"
    return _rule(allowed, lambda value: isinstance(value, str) and value in words)


def several_of(*words: str) -> Rule:
    """A list of one or more of ``words``, none twice."""

    def read(value: Any) -> tuple[str, ...]:
        if not _is_list_of_str(value) or not value:
            raise ValueError
        if len(set(value)) != len(value) or not set(value) <= set(words):
            raise ValueError
        return tuple(value)

    shown = ", ".join(f'"{word}"' for word in words)
    return Rule(f"a list of one or more of {shown}", read)


def switch() -> Rule:
    return _rule("true or false", lambda value: isinstance(value, bool))


def whole(low: int, high: int) -> Rule:
    return _rule(
        f"a whole number from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


def seconds(low: int, high: int) -> Rule:
    def read(value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError
        return float(value)

    return Rule(f"a number of seconds from {low} to {high}", read)


def baudrate() -> Rule:
    rates = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
    shown = ", ".join(str(rate) for rate in rates)
    return _rule(f"one of {shown}", lambda value: type(value) is int and value in rates)


def text(allowed: str, pattern: str) -> Rule:
    """A string the whole of which matches ``pattern``."""
    compiled = re.compile(pattern)
    return _rule(
        allowed, lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None
    )


def printable(most: int, *, without: str = "") -> Rule:
    def test(value: Any) -> bool:
        if not isinstance(value, str) or not 1 <= len(value) <= most:
            return False
        return value.isprintable() and not any(char in value for char in without)

    less = f' without "{without}"' if without else ""
    return _rule(f"a text of 1 to {most} printable characters{less}", test)


def list_of(rule: Rule, most: int) -> Rule:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError
        return tuple(rule.read(item) for item in value)

    return Rule(f"a list of at most {most}; each is {rule.allowed}", read)


def path() -> Rule:
    return text("an absolute path", r"/[^\x00-\x1f\x7f]*")


def host() -> Rule:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not (is_name(value.lower()) or is_address(value)):
            raise ValueError
        return value.lower()

    return Rule("a host name or an address without scheme and port", read)


def loopback_endpoint() -> Rule:
    """An address on this machine with a port, as :func:`hostnames.loopback_endpoint` reads it."""

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        hostnames.loopback_endpoint(value)
        return value

    return Rule("an address of this machine and a port, such as 127.0.0.1:10110", read)


def host_or_domain() -> Rule:
    """A host, or a domain that begins with a dot, for all hosts below it."""
    single = host()

    def read(value: Any) -> str:
        if isinstance(value, str) and value.startswith("."):
            return f".{single.read(value[1:])}"
        return str(single.read(value))

    return Rule(
        'a host name, an address, or a domain such as ".example.net" for all hosts below it', read
    )


def url() -> Rule:
    """``https``, or ``http`` if the host is this machine; trailing slashes are cut."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
            raise ValueError
        parts = urlsplit(value)
        name = host().read(parts.hostname or "")
        plain = parts.scheme == "http" and is_loopback(name)
        if not (parts.scheme == "https" or plain) or parts.port == 0:
            raise ValueError
        if "@" in parts.netloc or "?" in value or "#" in value:
            raise ValueError
        return value.rstrip("/")

    return Rule("an https address (http only for this machine) without user and query", read)


def given_name() -> Rule:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise ValueError
        filled = value.replace("{imei}", "0" * 15).replace("{hostname}", "h")
        if "{" in filled or "}" in filled or len(filled) > GIVEN_NAME_LIMIT:
            raise ValueError
        return value

    return Rule(
        f"a text of at most {GIVEN_NAME_LIMIT} characters, in which {{hostname}} and {{imei}} are "
        "filled in",
        read,
    )


def receiver_key() -> Rule:
    """One ``(name, value)`` pair of a table of the receiver's configuration items."""

    def read(item: tuple[str, Any]) -> int:
        name, value = item
        if not isinstance(value, int):
            raise ValueError
        ubxcfg.encode_item(ubxcfg.key_id(name), value)
        return value

    return Rule(
        "a u-blox name or a number such as 0x30210001, with a whole number, true or false that "
        "fits it",
        read,
    )


def auto_or(rule: Rule) -> Rule:
    return Rule(
        f'"auto" or {rule.allowed}', lambda value: value if value == "auto" else rule.read(value)
    )


def empty_or(rule: Rule) -> Rule:
    return Rule(f"{rule.allowed}; or empty", lambda value: "" if value == "" else rule.read(value))


def toml(value: object) -> str:
    """``value`` as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return f"[{', '.join(toml(item) for item in value)}]"
        case Mapping():
            if not value:
                return "{}"
            return f"{{ {', '.join(f'{name} = {toml(item)}' for name, item in value.items())} }}"
        case int():
            return str(value)
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def _rule(allowed: str, test: Callable[[Any], bool]) -> Rule:
    def read(value: Any) -> Any:
        if not test(value):
            raise ValueError
        return value

    return Rule(allowed, read)


def _is_list_of_str(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
