"""The SPARTN decryption keys: all known ones, and the two for the receiver.

The receiver keeps two in RAM, switches to the second at its start time, and loses both when it
restarts (u-blox ZED-F9P integration manual, section "SPARTN"). So ztpd always sends the current and
the next key together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from ztpd.errors import ReceiverSilent
from ztpd.model import GPS_EPOCH_UNIX_S, GPS_LEAP_SECONDS, WEEK_S, DynamicKey
from ztpd.receiver.client import UbxClient
from ztpd.wire import ubx
from ztpd.wire.ubx import KeySlot, Message, Parsed, SpartnKey

PLAUSIBLE = timedelta(weeks=6)
"""Keys change every four weeks: one that begins further away than this is not meant for now."""

_LOOK_S = 10.0  # between two checks of the receiver's keys, doubled after each one without success
_LOOK_CAP_S = 600.0
_REQUEST_S = 600.0  # between two requests to the service for its keys
_KEPT = 6  # keys remembered: the bound for a faulty service


class KeyRing:
    """All SPARTN keys received, from the provisioning answer or the key topic, and the time of the
    next check whether the receiver holds them. Time is an argument."""

    def __init__(self) -> None:
        self._by_start: dict[tuple[int, int], KeySlot] = {}
        self._due_s: float | None = None
        self._looked_s = 0.0
        self._wait_s = _LOOK_S
        self._request_s = 0.0  # not before

    def __bool__(self) -> bool:
        return bool(self._by_start)

    def add(self, keys: Iterable[KeySlot]) -> None:
        """Remember ``keys``; of two with the same start the later received one counts."""
        before = dict(self._by_start)
        self._by_start |= {(key.week, key.tow_s): key for key in keys}
        for start in sorted(self._by_start)[:-_KEPT]:
            del self._by_start[start]
        if self._by_start != before:
            self.restarted()

    def restarted(self) -> None:
        """There are new keys, or the receiver may have lost those it had."""
        self._due_s, self._wait_s = 0.0, _LOOK_S

    def on_decrypted(self) -> None:
        self._wait_s = _LOOK_S

    def on_undecryptable(self) -> None:
        """The receiver cannot decrypt the corrections: check its keys, less and less often."""
        if self._due_s is None:
            self._due_s = self._looked_s + self._wait_s
            self._wait_s = min(_LOOK_CAP_S, 2 * self._wait_s)

    def on_rejected(self) -> None:
        """The receiver does not take all keys; trying again at once would not help."""
        if self._due_s is None:
            self._due_s = self._looked_s + _LOOK_CAP_S

    def due(self, now_s: float) -> bool:
        """Whether to look now; asking counts as looking."""
        if self._due_s is None or now_s < self._due_s:
            return False
        self._due_s, self._looked_s = None, now_s
        return True

    def request_due(self, now_s: float) -> bool:
        """Whether to request keys from the service now; asking counts as requesting."""
        if now_s < self._request_s:
            return False
        self._request_s = now_s + _REQUEST_S
        return True

    def chosen(self, clocks: Iterable[datetime]) -> tuple[KeySlot, ...]:
        """The current key and the next one, in this order; fewer if not known.

        If only two are known, they are the two at any time: a wrong clock must not lose a key. Of
        more keys, the first of ``clocks`` that agrees with them decides.
        """
        keys = [self._by_start[start] for start in sorted(self._by_start)]
        if len(keys) > 2:
            for clock in clocks:
                begun = [place for place, key in enumerate(keys) if starts(key) <= clock]
                if begun and clock - starts(keys[begun[-1]]) < PLAUSIBLE:
                    return tuple(keys[begun[-1] :][:2])
        return tuple(keys[-2:])


def starts(key: KeySlot) -> datetime:
    """From when the key holds, in UTC."""
    return _EPOCH + timedelta(seconds=key.week * WEEK_S + key.tow_s)


_EPOCH = datetime.fromtimestamp(GPS_EPOCH_UNIX_S - GPS_LEAP_SECONDS, UTC)


def slots(keys: Sequence[DynamicKey]) -> tuple[KeySlot, ...]:
    """``keys`` as the receiver takes them.

    Raises ValueError where one is not 32 hexadecimal digits or its start is no GPS time.
    """
    frame = ubx.spartn_keys(keys)
    return SpartnKey.decode(frame[6:-2]).keys


def received(payload: bytes, clocks: Sequence[datetime]) -> tuple[KeySlot, ...]:
    """The keys in an RXM-SPARTNKEY message from outside, if it may be used.

    Raises ValueError where its lengths are wrong, where it holds another number of keys than one
    or two, and where no clock agrees with the time of each key.
    """
    keys = SpartnKey.decode(payload).keys
    if len(keys) not in (1, 2):
        raise ValueError(f"it holds {len(keys)} keys")
    for key in keys:
        if not any(abs(starts(key) - clock) <= PLAUSIBLE for clock in clocks):
            raise ValueError(f"it is for the time from {starts(key):%Y-%m-%d}")
    return keys


async def missing(client: UbxClient, wanted: Sequence[KeySlot]) -> int | None:
    """How many of ``wanted`` the receiver does not hold; None where it does not say.

    It acknowledges no key message, so it is asked. Raises :class:`ztpd.errors.PortLost`.
    """

    def answer(message: Parsed) -> int | None:
        if not isinstance(message, SpartnKey):
            return None
        held = {key.value for key in message.keys}
        return sum(key.value not in held for key in wanted)

    try:
        return await client.ask(ubx.poll(Message.RXM_SPARTNKEY), answer, "its keys", tries=1)
    except ReceiverSilent:
        return None
