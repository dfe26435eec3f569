"""The settings of the receiver room, and the status that it publishes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ztpd.config import Config


class ReceiverSettings(NamedTuple):
    port: str  # "auto": it is looked for
    baudrate: int | None = None  # None: the one it answers at
    others: tuple[str, ...] = ()  # ports that are something else's, where it is looked for
    configure: bool = True  # False: settings are read, and left alone
    keys: Mapping[str, int] = {}  # more of them, the user's
    share: str = ""  # the path of the shared pseudo-terminal; "": none
    udp: tuple[str, ...] = ()  # targets of datagrams with its messages
    udp_kinds: tuple[str, ...] = ("nmea", "ubx")
    queue_bytes: int = 16384
    max_age_s: float = 10.0

    @property
    def is_shared(self) -> bool:
        """Whether other programs read the receiver's messages."""
        return bool(self.share or self.udp)

    @classmethod
    def of(cls, config: Config) -> ReceiverSettings:
        """Those of the gateway's configuration."""
        settings, corrections = config.receiver, config.corrections
        return cls(
            port=settings.port,
            baudrate=settings.baudrate if isinstance(settings.baudrate, int) else None,
            others=() if config.identity.port == "auto" else (config.identity.port,),
            configure=settings.configure,
            keys=settings.keys,
            share=config.output.pty,
            udp=config.output.udp,
            udp_kinds=config.output.udp_kinds,
            queue_bytes=corrections.queue_bytes,
            max_age_s=corrections.max_age_s,
        )


class SettingView(NamedTuple):
    """One of the settings that ztpd cares for."""

    name: str
    value: int | None  # None: the receiver does not know it
    wanted: int
    at_least: bool  # a higher value is as good
    state: str  # "right", "wrong", "unknown"


class ChangedSetting(NamedTuple):
    """A setting that differs from the firmware's default. Values are unsigned."""

    key: int = 0
    value: int = 0
    default: int | None = None  # None: the firmware names none


class Inspection(NamedTuple):
    """The model and settings of a receiver, just read from it."""

    model: str
    firmware: str
    protocol: str
    port: str
    baudrate: int
    speed: str  # as words behind the port, "at 38400 baud"; "" on USB, which has none
    wanted_baudrate: int | None
    takes: tuple[str, ...]
    configure: bool
    settings: tuple[SettingView, ...]
    changed: tuple[ChangedSetting, ...] = ()  # where every setting was asked for
