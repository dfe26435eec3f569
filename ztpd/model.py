"""The values that the rooms exchange: frozen, without I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Literal, NamedTuple

from ztpd.errors import ImeiInvalid

GPS_EPOCH_UNIX_S = 315_964_800
GPS_LEAP_SECONDS = 18  # GPS minus UTC since 2017-01-01; none is announced (IERS Bulletin C)
WEEK_S = 604_800


class Secret:
    """A confidential text: it prints and formats as stars, and cannot be pickled.

    Code that needs the text calls ``.reveal()``, which is easy to find in a review.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        raise TypeError("a Secret is not serialised")


def utc(unix_s: float) -> datetime:
    """The date of ``unix_s``, up to the year 9999, also on platforms whose time ends in 2038."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(unix_s, 253_402_300_799))


def fingerprint(*parts: object) -> str:
    """32 bits that change with ``parts``, too few to recover a secret among them."""
    texts = (part.reveal() if isinstance(part, Secret) else repr(part) for part in parts)
    return hashlib.sha256("\0".join(texts).encode(errors="replace")).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Imei:
    """An International Mobile Equipment Identity: 15 digits, Luhn-checked (3GPP TS 23.003 6.2.1).

    It may be personal data, so it prints masked: TAC and the last two digits.
    """

    digits: str

    def __post_init__(self) -> None:
        if len(self.digits) != 15 or not _is_decimal(self.digits):
            raise ImeiInvalid(f"{len(self.digits)} characters, an IMEI has 15 digits")
        if len(set(self.digits[:14])) == 1:  # fourteen zeros even pass the check below
            raise ImeiInvalid("one digit repeated")
        if luhn_digit(self.digits[:14]) != self.digits[14]:
            raise ImeiInvalid("the check digit is wrong")

    def __str__(self) -> str:
        return f"{self.digits[:8]}*****{self.digits[13:]}"

    __repr__ = __str__

    @classmethod
    def normalise(cls, text: str) -> tuple[Imei, str]:
        """The IMEI in ``text``, and a note on how it was normalised ("" if it was not).

        Takes 15 digits (a spare digit 0 in place of the check digit is recomputed), 14 digits
        (check digit appended), 16 digits (IMEISV: the SVN is cut off) and 17 digits (u-blox
        ``AT+CGSN=255``: the SVN behind the check digit is cut off). Raises :class:`ImeiInvalid`.
        Source: TS 23.003 clauses 6.2.1 and 6.2.2 and annex B; u-blox SARA-R4 AT manual.
        """
        if not _is_decimal(text):
            raise ImeiInvalid(f"{len(text)} characters that are not all digits")
        body = text[:14]
        if len(body) < 14 or len(text) > 17:
            raise ImeiInvalid(f"{len(text)} digits")
        check = luhn_digit(body)
        note = ""
        match len(text):
            case 14:
                note = "14 digits: check digit computed"
            case 15 if text[14] != check:
                if text[14] != "0":
                    raise ImeiInvalid("the check digit is wrong")
                note = "spare digit 0: check digit computed"
            case 16:
                note = "IMEISV: software version cut off, check digit computed"
            case 17:
                if text[14] != check:
                    raise ImeiInvalid("17 digits, but the check digit is wrong")
                note = "17 digits: software version cut off"
        return cls(body + check), note


def luhn_digit(body: str) -> str:
    """The check digit that completes ``body`` (TS 23.003 annex B)."""
    total = 0
    for place, char in enumerate(reversed(body)):
        digit = int(char) * (2 if place % 2 == 0 else 1)
        total += digit // 10 + digit % 10
    return str(-total % 10)


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.isdigit()


class Identity(NamedTuple):
    """The identity of this gateway, and its origin."""

    imei: Imei | None
    source: str  # "AT+CGSN=1 on /dev/...", "ModemManager", "configuration"
    note: str = ""  # how the number was normalised, "" if it was taken as it is
    fixed: str = ""  # a configured hardware id, where there is no modem

    @property
    def hardware_id(self) -> str:
        """The hardware id for the provisioning service."""
        return self.imei.digits if self.imei else self.fixed

    def __str__(self) -> str:
        return str(self.imei) if self.imei else self.fixed


class FrameKind(Enum):
    SPARTN = "SPARTN"
    RTCM3 = "RTCM3"
    UBX = "UBX"
    NMEA = "NMEA"

    __hash__ = object.__hash__  # looked up with each frame; Enum's own is slow


CORRECTION_FORMATS = {"spartn": FrameKind.SPARTN, "rtcm": FrameKind.RTCM3}
"""What the configuration calls them; "auto" is any."""


class Frame(NamedTuple):
    """One whole message with a valid checksum, byte for byte as received."""

    kind: FrameKind
    data: bytes
    name: str  # the field's name of it: "OCB-GPS", "1077", "NAV-PVT", "GGA"; "0102" if unknown


class Carrier(Enum):
    """The carrier-phase solution (NAV-PVT ``carrSoln``)."""

    NONE = 0
    FLOAT = 1
    FIXED = 2


FIX_LABELS = (
    "no fix",
    "time only",
    "dead reckoning",
    "2D",
    "3D",
    "DGNSS",
    "RTK float",
    "RTK fixed",
)
"""Of :attr:`Fix.label`, the worst first."""


class Fix(NamedTuple):
    """One report of the receiver about its position."""

    ok: bool  # gnssFixOK: the fix is valid, within its limits
    lat_deg: float
    lon_deg: float
    height_m: float  # above mean sea level
    geoid_m: float  # separation: ellipsoidal height minus height_m
    accuracy_m: float  # horizontal, 1 sigma as the receiver estimates it
    satellites: int
    carrier: Carrier
    differential: bool
    correction_age_s: float | None  # upper bound of the class reported; None: no corrections used
    utc: datetime | None  # None while the receiver has no fully resolved time
    pdop: float = 99.99
    three_d: bool = True
    time_only: bool = False  # the receiver is a base station: a time, and no position (not ok)
    dead_reckoning: bool = False  # position from sensors alone, without satellites
    speed_mps: float | None = None  # over ground; None: not reported
    correction_age_from_s: float = 0.0  # lower bound of the class of correction_age_s
    utc_confirmed: bool = False  # utc was confirmed by a second source, or comes with a fix

    @property
    def label(self) -> str:
        """A word for a person, one of :data:`FIX_LABELS`."""
        if not self.ok:
            return "time only" if self.time_only else "no fix"
        if self.dead_reckoning:
            return "dead reckoning"
        if self.carrier is Carrier.FIXED:
            return "RTK fixed"
        if self.carrier is Carrier.FLOAT:
            return "RTK float"
        if self.differential:
            return "DGNSS"
        return "3D" if self.three_d else "2D"


class ServiceUse(NamedTuple):
    """Whether the receiver uses the corrections of the present service."""

    used: bool | None = None  # None: not known, or another service would change nothing
    reason: str = ""  # why they are not used, for a person


class DynamicKey(NamedTuple):
    """One SPARTN decryption key and its validity (UTC, as the service gives it)."""

    value: Secret  # 32 hex digits
    start_ms: int  # milliseconds since the Unix epoch
    duration_ms: int

    @property
    def gps_time(self) -> tuple[int, int]:
        """Start as GPS week number and time of week in seconds, leap seconds included.

        A key that starts at 1676159982000 starts at week 2249, second 0.
        """
        gps_s = self.start_ms // 1000 - GPS_EPOCH_UNIX_S + GPS_LEAP_SECONDS
        return divmod(gps_s, WEEK_S)


class Topic(NamedTuple):
    """An MQTT topic of the service; ``description`` is the service's text."""

    path: str
    description: str = ""


