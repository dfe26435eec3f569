"""The links that a running daemon owns, read from its status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ztpd.check.results import NotReached, Problem, joined, layer_of
from ztpd.health import FOLLOW_FROM_FINDINGS, age_s, causes, stale
from ztpd.log import duration
from ztpd.model import SourceEndpoint
from ztpd.status import Cause, ReceiverView, SourceStatus, Status
from ztpd.system.clock import utc_now

OWN_PROBES = ("clock", "route", "dns", "tcp", "tls")
"""Layers that are probed beside the daemon too."""


_BEHIND = ("net.timeout", "net.lost", "net.failed")
"""Events that may come from behind TLS, where nothing is tried."""


def _tried(cause: Cause) -> str:
    if cause.event in _BEHIND:
        return f"DNS, TCP and TLS work at present; no request was sent. {cause.advice}"
    return "It works at present: `ztpd retry` ends the daemon's wait."


class StatusProbe:
    """``status`` is the running daemon's."""

    def __init__(self, status: Status, now: Callable[[], datetime] = utc_now) -> None:
        self._status = status
        self._now = now

    @property
    def pid(self) -> int | None:
        return self._status.pid

    @property
    def has_credentials(self) -> bool:
        return bool(self._status.client_id)

    def knows(self, layer: str) -> bool:
        """Whether the status has the finding of ``layer``, whichever links are broken before."""
        if self._status.state == "streaming" and layer in ("login", "data"):
            return True
        return layer in ("receiver", "daemon")

    @property
    def is_paused(self) -> bool:
        return self._status.paused is not None

    @property
    def streams_without_credentials(self) -> bool:
        """Whether it opens sessions that need no provisioning."""
        return bool(self._status.channels) and not self.has_credentials

    @property
    def doing(self) -> str:
        return f"the daemon is {self._status.state}: {self._status.reason.text}"

    def raise_reported(self, *layers: str) -> None:
        """Raise the error that stops the daemon, if it belongs to one of ``layers``.

        It is no problem of its own where it follows from another one, as a position that is missing
        follows from the antenna.
        """
        for cause in causes(self._status):
            layer = layer_of(cause.event)
            if layer in layers:
                text = cause.text + self._age(cause)
                if cause.event in FOLLOW_FROM_FINDINGS and self._status.receiver.findings:
                    raise NotReached(text)
                if layer in OWN_PROBES:  # found in order a moment ago
                    cause = cause._replace(advice=_tried(cause))
                raise Problem(cause._replace(text=text))

    def _age(self, cause: Cause) -> str:
        """How old the failure is: it may have been put right since."""
        failure = self._status.last_failure
        if failure is None or failure.event != cause.event:
            return ""
        ago_s = age_s(failure.at, self._now())
        return "" if ago_s is None else f" ({duration(max(0.0, ago_s))} ago)"

    def present(self) -> str:
        """The daemon itself. Raises :class:`Problem` where it no longer renews its status."""
        if old := stale(self._status, self._now()):
            raise Problem(old)
        return f"runs as process {self._status.pid}: {self._status.state}"

    async def modem(self) -> str:
        self.raise_reported("modem")
        known = self._status.identity
        if not known:
            raise NotReached(self.doing)
        return f"{known.id}, from {known.source}"

    async def login(self) -> str:
        self.raise_reported("login", *OWN_PROBES)
        return f"{self._source().where}, by the daemon"

    async def data(self) -> str:
        self.raise_reported("data")
        source = self._source()
        age_s = source.last_frame_age_s or 0.0
        return f"{sum(source.frames.values())} frames, the last {age_s:.1f} s ago"

    def _source(self) -> SourceStatus:
        source = self._status.source
        if not source or not source.frames:
            raise NotReached(self.doing)
        return source

    async def receiver(self) -> str:
        self.raise_reported("receiver")
        view = self._status.receiver
        if not view.model:
            raise NotReached(self.doing)
        return joined(view.model, view.firmware, view.port)

    async def setup(self) -> str:
        self.raise_reported("setup")
        view = self._status.receiver
        if not view.ready:
            raise NotReached(self.doing)
        reports = view.used or view.rejected
        return joined("accepts corrections", "and reports their use" if reports else "")

    async def use(self) -> ReceiverView:
        return self._status.receiver

    async def backup(self, endpoint: SourceEndpoint) -> str:
        known = {each.name: each for each in self._status.channels}
        channel = known.get(endpoint.label)
        if channel is None:
            return f"{endpoint.label} can be reached"
        if channel.text:
            raise Problem(Cause(channel.event, channel.text, channel.advice))
        return f"{channel.name}: {channel.state}"
