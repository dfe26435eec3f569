"""A changed configuration: the parts that begin again, and those that continue."""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple

from ztpd.config import Config

_PROVISIONING = {"ztp", "identity"}
_RECEIVER = {"receiver", "corrections", "output"}
_SESSION = {"corrections", "mqtt", "ntrip", "backup", "receiver", "output"}


class Changes(NamedTuple):
    """``tables`` are the names of those that changed."""

    tables: frozenset[str]

    @property
    def receiver(self) -> bool:
        """Whether the receiver's port has to be opened again."""
        return not self.tables.isdisjoint(_RECEIVER)

    @property
    def session(self) -> bool:
        """Whether the session has to be opened again."""
        return not self.tables.isdisjoint(_SESSION)

    @property
    def provisioning(self) -> bool:
        """Whether an identity or a call that fails may succeed now."""
        return not self.tables.isdisjoint(_PROVISIONING)

    def __str__(self) -> str:
        names = ", ".join(f"[{name}]" for name in sorted(self.tables))
        return f": {names} changed" if names else ", nothing changed"


def changes(before: Config, after: Config) -> Changes:
    names = (field.name for field in fields(after))
    return Changes(
        frozenset(name for name in names if getattr(before, name) != getattr(after, name))
    )
