"""The links of the chain, the possible findings at one, and their forms for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from ztpd.model import SourceEndpoint
from ztpd.sanitize import quoted
from ztpd.status import Cause, ReceiverView

SCHEMA = 1
_LONGEST = 2000

LINKS: Mapping[str, str] = {
    "config": "configuration",
    "permissions": "permissions",
    "board": "board",
    "ports": "serial ports",
    "modem": "modem",
    "token": "ZTP token",
    "clock": "clock",
    "route": "route",
    "dns": "DNS",
    "tcp": "TCP",
    "tls": "TLS",
    "ztp": "ZTP service",
    "credentials": "credentials",
    "login": "log-in",
    "data": "data",
    "receiver": "receiver",
    "setup": "its settings",
    "use": "use",
    "backup": "backups",
    "daemon": "daemon",
}
"""The chain: the layer as ``--json`` has it, and the name for a person."""

_LAYERS = {
    "config.": "config",
    "store.unsafe": "permissions",
    "runtime.": "permissions",
    "store.": "credentials",
    "identity.": "modem",
    "modem.": "modem",
    "modemmanager.": "modem",
    "clock.": "clock",
    "net.no_route": "route",
    "net.dns": "dns",
    "net.": "tcp",
    "tls.": "tls",
    "ztp.token_": "token",
    "ztp.refused": "credentials",
    "ztp.not_active": "credentials",
    "ztp.": "ztp",
    "session.backup_in_use": "backup",
    "session.stale": "data",
    "session.format_excluded": "data",
    "session.unreadable": "data",
    "session.closed": "data",
    "ntrip.gga": "data",
    "session.": "login",
    "ntrip.": "login",
    "mqtt.": "login",
    "relay.": "login",
    "serial.": "receiver",
    "gnss.nak": "setup",
    "gnss.not_set": "setup",
    "gnss.unconfigurable": "setup",
    "gnss.no_spartn": "setup",
    "gnss.not_used": "use",
    "gnss.no_fix": "use",
    "gnss.fix_": "use",
    "gnss.use_": "use",
    "gnss.reception": "use",
    "stream.": "use",
    "credentials.": "credentials",
    "cert.": "credentials",
    "control.": "daemon",
    "gnss.": "receiver",
}


def layer_of(event: str) -> str:
    """The layer that ``event`` is about, "" for one that is about none."""
    return next((layer for begin, layer in _LAYERS.items() if event.startswith(begin)), "")


class LinkState(Enum):
    OK = "OK"
    PROBLEM = "problem"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one link. ``event`` and ``advice`` are those of the journal."""

    layer: str
    state: LinkState
    text: str = ""
    event: str = ""
    advice: str = ""


class Problem(Exception):
    """A broken link that is known by its cause, not by an exception of ours."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause


class NotReached(Exception):
    """A link without a result; a later one may show why."""


class Probe(Protocol):
    """The links that belong to a running daemon: tried here, or read from its status.

    Each gives its finding in words; raises :class:`Problem`, :class:`NotReached` or a typed error.
    """

    async def modem(self) -> str: ...
    async def login(self) -> str: ...
    async def data(self) -> str: ...
    async def receiver(self) -> str: ...
    async def setup(self) -> str: ...
    async def use(self) -> ReceiverView: ...
    async def backup(self, endpoint: SourceEndpoint) -> str: ...


def render(result: Result) -> str:
    """One link for a person: a line, and the advice below it where it is broken."""
    text = quoted(result.text, _LONGEST)
    line = f"{result.state.value:<12} {LINKS[result.layer]:<14} {text}".rstrip() + "\n"
    return line + (f"{'':<12} {'':<14} -> {result.advice}\n" if result.advice else "")


def document(result: Sequence[Result]) -> dict[str, Any]:
    """The document of ``--json``; described in docs/status.md."""
    broken = next((one for one in result if one.state is LinkState.PROBLEM), None)
    return {
        "schema": SCHEMA,
        "ok": all(one.state is LinkState.OK for one in result),
        "layer": broken.layer if broken else None,
        "event": broken.event if broken else None,
        "text": broken.text if broken else None,
        "advice": broken.advice if broken else None,
        "links": [
            {"layer": one.layer, "state": one.state.value, "text": one.text} for one in result
        ],
    }


def joined(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)
