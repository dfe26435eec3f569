"""Every setting, declared once: name, default, what it takes, and what it means to a person.

Parsing, validation, the example file and the reference are made from these classes, so they
cannot disagree. Within a table the settings that matter to most people come first.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ztpd.config import rules
from ztpd.config.rules import Rule

_OPTIONAL_PATH = rules.empty_or(rules.path())
_OPTIONAL_HOST = rules.empty_or(rules.host())
_OPTIONAL_NAME = rules.empty_or(rules.printable(128))
_ANSWER = "Empty: as the provisioning service says."
_OWN = (
    "The daemon's user must be able to read it, and nobody else: `install -o ztpd -g ztpd -m 0600`."
)
_CA_FILE = (
    "Certificates (PEM) of the authority that signed the server's, for a private server. "
    "Empty: the ones this system trusts."
)


@dataclass(frozen=True, slots=True)
class Option:
    """One setting, as the loader and the texts see it."""

    name: str
    default: Any
    rule: Rule
    help: str
    example: Any  # None where the default shows enough
    private: bool  # a wrong value might be the secret itself: it is not shown

    @property
    def is_table(self) -> bool:
        """A free table of names: the rule reads one ``(name, value)`` of it."""
        return isinstance(self.default, dict)


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    kind: type[Any]
    about: str
    options: dict[str, Option]


def _option(
    default: Any, rule: Rule, help: str, *, example: Any = None, private: bool = False
) -> Any:
    metadata = {"rule": rule, "help": help, "example": example, "private": private}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class ZtpOptions:
    """The provisioning service, which gives this gateway credentials of its own."""

    service: Literal["flex", "live"] = _option(
        "flex",
        rules.one_of("flex", "live"),
        "The PointPerfect service that the token's device profile is for.",
    )
    given_name: str = _option(
        "{hostname}",
        rules.given_name(),
        "The name this gateway gets in the portal; a name that becomes too long is cut.",
        example="gateway {imei}",
    )
    tags: tuple[str, ...] = _option(
        (),
        rules.list_of(rules.printable(49), 16),
        "Labels this gateway gets in the portal.",
        example=("site-7", "tractor"),
    )
    token_file: str = _option(
        "/etc/ztpd/token",
        rules.path(),
        "Where the ZTP token lies; `ztpd token set` writes it. Only its owner may be able to read "
        'it (mode 0600). The systemd credential "ztp-token" comes first where there is one.',
        private=True,
    )
    forget_token: bool = _option(
        False,
        rules.switch(),
        "Have /etc/ztpd/token removed once the credentials have opened a session and corrections "
        "flow, so that a stolen card does "
        "not give away the token of the whole profile. Needs `systemctl enable --now "
        "ztpd-forget-token.path`. Credentials that are refused or end later need the token again: "
        "a person then gives it with `ztpd token set`.",
    )
    splay_s: float = _option(
        60.0,
        rules.seconds(0, 86400),
        "The first call ever waits for a random part of this time. For a roll-out of thousands of "
        "gateways at one moment, hours are right.",
    )
    timeout_s: float = _option(
        30.0, rules.seconds(5, 300), "How long one call may take, from name look-up to last byte."
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
        "The only hosts that an answer may send this gateway to. Empty: any public host name; an "
        "address or a private host must be listed here.",
        example=(".services.u-blox.com",),
    )


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """Who this gateway is to the provisioning service: the IMEI of its modem."""

    source: Literal["auto", "modemmanager", "at", "fixed"] = _option(
        "auto",
        rules.one_of("auto", "modemmanager", "at", "fixed"),
        "Where the gateway's identity comes from: the IMEI that ModemManager knows, the IMEI the "
        'modem tells by AT command, or a fixed text. "auto": ModemManager where it runs and knows '
        "a modem, else AT.",
    )
    port: str = _option(
        "auto",
        rules.auto_or(rules.path()),
        "The modem's AT port. Names below /dev/serial/by-id survive a reboot, ttyUSB numbers do "
        'not. "auto": the one modem on USB that ztpd knows. Where there are several modems, this '
        "chooses: any port of the right one, for ModemManager's modems too.",
        example="/dev/serial/by-id/usb-Quectel_EG25-G-if02-port0",
    )
    baudrate: int | Literal["auto"] = _option(
        "auto",
        rules.auto_or(rules.baudrate()),
        "The speed of that port; of no meaning on USB.",
    )
    hardware_id: str = _option(
        "",
        rules.text("at most 64 letters, digits or -_.:", r"[A-Za-z0-9_.:-]{0,64}"),
        'What is sent in place of an IMEI where source is "fixed": for gateways without a modem.',
        example="gw-000123",
    )
    timeout_s: float = _option(
        60.0,
        rules.seconds(5, 600),
        "How long one reading of the identity may take: modems are slow after power-up.",
    )


@dataclass(frozen=True, slots=True)
class CorrectionsOptions:
    """Which corrections are used, and how fresh they must be."""

    prefer: tuple[Literal["ntrip", "mqtt"], ...] = _option(
        ("ntrip", "mqtt"),
        rules.several_of("ntrip", "mqtt"),
        "The ways to get corrections, the best one first; the next is used while the first fails. "
        "What is left out is not used.",
        example=("ntrip",),
    )
    format: Literal["auto", "spartn", "rtcm"] = _option(
        "auto",
        rules.one_of("auto", "spartn", "rtcm"),
        'The format given to the receiver. "auto": what the service sends and the receiver takes.',
    )
    stale_after_s: float = _option(
        15.0,
        rules.seconds(6, 300),
        "A session that brings no corrections for so long is given up for a new one.",
    )
    max_age_s: float = _option(
        10.0,
        rules.seconds(1, 60),
        "Corrections that could not be written to the receiver for so long are dropped.",
    )
    queue_bytes: int = _option(
        16384,
        rules.whole(2048, 65536),
        "How much may wait for the line to the receiver; beyond it the oldest frame is dropped.",
    )


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """Corrections from an MQTT broker. Empty settings are filled by the provisioning service;
    with host and topics set, no provisioning is needed. u-blox announced the end of MQTT for
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
        'Which region\'s topics to take where the service offers several. "auto": by the position.',
        example="eu",
    )
    username: str = _option(
        "",
        _OPTIONAL_NAME,
        "The user at a broker that asks for one.",
    )
    password_file: str = _option(
        "",
        _OPTIONAL_PATH,
        f"The file that holds the password. {_OWN}",
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
        "The broker's port. 0: as the provisioning service says, else 8883.",
    )
    tls: bool = _option(
        True, rules.switch(), "Without TLS only a broker on this machine itself is used."
    )
    ca_file: str = _option("", _OPTIONAL_PATH, _CA_FILE)
    keepalive_s: int = _option(
        20,
        rules.whole(5, 1200),
        "The MQTT keep-alive in seconds: a dead link is noticed within twice this time.",
    )


