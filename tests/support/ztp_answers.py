"""Answers of the service, and ways to damage them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support import ANSWERS
from ztpd.model import Credentials, Secret
from ztpd.wire import ztp

TOKEN = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1"
CLIENT_ID = "00000000-0000-4000-8000-000000000001"


def answer(name: str) -> dict[str, Any]:
    found = json.loads((ANSWERS / name).read_bytes())
    assert isinstance(found, dict)
    return found


def parse(name: str) -> Credentials:
    return ztp.parse_answer("flex", (ANSWERS / name).read_bytes())


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


BOTH = answer("flex-both.json")
NTRIP = answer("flex-ntrip-rtcm.json")
MQTT = answer("flex-mqtt-spartn.json")
PORTAL = answer("portal-ucenter.json")


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field in ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for step, below in inner:
        yield (*path, step)
        if isinstance(below, (dict, list)):
            yield from fields(below, (*path, step))


def with_field(value: Mapping[str, Any], path: tuple[Any, ...], new: Any) -> dict[str, Any]:
    """A copy of ``value`` with another field at ``path``; ``...`` takes it away."""
    changed: Any = copy.deepcopy(value)
    below = changed
    for step in path[:-1]:
        below = below[step]
    if new is ...:
        del below[path[-1]]
    else:
        below[path[-1]] = new
    assert isinstance(changed, dict)
    return changed


CANARIES = [
    Secret(TOKEN),
    Secret(BOTH["privateKey"]),
    Secret("synthPass001"),
    Secret("00112233445566778899aabbccddeeff"),
    Secret("ffeeddccbbaa99887766554433221100"),
]

PARTS = [*(c.reveal() for c in CANARIES), "MIIEpAIBAAKCAQEAzDIQJU", "PRIVATE KEY"]


def seen(error: BaseException | None) -> str:
    """All that a traceback or a debugger's view of ``error`` shows."""
    text = ""
    while error is not None:
        text += f"{error!s} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    return text