class MqttEndpoint(NamedTuple):
    """Where and how to subscribe. ``certificate`` and ``private_key`` are PEM texts."""

    host: str
    port: int = 8883
    client_id: str = ""
    topics: tuple[Topic, ...] = ()
    topics_offered: bool = False  # ``topics`` are all that the service offers, not a choice of them
    region: str = "auto"  # of the topics offered
    certificate: str = ""
    private_key: Secret = Secret("")
    username: str = ""
    password: Secret = Secret("")
    tls: bool = True
    ca_file: str = ""  # "": ``authority``, or without one the system's trust store
    authority: str = ""  # PEM text of the certificate authority of the broker
    keepalive_s: int = 20
    public_only: bool = False  # the host is from an answer: it may not resolve to this machine
    own_account: bool = False  # the log-in is the configuration's, not that of ZTP

    kind: Literal["mqtt"] = "mqtt"

    @property
    def backup(self) -> bool:
        """A backup is an NTRIP caster."""
        return False

    @property
    def format(self) -> str:
        """That of [corrections]."""
        return "auto"

    @property
    def label(self) -> str:
        """A name for people."""
        return f"{self.kind} {self.host}:{self.port}"


class NtripEndpoint(NamedTuple):
    """A mountpoint of a caster, and how to read it."""

    host: str
    port: int
    mountpoint: str
    username: str = ""
    password: Secret = Secret("")
    tls: bool = True
    version: Literal["auto", "1", "2"] = "auto"
    gga_interval_s: float = 10.0
    ca_file: str = ""
    public_only: bool = False  # as of an MQTT endpoint
    own_account: bool = False  # user name and password are the configuration's, not those of ZTP
    password_file: str = ""  # read again for each session; "": ``password`` is all there is
    assistance: str = ""  # the mountpoint that sends assistance first, billed for each fetch
    name: str = ""  # of a backup, for people
    backup: bool = False  # from [[backup]], tried after all others
    format: Literal["auto", "spartn", "rtcm"] = "auto"  # "auto": that of [corrections]

    kind: Literal["ntrip"] = "ntrip"

    @property
    def label(self) -> str:
        """A name for people; those of two backups differ."""
        if not self.backup:
            return f"{self.kind} {self.host}:{self.port}"
        place = f"{self.host}:{self.port}/{self.mountpoint}"
        return f"{self.name} ({place})" if self.name else f"{self.kind} {place}"


