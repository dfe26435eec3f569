"""Which sessions the credentials and the configuration allow, best first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from ztpd.config import BackupOptions, Config
from ztpd.errors import ConfigFileUnusable, NoTransport
from ztpd.model import (
    Credentials,
    MqttEndpoint,
    NtripAccess,
    NtripEndpoint,
    Secret,
    SourceEndpoint,
    Topic,
)
from ztpd.sanitize import decoded
from ztpd.system.files import read_regular
from ztpd.wire.ztp import must_be_public

_PLAIN_PORT = 2101  # IANA: "rtcm-sc104"
_ASSISTED = "-MGA"  # the end of PointPerfect's mountpoints that send assistance first
_TLS_PORT = 2102  # PointPerfect's; no standard names one


def configured_without_ztp(config: Config) -> bool:
    """Whether the configuration alone opens a session, so that ZTP is not needed."""
    return bool(
        (config.mqtt.host and config.mqtt.topics) or (config.ntrip.host and config.ntrip.mountpoint)
    )


def backups_alone(config: Config, *, has_token: bool) -> bool:
    """Whether a gateway without credentials uses its backups, and needs no ZTP: nobody gave it a
    token."""
    return bool(config.backup) and not has_token


def endpoints(config: Config, credentials: Credentials | None) -> Sequence[SourceEndpoint]:
    """The endpoints of credentials and configuration, in the order of ``[corrections] prefer``,
    then those of each ``[[backup]]``.

    Raises :class:`NoTransport` where there is none, :class:`ConfigFileUnusable` where a file that
    the configuration names cannot be read; that of a backup is read when its session is opened.
    """
    offered = {
        "ntrip": _ntrip(config, credentials),
        "mqtt": _mqtt(config, credentials),
    }
    usable = [found for name in config.corrections.prefer if (found := offered[name])]
    spare = backups(config)
    if not usable and not spare:
        asked = ", ".join(config.corrections.prefer)
        there = ", ".join(name for name, found in offered.items() if found) or "nothing"
        raise NoTransport(f"wanted {asked}; the credentials have {there}")
    return [*usable, *spare]


def backups(config: Config) -> list[SourceEndpoint]:
    """The endpoint of each ``[[backup]]``."""
    return [_backup(each) for each in config.backup]


def _backup(own: BackupOptions) -> NtripEndpoint:
    password = Secret("")
    with suppress(ConfigFileUnusable):  # a backup that is broken must not keep the rest back
        password = backup_password(own.password_file)
    mountpoint, assistance = _mountpoints(own.mountpoint, once=False)
    return NtripEndpoint(
        host=own.host,
        port=ntrip_port(own.port, None, own.tls),
        mountpoint=mountpoint,
        assistance=assistance,
        username=own.username,
        password=password,
        password_file=own.password_file,
        tls=own.tls,
        version=own.version,
        ca_file=own.ca_file,
        own_account=True,
        name=own.name,
        backup=True,
        format=own.format,
    )


def backup_password(path: str) -> Secret:
    """The password in the file at ``path``. Raises :class:`ConfigFileUnusable`."""
    return _password(path, "[[backup]] password_file")


def _mqtt(config: Config, credentials: Credentials | None) -> MqttEndpoint | None:
    own = config.mqtt
    if own.host and own.topics:
        port = 8883 if own.tls else 1883
        endpoint = MqttEndpoint(host=own.host, port=port, tls=own.tls, own_account=True)
    elif credentials and credentials.mqtt:
        access = credentials.mqtt
        endpoint = MqttEndpoint(
            host=own.host or access.host,
            port=access.port,
            client_id=access.client_id,
            topics=access.topics,
            topics_offered=True,
            region=own.region,
            certificate=access.certificate,
            private_key=access.private_key,
            authority=access.authority,
            public_only=not own.host and _must_be_public(config),
        )
    else:
        return None
    if own.cert_file and own.key_file:
        endpoint = endpoint._replace(
            certificate=_read(own.cert_file, "[mqtt] cert_file"),
            private_key=Secret(_read(own.key_file, "[mqtt] key_file")),
            own_account=True,
        )
    if own.topics:
        wanted = tuple(Topic(path) for path in own.topics)
        endpoint = endpoint._replace(topics=wanted, topics_offered=False)
    return endpoint._replace(
        port=own.port or endpoint.port,
        client_id=own.client_id or endpoint.client_id,
        username=own.username,
        password=_password(own.password_file, "[mqtt] password_file"),
        ca_file=own.ca_file,
        keepalive_s=own.keepalive_s,
    )


def _ntrip(config: Config, credentials: Credentials | None) -> NtripEndpoint | None:
    own = config.ntrip
    access = credentials.ntrip if credentials else None
    host = own.host or (access.host if access else "")
    mountpoint = own.mountpoint or (access.mountpoint if access else "")
    if not host or not mountpoint:
        return None
    once = config.corrections.assistance == "once"
    mountpoint, assistance = _mountpoints(mountpoint, once=once)
    username, password = own.username, _password(own.password_file, "[ntrip] password_file")
    of_answer = not username and access is not None and host == access.host
    if of_answer and access:
        username, password = access.username, access.password
    return NtripEndpoint(
        host=host,
        port=ntrip_port(own.port, access, own.tls),
        mountpoint=mountpoint,
        assistance=assistance,
        username=username,
        password=password,
        tls=own.tls,
        version=own.version,
        gga_interval_s=own.gga_interval_s,
        ca_file=own.ca_file,
        own_account=not of_answer,
        public_only=not own.host and _must_be_public(config),
    )


def _mountpoints(name: str, *, once: bool) -> tuple[str, str]:
    """The mountpoint without assistance, and the one with it; "" where none is wanted."""
    plain = name.removesuffix(_ASSISTED)
    return plain, f"{plain}{_ASSISTED}" if once or plain != name else ""


def ntrip_port(configured: int | None, access: NtripAccess | None, tls: bool) -> int:
    """The port to dial: the configured one, else that of the provisioning answer.

    No answer seen so far names a TLS port, yet PointPerfect's caster has one next to the
    plain 2101 that answers name; so 2101, or none, becomes 2102 with TLS.
    """
    if configured:
        return configured
    http_port = access.http_port if access else None
    if not tls:
        return http_port or _PLAIN_PORT
    if access and access.https_port:
        return access.https_port
    return _TLS_PORT if http_port in (None, _PLAIN_PORT) else http_port


def _must_be_public(config: Config) -> bool:
    service_host = urlsplit(config.ztp.url).hostname or ""
    return must_be_public(allowed_hosts=config.ztp.allowed_hosts, service_host=service_host)


def _password(path: str, key: str) -> Secret:
    return Secret(_read(path, key).strip("\r\n")) if path else Secret("")


def _read(path: str, key: str) -> str:
    try:
        data = read_regular(Path(path), follow=True)
    except PermissionError as error:
        raise ConfigFileUnusable(
            f"{key} = {path} may not be read by this user: `chown ztpd` and `chmod 600` it"
        ) from error
    except OSError as error:
        raise ConfigFileUnusable(f"{key} = {path}: {error.strerror}") from error
    try:
        return decoded(data)
    except ValueError as error:
        raise ConfigFileUnusable(f"{key} = {path} {error}") from error
