"""Named tuples as JSON, and back. Reading is tolerant: the other side may be of another version, or
hostile."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ztpd.sanitize import quoted

T = TypeVar("T")
_LONGEST_TEXT = 2000
_LARGEST = 2**53  # the integers that a JSON number holds exactly (RFC 8259, section 6)
_WRONG: Any = object()
_ZERO: Mapping[Any, Any] = {str: "", int: 0, float: 0.0, bool: False, tuple: (), Mapping: {}}


def to_json(value: object) -> Any:
    """``value`` in JSON types: named tuples become objects, enumerations their value, sets sorted
    lists, and every other type its text."""
    match value:
        case Enum():
            return value.value
        case None | str() | int() | float():
            return value
        case tuple() if hasattr(value, "_asdict"):
            return to_json(value._asdict())
        case tuple() | list():
            return [to_json(item) for item in value]
        case set() | frozenset():
            return sorted(to_json(item) for item in value)
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
    return str(value)


def from_json(kind: type[T], data: object) -> T:
    """The named tuple ``kind`` filled from ``data``; never raises.

    Unknown fields are ignored. A field that is absent or of the wrong type gets its default, or
    the zero of its type. Texts come out printable and at most 2000 characters long, numbers
    finite and at most 2**53.
    """
    given = data if isinstance(data, Mapping) else {}
    record: Any = kind  # no type says that it is a named tuple
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name in record._fields:
        value = _decoded(hints[name], given[name]) if name in given else _WRONG
        if value is not _WRONG:
            values[name] = value
        elif name not in record._field_defaults:
            values[name] = _zero(hints[name])
    return kind(**values)


def _zero(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return None
    if hasattr(hint, "_fields"):
        return from_json(hint, {})
    return _ZERO[get_origin(hint) or hint]


def _decoded(hint: Any, value: object) -> Any:
    """``value`` as ``hint`` says, or :data:`_WRONG`."""
    arguments = get_args(hint)
    match get_origin(hint) or hint:
        case origin if origin in (Union, UnionType):
            (inner,) = (each for each in arguments if each is not NoneType)
            return None if value is None else _decoded(inner, value)
        case origin if origin is tuple:
            items = value if isinstance(value, list) else ()
            decoded = [_decoded(arguments[0], item) for item in items]
            return tuple(item for item in decoded if item is not _WRONG)
        case origin if origin is Mapping:
            return _mapping(arguments[1], value) if isinstance(value, Mapping) else _WRONG
        case kind if kind is str:
            return quoted(value, _LONGEST_TEXT) if isinstance(value, str) else _WRONG
        case kind if kind is bool:
            return value if isinstance(value, bool) else _WRONG
        case kind if kind in (int, float):
            return _number(kind, value)
    return from_json(hint, value) if isinstance(value, Mapping) else _WRONG


def number(value: object, default: float = 0.0) -> float:
    """``value`` if it is a finite number of at most 2**53, else ``default``."""
    found = _number(float, value)
    return default if found is _WRONG else float(found)


def _mapping(inner: Any, value: Mapping[Any, object]) -> dict[str, Any]:
    found = {quoted(str(key)): _decoded(inner, each) for key, each in value.items()}
    return {key: each for key, each in found.items() if each is not _WRONG}


def _number(kind: type[int] | type[float], value: object) -> Any:
    allowed = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        return _WRONG
    return kind(value) if abs(value) <= _LARGEST else _WRONG  # a NaN is not