SourceEndpoint = MqttEndpoint | NtripEndpoint


class NtripAccess(NamedTuple):
    """NTRIP credentials of an answer; the ports are None if the answer has none."""

    host: str
    username: str
    password: Secret
    mountpoint: str
    http_port: int | None = None
    https_port: int | None = None


class MqttAccess(NamedTuple):
    """MQTT credentials of an answer."""

    host: str
    client_id: str
    certificate: str
    private_key: Secret
    topics: tuple[Topic, ...]
    port: int = 8883
    authority: str = ""  # PEM text; the portal's download names the broker's authority


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials that the provisioning service gave this gateway."""

    service: Literal["flex", "live"]
    client_id: str
    mqtt: MqttAccess | None
    ntrip: NtripAccess | None
    keys: tuple[DynamicKey, ...]
    answer: Mapping[str, Any] = field(repr=False)  # as received; secrets inside, never printed
    malformed: str = ""  # a field that keeps one of MQTT and NTRIP from being used

    @property
    def transports(self) -> str:
        """The services that the credentials open, for a person."""
        found = []
        if self.ntrip:
            found.append(f"NTRIP {self.ntrip.host}/{self.ntrip.mountpoint}")
        if self.mqtt:
            found.append(f"MQTT {self.mqtt.host}")
        if self.keys:
            found.append(f"{len(self.keys)} decryption keys")
        return ", ".join(found)

    def secrets(self) -> list[Secret]:
        """All secrets of the credentials, for :class:`ztpd.log.Redaction`."""
        found = [key.value for key in self.keys]
        if self.mqtt:
            found.append(self.mqtt.private_key)
        if self.ntrip:
            found.append(self.ntrip.password)
        return found


class StoredCredentials(NamedTuple):
    """Credentials, bound to this gateway (one generation on the disk)."""

    credentials: Credentials
    hardware_id: str  # the hardware id of the call that gave them; "" if they were imported
    board: str  # board serial, or the built-in Ethernet's MAC; "" where there is neither
    stored_unix_s: int  # by this gateway's clock when they were stored
    expires_unix_s: int | None = None  # the client certificate's notAfter
    left_out: Literal["", "mqtt"] = ""  # in the answer, but unusable, so not in the credentials
