"""The configuration: declared in ``options``, read by ``load``, written for people by ``render``.

``environment`` has the directories and the token that systemd passes to the daemon."""

from ztpd.config.environment import make, read_token, runtime_dir, state_dir
from ztpd.config.load import DEFAULT_PATH, LoadedConfig, UnknownKey, load
from ztpd.config.options import (
    Config,
    CorrectionsOptions,
    IdentityOptions,
    LogOptions,
    MqttOptions,
    NtripOptions,
    OutputOptions,
    ReceiverOptions,
    ZtpOptions,
)
from ztpd.config.render import example, reference, show

__all__ = [
    "DEFAULT_PATH",
    "Config",
    "CorrectionsOptions",
    "IdentityOptions",
    "LoadedConfig",
    "LogOptions",
    "MqttOptions",
    "NtripOptions",
    "OutputOptions",
    "ReceiverOptions",
    "UnknownKey",
    "ZtpOptions",
    "example",
    "load",
    "make",
    "read_token",
    "reference",
    "runtime_dir",
    "show",
    "state_dir",
]
