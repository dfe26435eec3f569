"""State that outlives one NTRIP session: the position, and what is known of each caster."""

from __future__ import annotations

from typing import Literal

from ztpd.errors import ZtpdError
from ztpd.model import Carrier, Fix, NtripEndpoint
from ztpd.wire import nmea

STABLE_S = 3.0  # of unbroken fix, before a position is sent
HOLD_S = 300.0  # the last position replaces a lost fix
CLOSEST_S = 1.0  # two sentences are never closer
_CURRENT_S = 2.0  # a younger position is the present one, not a held one

_TALKER = "GP"  # every known caster takes it; some take no other

_FALL_BACK_EVERY_S = 600.0
_TABLE_EVERY_S = 3600.0


class GgaPolicy:
    """Which position is sent to a caster, and when.

    Casters for a network of stations send nothing before the first GGA and end a session whose
    GGA stops, which is when corrections are needed most: so the last good position replaces a
    lost fix. One policy serves one session after another, so it does so after a reconnection too.
    Sessions with two casters may be open at once: each has its own interval.
    """

    def __init__(self) -> None:
        self._updated_s = self._good_s = float("-inf")
        self._sent_s: dict[str, float] = {}  # by caster
        self._since_s: float | None = None
        self._good: Fix | None = None

    def update(self, fix: Fix | None, now_s: float) -> None:
        """Take the receiver's present fix; a pause between two updates counts as no fix."""
        if now_s - self._updated_s > STABLE_S:
            self._since_s = None
        self._updated_s = now_s
        if fix is None or not is_a_place(fix):
            self._since_s = None
            return
        if self._since_s is None:
            self._since_s = now_s
        resolved = fix.carrier is not Carrier.NONE  # has been stable for long
        if resolved or now_s - self._since_s >= STABLE_S:
            self._good, self._good_s = fix, now_s

    def has_position(self, now_s: float) -> bool:
        return self._good is not None and now_s - self._good_s <= HOLD_S

    def next_sentence(self, now_s: float, *, interval_s: float, caster: str = "") -> bytes:
        """The sentence to send ``caster`` now, b"" for none: at most one in ``interval_s``.

        A held position is sent as a plain GNSS one with its age, and keeps its time.
        """
        if now_s - self._sent_s.get(caster, float("-inf")) < max(interval_s, CLOSEST_S):
            return b""
        if self._good is None or not self.has_position(now_s):
            return b""
        self._sent_s[caster] = now_s
        age_s = now_s - self._good_s
        if age_s < _CURRENT_S:
            return nmea.gga(self._good, talker=_TALKER)
        held = self._good._replace(carrier=Carrier.NONE, differential=False)
        return nmea.gga(held, age_s=age_s, talker=_TALKER)


def is_a_place(fix: Fix) -> bool:
    """False without a fix, and at 0, 0, the position that software without a fix writes."""
    if not (fix.ok and abs(fix.lat_deg) <= 90 and abs(fix.lon_deg) <= 180):
        return False
    return abs(fix.lat_deg) > 0.01 or abs(fix.lon_deg) > 0.01


class CasterVersions:
    """The NTRIP version that each caster takes, where the configuration leaves it open; and what
    its table of mountpoints meant, where it sent that in place of a stream."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, int, str], tuple[float, ZtpdError]] = {}
        self._known: dict[tuple[str, int], Literal["1", "2"]] = {}
        self._fell_back_s: dict[tuple[str, int, bool], float] = {}  # and whether it answered then

    def first(self, endpoint: NtripEndpoint) -> Literal["1", "2"]:
        """The version to ask with."""
        if endpoint.version != "auto":
            return endpoint.version
        return self._known.get((endpoint.host, endpoint.port), "2")

    def may_fall_back(self, endpoint: NtripEndpoint, now_s: float, *, refused: bool) -> bool:
        """Whether to ask once more with version 1; every ten minutes at most. ``refused``: the
        caster has answered; else it closed the connection, as one that restarts does."""
        caster = endpoint.host, endpoint.port
        if endpoint.version != "auto" or caster in self._known:
            if refused and self._known.get(caster) == "1":
                del self._known[caster]  # it may have become one of version 2
            return False
        before_s = [self._fell_back_s.get((*caster, each), float("-inf")) for each in (True, False)]
        return now_s - (before_s[0] if refused else max(before_s)) >= _FALL_BACK_EVERY_S

    def fell_back(self, endpoint: NtripEndpoint, now_s: float, *, answered: bool) -> None:
        """Asked with version 1, and in vain."""
        self._fell_back_s[endpoint.host, endpoint.port, answered] = now_s

    def accepted(self, endpoint: NtripEndpoint, version: Literal["1", "2"]) -> None:
        self._known[endpoint.host, endpoint.port] = version

    def table_meant(self, endpoint: NtripEndpoint, now_s: float) -> ZtpdError | None:
        """The meaning of its last table, while that holds: a table may have 400 kB."""
        read_s, meaning = self._tables.get(_place(endpoint), (float("-inf"), None))
        return meaning if now_s - read_s < _TABLE_EVERY_S else None

    def table_means(self, endpoint: NtripEndpoint, meaning: ZtpdError, now_s: float) -> None:
        if self.table_meant(endpoint, now_s) is None:
            self._tables[_place(endpoint)] = now_s, meaning


def _place(endpoint: NtripEndpoint) -> tuple[str, int, str]:
    return endpoint.host, endpoint.port, endpoint.mountpoint
