"""The configuration: declared in ``options``, read by ``load``, written for people by ``render``.

``environment`` reads the ZTP token."""

from ztpd.config.environment import has_token, is_absent, read_token
from ztpd.config.load import LoadedConfig, UnknownKey, exposed_files, load, named_files
from ztpd.config.options import (
    BackupOptions,
    BudgetOptions,
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
from ztpd.config.render import example, show

__all__ = [
    "BackupOptions",
    "BudgetOptions",
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
    "exposed_files",
    "has_token",
    "is_absent",
    "load",
    "named_files",
    "read_token",
    "show",
]
