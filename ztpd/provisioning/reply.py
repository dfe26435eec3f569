"""An answer of the provisioning service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple


class Reply(NamedTuple):
    """An answer of any status. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Post = Callable[..., Awaitable[Reply]]
"""Called as :func:`ztpd.provisioning.http.post` is."""
