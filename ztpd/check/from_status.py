"""The links that a running daemon owns, from what it tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ztpd.check.results import NotReached, Problem, joined, layer_of

OWN_PROBES = ("clock", "route", "dns", "tcp", "tls")
"""Layers that are looked at beside the daemon too."""


class StatusProbe:
    """``told`` is the daemon's status."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self._status = status

    @property
    def pid(self) -> object:
        return self._status.get("pid")

    @property
    def has_credentials(self) -> bool:
        return bool(self._status.get("client_id"))

    @property
    def doing(self) -> str:
        return f"the daemon is {self._status.get('state')}: {self._part('reason').get('text')}"

    def raise_reported(self, *layers: str) -> None:
        """Raise what keeps the daemon from going on, if it belongs to one of ``layers``."""
        causes = [self._part("receiver_problem"), self._part("config_problem")]
        if self._status.get("state") in ("waiting", "blocked"):
            causes.insert(0, self._part("reason"))
        for cause in causes:
            event, text, advice = (str(cause.get(key)) for key in ("event", "text", "advice"))
            layer = layer_of(event)
            if layer in layers:
                if layer in OWN_PROBES:  # found in order a moment ago
                    advice = "It works at present: `ztpd retry` ends the daemon's wait."
                raise Problem(event, text, advice)

    async def modem(self) -> str:
        self.raise_reported("modem")
        known = self._part("identity")
        if not known:
            raise NotReached(self.doing)
        return f"{known.get('id')}, from {known.get('source')}"

    async def login(self) -> str:
        self.raise_reported("login", *OWN_PROBES)
        return f"{self._source().get('where')}, by the daemon"

    async def data(self) -> str:
        self.raise_reported("data")
        source = self._source()
        age_s = source.get("last_frame_age_s") or 0.0
        return f"{sum(source['frames'].values())} frames, the last {age_s:.1f} s ago"

    def _source(self) -> Mapping[str, Any]:
        source = self._part("source")
        if not source.get("frames"):
            raise NotReached(self.doing)
        return source

    async def receiver(self) -> str:
        self.raise_reported("receiver")
        view = self._part("receiver")
        if not view.get("model"):
            raise NotReached(self.doing)
        return joined(view.get("model"), view.get("firmware"), view.get("port"))

    async def setup(self) -> str:
        self.raise_reported("setup")
        if not self._part("receiver").get("ready"):
            raise NotReached(self.doing)
        return "takes corrections, and reports what it does with them"

    async def use(self) -> tuple[str, str]:
        view = self._part("receiver")
        return str(view.get("use")), str(view.get("fix"))

    def _part(self, name: str) -> Mapping[str, Any]:
        part = self._status.get(name)
        return part if isinstance(part, Mapping) else {}
