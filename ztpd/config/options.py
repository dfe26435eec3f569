"""Every setting, declared once: name, default, allowed values, meaning.

One module because it is a catalogue: the files and texts are made from it as a whole.

Parsing, validation, the example file and the reference are made from these classes, so they
agree. Within a table the settings that most people need come first.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from ztpd.config import rules
from ztpd.config.rules import Rule

_OPTIONAL_PATH = rules.empty_or(rules.path())
_OPTIONAL_HOST = rules.empty_or(rules.host())
_OPTIONAL_NAME = rules.empty_or(rules.printable(128))
_ANSWER = "Empty: the one of the provisioning service."
_OWN = (
    "Only the daemon's user should have the right to read it (`install -o ztpd -g ztpd -m 0600`); "
    "else ztpd warns."
)
_MOUNTPOINT = rules.text(
    "at most 100 letters, digits or -_.+~ without a slash", r"[A-Za-z0-9_.+~-]{0,100}"
)
_NTRIP_USER = rules.empty_or(
    rules.text("1 to 128 printable characters without a colon", r"[^\x00-\x1f\x7f-\x9f:]{1,128}")
)
_NTRIP_VERSION = rules.one_of("auto", "1", "2")
_NTRIP_VERSIONS = 'The NTRIP version. "auto": 2, or 1 with casters that do not know version 2.'
_PLAIN_NTRIP = "false sends position and password in clear text, for casters without TLS."
_CA_FILE = (
    "Certificates (PEM) of the authority of a private server. "
    "Empty: the authorities that this system trusts."
)


class Option(NamedTuple):
    """One setting, as the loader and the texts see it."""

    name: str
    default: Any
    rule: Rule
    help: str
    example: Any  # None if the default is example enough
    private: bool  # a wrong value may be a secret: error messages leave it out

    @property
    def is_table(self) -> bool:
        """True for a table of free names: the rule reads one ``(name, value)``."""
        return isinstance(self.default, dict)


class Table(NamedTuple):
    name: str
    kind: type[Any]
    about: str
    options: dict[str, Option]
    repeated: bool = False  # a file has any number of them: [[name]]

    @property
    def header(self) -> str:
        return f"[[{self.name}]]" if self.repeated else f"[{self.name}]"


def _option(
    default: Any, rule: Rule, help: str, *, example: Any = None, private: bool = False
) -> Any:
    metadata = {"rule": rule, "help": help, "example": example, "private": private}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class ZtpOptions:
    """The provisioning service, which gives this gateway its credentials."""

    service: Literal["flex", "live"] = _option(
        "flex",
        rules.one_of("flex", "live"),
        "The PointPerfect service that the token's device profile is for.",
    )
    given_name: str = _option(
        "{hostname}",
        rules.given_name(),
        "The name of this gateway in the portal; ztpd cuts a name that is too long.",
        example="gateway {imei}",
    )
    tags: tuple[str, ...] = _option(
        (),
        rules.list_of(rules.printable(49), 16),
        "Labels of this gateway in the portal.",
        example=("site-7", "tractor"),
    )
    token_file: str = _option(
        "/etc/ztpd/token",
        rules.path(),
        "The file of the ZTP token; `ztpd token set` writes it. Only its owner may have the right "
        'to read it (mode 0600). The systemd credential "ztp-token", if there is one, wins.',
        private=True,
    )
    forget_token: bool = _option(
        False,
        rules.switch(),
        "Remove /etc/ztpd/token once the credentials have opened a session and corrections flow, "
        "so that a stolen card does not contain the token of the whole profile. Needs `systemctl "
        "enable --now ztpd-forget-token.path`. If the service later refuses the credentials, or "
        "they expire, a person must give the token again with `ztpd token set`.",
    )
    seal_credentials: bool = _option(
        False,
        rules.switch(),
        "Encrypt the stored credentials with the key that systemd (256 or newer: Debian 13) has on "
        "this machine, in its TPM where there is one. A copy of /var/lib/ztpd is then useless "
        "elsewhere; a stolen card that contains the key is not. Where they cannot be decrypted, "
        "ztpd asks for new ones once. Not for systems that swap two roots: each update would be a "
        "provisioning call (docs/security.md).",
    )
    splay_s: float = _option(
        60.0,
        rules.seconds(0, 86400),
        "The first call of a gateway waits for a random part of this time. Use hours if thousands "
        "of gateways are switched on at one moment.",
    )
    timeout_s: float = _option(
        30.0, rules.seconds(5, 300), "The longest time of one call, from name look-up to last byte."
    )
    url: str = _option(
        "https://api.thingstream.io",
        rules.url(),
        "The provisioning service, without the path of the call.",
    )
    ca_file: str = _option("", _OPTIONAL_PATH, _CA_FILE)
    allowed_hosts: tuple[str, ...] = _option(
        (),
        rules.list_of(rules.host_or_domain(), 32),
        "The only hosts that an answer may name. Empty: any public host name; an address or a "
        "private host must be listed here.",
        example=(".services.u-blox.com",),
    )


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """The identity of this gateway for the provisioning service: the IMEI of its modem."""

    source: Literal["auto", "modemmanager", "at", "fixed"] = _option(
        "auto",
        rules.one_of("auto", "modemmanager", "at", "fixed"),
        "The source of the identity: the IMEI that ModemManager knows, the IMEI that the modem "
        'gives by AT command, or a fixed text. "auto": ModemManager if it runs and knows a modem, '
        "else AT.",
    )
    port: str = _option(
        "auto",
        rules.auto_or(rules.path()),
        "The modem's AT port. Names below /dev/serial/by-id survive a reboot, ttyUSB numbers do "
        'not. "auto": the one known modem on USB. With several modems, set it to any port of the '
        "right one, also if ModemManager manages it.",
        example="/dev/serial/by-id/usb-Quectel_EG25-G-if02-port0",
    )
    baudrate: int | Literal["auto"] = _option(
        "auto",
        rules.auto_or(rules.baudrate()),
        "The speed of that port; without effect on USB.",
    )
    hardware_id: str = _option(
        "",
        rules.text("at most 64 letters, digits or -_.:", r"[A-Za-z0-9_.:-]{0,64}"),
        'The hardware id of a gateway without a modem, where source is "fixed".',
        example="gw-000123",
    )
    timeout_s: float = _option(
        60.0,
        rules.seconds(5, 600),
        "The longest time for reading the identity: modems are slow after power-up.",
    )


@dataclass(frozen=True, slots=True)
class CorrectionsOptions:
    """The choice of corrections, and their freshness."""

    prefer: tuple[Literal["ntrip", "mqtt"], ...] = _option(
        ("ntrip", "mqtt"),
        rules.several_of("ntrip", "mqtt"),
        "The transports of corrections, the best one first; ztpd uses the next one while the first "
        "fails, and none that is not listed.",
        example=("ntrip",),
    )
    format: Literal["auto", "spartn", "rtcm"] = _option(
        "auto",
        rules.one_of("auto", "spartn", "rtcm"),
        'The format for the receiver. "auto": one that the service sends and the receiver knows.',
    )
    stale_after_s: float = _option(
        15.0,
        rules.seconds(6, 300),
        "ztpd replaces a session that brings no corrections for this time.",
    )
    max_age_s: float = _option(
        10.0,
        rules.seconds(1, 60),
        "ztpd drops corrections that the line to the receiver did not take within this time.",
    )
    queue_bytes: int = _option(
        16384,
        rules.whole(2048, 65536),
        "The bytes that may wait for the line to the receiver; then ztpd drops the oldest frame.",
    )
    assistance: Literal["off", "once"] = _option(
        "off",
        rules.one_of("off", "once"),
        'Satellite orbits for a faster first position. "once": the first NTRIP session after a '
        "start of the receiver uses the service's mountpoint for it, whose name ends in -MGA and "
        "which is billed for each fetch; ztpd keeps the orbits in memory for two hours. A "
        "mountpoint in the configuration that ends in -MGA is always used so.",
    )
    pause_when_still_minutes: int = _option(
        0,
        rules.whole(0, 1440),
        "ztpd pauses when the receiver has stood still for so many minutes, and goes on when it "
        "moves 5 m; 0: never. A parked machine then uses no data, and needs some time for RTK "
        "again: seconds with RTCM, up to three minutes with PointPerfect Flex.",
        example=10,
    )


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """Corrections from an MQTT broker. The provisioning service fills empty settings; with host
    and topics set, ztpd needs no provisioning. u-blox announced the end of MQTT for
    PointPerfect Flex for 30 September 2026.
    """

    host: str = _option("", _OPTIONAL_HOST, f"The broker. {_ANSWER}", example="broker.example.net")
    topics: tuple[str, ...] = _option(
        (),
        rules.list_of(rules.printable(256), 32),
        "The topics to subscribe to. Empty: those of the provisioning service for the region.",
        example=("/pp/ip/eu", "/pp/ubx/0236/ip"),
    )
    region: str = _option(
        "auto",
        rules.auto_or(rules.text('two small letters, such as "eu"', r"[a-z]{2}")),
        'The region, if the service offers topics of several. "auto": by the position.',
        example="eu",
    )
    username: str = _option(
        "",
        _OPTIONAL_NAME,
        "The user name, if the broker requires one.",
    )
    password_file: str = _option(
        "",
        _OPTIONAL_PATH,
        f"The file of the password. {_OWN}",
        private=True,
    )
    cert_file: str = _option("", _OPTIONAL_PATH, f"The client certificate (PEM). {_ANSWER}")
    key_file: str = _option(
        "", _OPTIONAL_PATH, f"The private key (PEM) of that certificate. {_OWN}"
    )
    client_id: str = _option(
        "",
        _OPTIONAL_NAME,
        f"The MQTT client identifier. {_ANSWER}",
    )
    port: int = _option(
        0,
        rules.whole(0, 65535),
        "The broker's port. 0: the one of the provisioning service, else 8883.",
    )
    tls: bool = _option(True, rules.switch(), "false is allowed only for a broker on this machine.")
    ca_file: str = _option("", _OPTIONAL_PATH, _CA_FILE)
    keepalive_s: int = _option(
        20,
        rules.whole(5, 1200),
        "The MQTT keep-alive in seconds: ztpd notices a dead link within twice this time.",
    )


@dataclass(frozen=True, slots=True)
class NtripOptions:
    """Corrections from an NTRIP caster. The provisioning service fills empty settings; with host
    and mountpoint set, ztpd needs no provisioning.
    """

    host: str = _option("", _OPTIONAL_HOST, f"The caster. {_ANSWER}", example="caster.example.net")
    mountpoint: str = _option(
        "",
        _MOUNTPOINT,
        f"The mountpoint on that caster. {_ANSWER}",
        example="NEAR-RTCM",
    )
    username: str = _option(
        "",
        _NTRIP_USER,
        f"The user name. {_ANSWER}",
    )
    password_file: str = _option(
        "",
        _OPTIONAL_PATH,
        f"The file of the password. {_OWN}",
        private=True,
    )
    port: int = _option(
        0,
        rules.whole(0, 65535),
        "The caster's port. 0: that of the provisioning service, else 2102, or 2101 without TLS.",
    )
    tls: bool = _option(True, rules.switch(), _PLAIN_NTRIP)
    ca_file: str = _option("", _OPTIONAL_PATH, _CA_FILE)
    version: Literal["auto", "1", "2"] = _option("auto", _NTRIP_VERSION, _NTRIP_VERSIONS)
    gga_interval_s: float = _option(
        10.0,
        rules.seconds(1, 30),
        "The time between two positions for the caster; PointPerfect ends a session after 30 s "
        "without one.",
    )


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """The u-blox GNSS receiver that uses the corrections."""

    port: str = _option(
        "auto",
        rules.auto_or(rules.path()),
        'The serial port of the GNSS receiver. "auto": the one u-blox receiver on USB, else behind '
        "a USB adapter or on /dev/serial0, once it has reported its model.",
        example="/dev/serial0",
    )
    baudrate: int | Literal["auto"] = _option(
        "auto",
        rules.auto_or(rules.baudrate()),
        "The speed of that port; without effect on USB. ztpd finds the receiver at any speed and "
        'sets it to this one (in RAM); "auto": it keeps the speed at which it answers.',
    )
    configure: bool = _option(
        True,
        rules.switch(),
        "Write the settings that corrections need to the receiver (in RAM, so that power-off "
        "undoes them). false: another program configures the receiver; it must switch on SPARTN or "
        "RTCM 3 input and NAV-PVT output, and RXM-COR output so that the use can be reported.",
    )
    keys: Mapping[str, int] = _option(
        {},
        rules.receiver_key(),
        "Further configuration items of the receiver, by name or number.",
        example={"CFG-RATE-MEAS": 200},
    )


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """The data plan of the gateway and the hours of its service, compared with what the sessions
    have used. `ztpd status` shows both.
    """

    megabytes_per_month: int = _option(
        0,
        rules.whole(0, 1_000_000),
        "The megabytes (1000000 bytes) of a month, 0 for no limit. ztpd counts the IP bytes of its "
        "sessions, both ways; other programs and provisioning are not among them.",
        example=1000,
    )
    hours_per_month: int = _option(
        0,
        rules.whole(0, 744),
        "The hours of a month with an open session, 0 for no limit.",
        example=100,
    )
    then: Literal["warn", "pause"] = _option(
        "warn",
        rules.one_of("warn", "pause"),
        'The reaction when a limit is reached; ztpd warns at 80 % in any case. "warn": a line in '
        'the journal. "pause": no session until the next month, or until `ztpd resume`.',
        example="pause",
    )
    month_begins_on: int = _option(
        1,
        rules.whole(1, 28),
        "The day on which a month of the plan begins, at 0 h UTC.",
    )


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The receiver's messages for other programs."""

    udp: tuple[str, ...] = _option(
        (),
        rules.list_of(rules.loopback_endpoint(), 8),
        "Addresses on this machine to which ztpd sends each message of the receiver as a datagram, "
        "for gpsd (`udp://127.0.0.1:10110`) and other programs. Empty: none.",
        example=("127.0.0.1:10110",),
    )
    udp_kinds: tuple[Literal["nmea", "ubx", "rtcm"], ...] = _option(
        ("nmea", "ubx"),
        rules.several_of("nmea", "ubx", "rtcm"),
        "The kinds of messages that go there. From UBX alone gpsd does not tell RTK float from "
        "RTK fixed.",
        example=("nmea",),
    )
    pty: str = _option(
        "",
        _OPTIONAL_PATH,
        "The path of a pseudo-terminal from which other programs, such as gpsd, can read all data "
        "of the receiver as from a serial port. Empty: none.",
        example="/run/ztpd/gnss",
    )


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The journal."""

    level: Literal["debug", "info", "warning", "error"] = _option(
        "info",
        rules.one_of("debug", "info", "warning", "error"),
        "The lowest level that goes to the journal.",
    )


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """A further correction service: an NTRIP caster with an account of its own. ztpd uses it while
    all services before it fail: those of the credentials, of [ntrip] and [mqtt], then each
    [[backup]] in the order of the file. Its corrections may refer to another datum, so the position
    may move by decimetres. The provisioning service never learns of it. With [[backup]] alone, and
    neither a ZTP token nor credentials, ztpd needs no provisioning.
    """

    host: str = _option("", _OPTIONAL_HOST, "The caster; required.", example="caster.example.org")
    mountpoint: str = _option(
        "", _MOUNTPOINT, "The mountpoint on that caster; required.", example="VRS_RTCM3"
    )
    username: str = _option("", _NTRIP_USER, "The user name, if the caster requires one.")
    password_file: str = _option(
        "",
        _OPTIONAL_PATH,
        f"The file of the password; ztpd reads it for each session. {_OWN}",
        private=True,
    )
    name: str = _option(
        "",
        _OPTIONAL_NAME,
        "The name of this service in the journal and in `ztpd status`. Empty: host and mountpoint.",
        example="state network",
    )
    format: Literal["auto", "spartn", "rtcm"] = _option(
        "auto",
        rules.one_of("auto", "spartn", "rtcm"),
        'The format for the receiver. "auto": that of [corrections] format.',
    )
    port: int = _option(
        0, rules.whole(0, 65535), "The caster's port. 0: 2102, or 2101 without TLS."
    )
    tls: bool = _option(True, rules.switch(), _PLAIN_NTRIP)
    ca_file: str = _option("", _OPTIONAL_PATH, _CA_FILE)
    version: Literal["auto", "1", "2"] = _option("auto", _NTRIP_VERSION, _NTRIP_VERSIONS)

    @property
    def label(self) -> str:
        """A name for people."""
        return self.name or f"{self.host}/{self.mountpoint}"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; ``Config()`` has the defaults."""

    ztp: ZtpOptions = field(default_factory=ZtpOptions)
    identity: IdentityOptions = field(default_factory=IdentityOptions)
    corrections: CorrectionsOptions = field(default_factory=CorrectionsOptions)
    ntrip: NtripOptions = field(default_factory=NtripOptions)
    mqtt: MqttOptions = field(default_factory=MqttOptions)
    receiver: ReceiverOptions = field(default_factory=ReceiverOptions)
    budget: BudgetOptions = field(default_factory=BudgetOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    log: LogOptions = field(default_factory=LogOptions)
    backup: tuple[BackupOptions, ...] = ()


def _tables() -> Iterator[Table]:
    defaults = Config()
    for place in fields(Config):
        section = getattr(defaults, place.name)
        repeated = place.name == "backup"
        if repeated:
            section = BackupOptions()
        options = {
            item.name: Option(item.name, getattr(section, item.name), **item.metadata)
            for item in fields(section)
        }
        about = inspect.getdoc(section) or ""
        yield Table(place.name, type(section), about, options, repeated)


TABLES = {table.name: table for table in _tables()}


def sections(config: Config) -> Iterator[tuple[str, Table, Any]]:
    """Each table of ``config``: the beginning of its key paths, such as "ntrip" or "backup[1]", its
    declaration and its values."""
    for table in TABLES.values():
        found = getattr(config, table.name)
        if table.repeated:
            for number, each in enumerate(found, 1):
                yield f"{table.name}[{number}]", table, each
        else:
            yield table.name, table, found
