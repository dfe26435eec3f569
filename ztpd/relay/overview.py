"""All channels for the status: which one is in use, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence

from ztpd.relay.channels import Channel
from ztpd.relay.open_session import OpenSession
from ztpd.status import ChannelStatus


def overview(
    channels: Sequence[Channel],
    current: OpenSession | None,
    candidate: OpenSession | None,
    now: float,
) -> tuple[ChannelStatus, ...]:
    """``channels`` in their order; ``candidate`` is the session beside ``current``; ``now`` is the
    loop's time in seconds."""

    def state(channel: Channel) -> str:
        if current and current.channel is channel:
            return "in use" if current.first_corrections_s is not None else "opening"
        if candidate and candidate.channel is channel:
            return "beside"
        if channel.left:
            return "left"
        return "waiting" if channel.due_s > now else "standby"

    def takes_over_s(channel: Channel) -> float | None:
        carried_s = candidate.carried_s(now) if candidate and candidate.channel is channel else None
        return None if carried_s is None else round(max(0.0, channel.proof_s - carried_s), 1)

    return tuple(
        _status(channel, state(channel), now, takes_over_s(channel)) for channel in channels
    )


def _status(channel: Channel, state: str, now: float, takes_over_s: float | None) -> ChannelStatus:
    error = channel.error if state != "in use" else None
    last_s = channel.last_corrections_s
    due_s = channel.left_until_s if state == "left" else channel.due_s
    waits = state in ("left", "waiting")
    return ChannelStatus(
        name=channel.name,
        backup=channel.endpoint.backup,
        state=state,
        event=error.code if error else "",
        text=str(error) if error else "",
        advice=error.advice if error else "",
        next_attempt_s=round(max(0.0, due_s - now), 1) if waits else None,
        takes_over_s=takes_over_s,
        last_corrections_age_s=None if last_s == float("-inf") else round(now - last_s, 1),
    )
