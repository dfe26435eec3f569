"""An answer of the provisioning service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Post = Callable[..., Awaitable[Reply]]
"""Called as :func:`ztpd.provisioning.http.post` is."""