@dataclass(frozen=True, slots=True)
class NtripOptions:
    """Corrections from an NTRIP caster. Empty settings are filled by the provisioning service;
    with host and mountpoint set, no provisioning is needed.
    """

    host: str = _option("", _OPTIONAL_HOST, f"The caster. {_ANSWER}", example="caster.example.net")
    mountpoint: str = _option(
        "",
        rules.text(
            "at most 100 letters, digits or -_.+~ without a slash",
            r"[A-Za-z0-9_.+~-]{0,100}",
        ),
        f"The mountpoint on that caster. {_ANSWER}",
        example="NEAR-RTCM",
    )
    username: str = _option(
        "",
        rules.empty_or(
            rules.text(
                "1 to 128 printable characters without a colon", r"[^\x00-\x1f\x7f-\x9f:]{1,128}"
            )
        ),
        f"The user at that caster. {_ANSWER}",
    )
    password_file: str = _option(
        "",
        _OPTIONAL_PATH,
        f"The file that holds the password. {_OWN}",
        private=True,
    )
    port: int = _option(
        0,
        rules.whole(0, 65535),
        "The caster's port. 0: as the provisioning service says, else 2102, or 2101 without TLS.",
    )
    tls: bool = _option(
        True,
        rules.switch(),
        "false sends position and password in clear text; for casters that offer nothing better.",
    )
    ca_file: str = _option("", _OPTIONAL_PATH, _CA_FILE)
    version: Literal["auto", "1", "2"] = _option(
        "auto",
        rules.one_of("auto", "1", "2"),
        'The NTRIP version. "auto": 2, and 1 with casters that do not know it.',
    )
    gga_interval_s: float = _option(
        10.0,
        rules.seconds(1, 30),
        "How often the position is told to the caster; PointPerfect ends a session after 30 s "
        "without one.",
    )


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """The u-blox GNSS receiver that gets the corrections."""

    port: str = _option(
        "auto",
        rules.auto_or(rules.path()),
        'The serial port of the GNSS receiver. "auto": the one u-blox receiver on USB, else behind '
        "a USB adapter or on /dev/serial0; it counts only once it has said what it is.",
        example="/dev/serial0",
    )
    baudrate: int | Literal["auto"] = _option(
        "auto",
        rules.auto_or(rules.baudrate()),
        "The speed of that port; of no meaning on USB. The receiver is found at any speed and set "
        'to this one (in RAM); "auto": the one it answers at.',
    )
    configure: bool = _option(
        True,
        rules.switch(),
        "Switch on what corrections need in the receiver (in RAM: gone after power-off). false: "
        "the receiver is set up by someone else.",
    )
    keys: Mapping[str, int] = _option(
        {},
        rules.receiver_key(),
        "Further configuration items of the receiver, by name or number.",
        example={"CFG-RATE-MEAS": 200},
    )


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The receiver's messages for other programs."""

    pty: str = _option(
        "",
        _OPTIONAL_PATH,
        "A name under which everything the receiver sends can be read by other programs, such as "
        "gpsd, as from a serial port. Empty: none.",
        example="/run/ztpd/gnss",
    )


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The journal."""

    level: Literal["debug", "info", "warning", "error"] = _option(
        "info",
        rules.one_of("debug", "info", "warning", "error"),
        "The least important lines that go to the journal.",
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; ``Config()`` is what holds without a file."""

    ztp: ZtpOptions = field(default_factory=ZtpOptions)
    identity: IdentityOptions = field(default_factory=IdentityOptions)
    corrections: CorrectionsOptions = field(default_factory=CorrectionsOptions)
    ntrip: NtripOptions = field(default_factory=NtripOptions)
    mqtt: MqttOptions = field(default_factory=MqttOptions)
    receiver: ReceiverOptions = field(default_factory=ReceiverOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    log: LogOptions = field(default_factory=LogOptions)


def _tables() -> Iterator[Table]:
    defaults = Config()
    for place in fields(Config):
        section = getattr(defaults, place.name)
        options = {
            item.name: Option(item.name, getattr(section, item.name), **item.metadata)
            for item in fields(section)
        }
        yield Table(place.name, type(section), inspect.getdoc(section) or "", options)


TABLES = {table.name: table for table in _tables()}
