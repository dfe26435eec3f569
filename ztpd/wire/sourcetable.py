"""The sourcetable of a caster: its mountpoints. Source: RTCM 10410.1, section 2.3 and annex."""

from __future__ import annotations

from typing import NamedTuple

from ztpd.errors import MountpointNotServed, MountpointUnknown, SessionError, ZtpdError
from ztpd.sanitize import clean

TABLE_LIMIT = 4 << 20  # bytes; the longest public tables have about 400 kB

_NAMES_LIMIT = 4096  # mountpoints kept for the hint
_LINE_LIMIT = 8192
_END = b"ENDSOURCETABLE"


class Mountpoint(NamedTuple):
    """One stream of a sourcetable (its STR line)."""

    name: str
    format: str = ""  # "RTCM 3.3", "SPARTN"; free text
    needs_gga: bool = False  # the caster requires a position (field 12, "nmea")


def sourcetable(text: bytes) -> list[Mountpoint]:
    """The streams ``text`` lists; lines of other kinds and damaged ones are passed over."""
    return [found for line in text.splitlines() if (found := _mountpoint(line))]


def _mountpoint(line: bytes | bytearray) -> Mountpoint | None:
    kind, *fields = line.split(b";", 12)  # field 12 is the last one of use
    if not fields or clean(bytes(kind), 64) != "STR":
        return None
    texts = [clean(bytes(fields[at]), 64) if at < len(fields) else "" for at in (0, 2, 10)]
    name, format, needs_gga = texts
    return Mountpoint(name, format, needs_gga == "1") if name else None


class Sourcetable:
    """A sourcetable of any length, of which only the names are kept."""

    def __init__(self, wanted: str) -> None:
        self.names: dict[str, str] = {}  # by their upper-case form
        self.lists_wanted = self.complete = False
        self.bytes = 0
        self.meant: ZtpdError | None = None  # by the one before: then this one is not read
        self._wanted = wanted
        self._rest = bytearray()

    @property
    def is_decided(self) -> bool:
        """Whether more bytes cannot change the meaning."""
        known = self.lists_wanted or self.complete or self.bytes >= TABLE_LIMIT
        return known or (self.meant is not None and bool(self.names))

    def feed(self, data: bytes | bytearray) -> None:
        self.bytes += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_LIMIT:
            self._rest.clear()
        for line in lines:
            self._take(line)
        if self._rest.strip() == _END:
            self.complete = True

    def _take(self, line: bytearray) -> None:
        if line.strip() == _END:
            self.complete = True
        elif found := _mountpoint(line):
            self.lists_wanted |= found.name == self._wanted
            if len(self.names) < _NAMES_LIMIT:
                self.names[found.name.upper()] = found.name

    def failure(self, words: str) -> ZtpdError:
        """The meaning of a sourcetable in place of a stream; one that is cut proves nothing."""
        wanted = self._wanted
        if self.lists_wanted:
            return MountpointNotServed(wanted)
        if self.meant and self.names:
            return self.meant
        if not self.complete and (self.names or not words or ";" in words):
            return SessionError(
                f"the caster sent its table of mountpoints in place of {wanted}, and only "
                f"{self.bytes} bytes of it came"
            )
        if not self.names and words and not words.startswith("ENDSOURCETABLE"):
            return MountpointUnknown(f'{wanted}; the caster says "{words}"')
        import difflib  # for a mistake only

        near = difflib.get_close_matches(wanted.upper(), self.names, n=3)
        hint = ""
        if near:
            hint = f"; did you mean {' or '.join(self.names[name] for name in near)}?"
        elif self.names:
            some = list(self.names.values())[:8]
            more = f" and {len(self.names) - len(some)} more" if len(self.names) > 8 else ""
            hint = f"; it has {', '.join(some)}{more}"
        return MountpointUnknown(f"{wanted or 'none was named'}{hint}")
