"""Which hosts an answer may send this gateway to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from ztpd.errors import ZtpHostNotAllowed
from ztpd.model import Credentials
from ztpd.sanitize import quoted

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
# getaddrinfo takes 127.1, 0x7f.1 and 2130706433 for addresses: no name ends in a number.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")

# Names that mean this machine or this network: RFC 6761, 6762, 8375, and ICANN for "internal".
_LOCAL_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa")


def is_name(host: str) -> bool:
    """Whether ``host`` (lower case) can be a DNS name. An address is none."""
    return bool(_NAME.fullmatch(host)) and not _ENDS_IN_NUMBER.fullmatch(host)


def is_address(host: str) -> bool:
    """Whether ``host`` is an IPv4 or IPv6 address in the usual notation."""
    return _address(host) is not None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_hosts(
    credentials: Credentials, *, allowed_hosts: Sequence[str], service_host: str
) -> None:
    """Refuse credentials that point where no public service is.

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
    if address := _address(host):
        return not address.is_global
    return is_name(host) and ("." not in host or host.endswith(_LOCAL_DOMAINS))
