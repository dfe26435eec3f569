"""Who this gateway is: the one place that knows the order of the sources."""

from __future__ import annotations

from ztpd.config import Config
from ztpd.errors import ConfigError, IdentityError, ImeiInvalid
from ztpd.model import Identity, Imei


async def read(config: Config) -> Identity:
    """The identity by ``[identity]`` of the configuration. Raises :class:`IdentityError`."""
    settings = config.identity
    if settings.source == "fixed":
        return _fixed(settings.hardware_id)
    if settings.port == "auto":
        raise IdentityError(
            '[identity] port is not set; name the modem\'s AT port, or use source = "fixed"'
        )
    from ztpd.link import modem  # a provisioned gateway does not talk to its modem

    baudrate = settings.baudrate if isinstance(settings.baudrate, int) else None
    return await modem.read_imei(settings.port, baudrate, timeout_s=settings.timeout_s)


def _fixed(hardware_id: str) -> Identity:
    if not hardware_id:
        raise ConfigError('[identity] source is "fixed", but hardware_id is empty')
    try:
        return Identity(Imei(hardware_id), "the configuration")
    except ImeiInvalid:
        return Identity(None, "the configuration", fixed=hardware_id)
