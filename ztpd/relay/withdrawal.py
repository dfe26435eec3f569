"""PointPerfect over MQTT, which u-blox announced to end on 30 September 2026: when a failure means
that end and not an outage.

To be deleted with :class:`ztpd.errors.MqttWithdrawn` once no gateway holds such credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ztpd.errors import (
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    ResolveFailed,
    SessionClosed,
    ZtpdError,
)
from ztpd.model import SourceEndpoint

REPROVISION_AFTER_S = (6 * 3600.0, 24 * 3600.0)
"""Silence after which new credentials are asked for. Random per gateway: all would otherwise call
ZTP at the same moment."""

_HOST = re.compile(r"pp[a-z0-9-]*\.services\.u-blox\.com\.?", re.IGNORECASE)
_WORKED_WITHIN_S = 6 * 3600.0  # a broker that delivered this recently has an outage
_DEAD_AFTER_S = 900.0  # without another channel to compare with

_DENIED = (ConnectRefused, ConnectionLost, SessionClosed)
_SILENT = (ConnectTimeout, ResolveFailed)


def concerns(endpoint: SourceEndpoint) -> bool:
    """Whether ``endpoint`` is one of the brokers that u-blox withdraws."""
    return endpoint.kind == "mqtt" and _HOST.fullmatch(endpoint.host) is not None


def may_have_ended(endpoint: SourceEndpoint, error: ZtpdError | None) -> bool:
    """Whether ``error``, the channel's last one, is how a withdrawn broker fails."""
    return concerns(endpoint) and isinstance(error, _DENIED + _SILENT)


def has_ended(
    endpoint: SourceEndpoint,
    error: ZtpdError,
    now: float,
    *,
    failing_since_s: float,
    last_corrections_s: float,
    others_last_s: Iterable[float],
) -> bool:
    """Whether ``error``, met while opening a session, means the end of the service.

    ``failing_since_s``: since then no session could be opened; ``others_last_s``: when the other
    channels last delivered corrections. Without another working channel, time-outs may be an
    outage, so they do not count.
    """
    if not concerns(endpoint) or now - last_corrections_s < _WORKED_WITHIN_S:
        return False
    if any(last_s >= failing_since_s for last_s in others_last_s):
        return isinstance(error, _DENIED + _SILENT)
    return isinstance(error, _DENIED) and now - failing_since_s >= _DEAD_AFTER_S
