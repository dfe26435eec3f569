"""Host names and addresses, classified by their form, without a look-up."""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
# getaddrinfo takes 127.1, 0x7f.1 and 2130706433 for addresses: no name ends in a number.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


def is_name(host: str) -> bool:
    """Whether ``host`` (lower case) can be a DNS name. Addresses are not."""
    return bool(_NAME.fullmatch(host)) and not _ENDS_IN_NUMBER.fullmatch(host)


def is_address(host: str) -> bool:
    """Whether ``host`` is an IPv4 or IPv6 address in the usual notation."""
    return address(host) is not None


def address(host: str) -> Address | None:
    """The address in ``host``. An IPv4 address in IPv6 form (RFC 4291 section 2.5.5.2) is
    that IPv4 address: Python releases differ in how they class the form."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its very name or address."""
    found = address(host)
    return found.is_loopback if found else host == "localhost"


def loopback_endpoint(text: str) -> tuple[str, int]:
    """Address and port of "127.0.0.1:10110" or "[::1]:10110".

    Raises ValueError, also for a name and for an address of another machine.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    found = address(host[1:-1] if bracketed else host)
    if found is None or not found.is_loopback or bracketed != (":" in host):
        raise ValueError(f"{text} is no address of this machine with a port")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{port} is no port")
    return str(found), int(port)
