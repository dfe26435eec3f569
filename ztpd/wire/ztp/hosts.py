"""Checks the hosts that an answer names."""

from __future__ import annotations

from collections.abc import Sequence

from ztpd.errors import ZtpHostNotAllowed
from ztpd.model import Credentials
from ztpd.sanitize import quoted
from ztpd.wire.hostnames import address, is_name

# Names of this machine or this network: RFC 6761, 6762 (also its appendix G) and 8375.
_LOCAL_DOMAINS = tuple(
    f".{each}"
    for each in (
        "corp",
        "home",
        "home.arpa",
        "internal",
        "intranet",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "private",
    )
)


def check_hosts(
    credentials: Credentials, *, allowed_hosts: Sequence[str], service_host: str
) -> None:
    """Refuse credentials whose hosts are not public services.

    With ``allowed_hosts`` a host has to be in it (".example.com" allows everything below that
    domain). Without, it has to be a public DNS name, unless the service itself is at a private
    or loopback address or name; where its addresses are not public is known only when it is
    dialled, see :func:`must_be_public`. Raises :class:`ZtpHostNotAllowed`.
    """
    for access in (credentials.mqtt, credentials.ntrip):
        if access is None:
            continue
        host = access.host
        if allowed_hosts:
            allowed = any(_listed(host, entry.lower()) for entry in allowed_hosts)
        elif is_private(host):
            allowed = is_private(service_host.lower())
        else:
            allowed = is_name(host)
        if not allowed:
            raise ZtpHostNotAllowed(quoted(host))


def must_be_public(*, allowed_hosts: Sequence[str], service_host: str) -> bool:
    """Whether a host of an answer may not resolve to this machine."""
    return not allowed_hosts and not is_private(service_host.lower())


def _listed(host: str, entry: str) -> bool:
    """A domain allows names: an IPv6 zone may be any text, ".example.com" too."""
    return host == entry or (entry.startswith(".") and is_name(host) and host.endswith(entry))


def is_private(host: str) -> bool:
    """Whether ``host``, a name or an address in lower case, is this machine or in this network."""
    if found := address(host):
        return not found.is_global
    return is_name(host) and ("." not in host or host.endswith(_LOCAL_DOMAINS))
