"""Checks the hosts that an answer names."""

from __future__ import annotations

from collections.abc import Sequence

from ztpd.errors import ZtpHostNotAllowed
from ztpd.model import Credentials
from ztpd.sanitize import quoted
from ztpd.wire.hostnames import address, is_name

# Names that mean this machine or this network: RFC 6761, 6762, 8375, and ICANN for "internal".
_LOCAL_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa")


def check_hosts(
    credentials: Credentials, *, allowed_hosts: Sequence[str], service_host: str
) -> None:
    """Refuse credentials whose hosts are not public services.

    With ``allowed_hosts`` a host has to be in it (".example.com" allows everything below that
    domain). Without, it has to be a public DNS name, unless the service itself is at a private
    or loopback address or name. Raises :class:`ZtpHostNotAllowed`.
    """
    for access in (credentials.mqtt, credentials.ntrip):
        if access is None:
            continue
        host = access.host
        if allowed_hosts:
            allowed = any(_listed(host, entry.lower()) for entry in allowed_hosts)
        elif _is_private(host):
            allowed = _is_private(service_host.lower())
        else:
            allowed = is_name(host)
        if not allowed:
            raise ZtpHostNotAllowed(quoted(host))


def _listed(host: str, entry: str) -> bool:
    return host == entry or (entry.startswith(".") and host.endswith(entry))


def _is_private(host: str) -> bool:
    if found := address(host):
        return not found.is_global
    return is_name(host) and ("." not in host or host.endswith(_LOCAL_DOMAINS))
