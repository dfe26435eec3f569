"""The meaning of a caster's refusal: its status, its headers and its words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ztpd.errors import (
    AuthenticationUnknown,
    CasterBusy,
    CasterForbidden,
    CasterRedirect,
    ClientCertificateWanted,
    MountpointUnknown,
    SessionCaptivePortal,
    SessionError,
    SessionProtocol,
    SessionRefused,
    TlsMismatch,
    ZtpdError,
)
from ztpd.sanitize import clean

_LATER = (408, 425, 429)
_NETWORK_LOG_IN = (407, 511)  # of a proxy, or of the network itself

_REFUSING = re.compile(
    r"invalid mount ?point|mount ?point (not|taken|invalid)|authentication failed|"
    r"unauthori[sz]ed|(bad|invalid|wrong) (user|password)",
    re.IGNORECASE,
)

# The words of nginx, Go, Apache httpd and Envoy for plain HTTP on a TLS port.
_WANTS_TLS = re.compile(
    r"https port|http request to an https server|ssl-enabled server port|requires tls",
    re.IGNORECASE,
)
_WANTS_CERTIFICATE = re.compile(r"no required ssl certificate|client certificate", re.IGNORECASE)

# One session too many, by the words of casters: for the account, or for the caster.
_SESSION = r"\b(connection|client|user|session|login|rover)s?\b"
_BUSY = re.compile(
    r"\balready (logged|connected|in use|online)|\b(is|currently|account|user) in use\b|"
    rf"\btoo many (\w+ )?{_SESSION}|\bmax(imum|\.)? .{{0,30}}{_SESSION}|"
    rf"{_SESSION}( count)? limit|\blimit of .{{0,30}}{_SESSION}|\bserver (is )?full\b",
    re.IGNORECASE,
)
_ABUSE = re.compile(r"fail|attempt|block", re.IGNORECASE)  # too many of those are a ban
_WANTS_POSITION = re.compile(r"\b(gga|nmea|position|location|coordinates?)\b", re.IGNORECASE)
_USERINFO = re.compile(r"//[^/@\s]*@")


def refusal(
    status: int,
    said: str,
    headers: Mapping[str, str],
    mountpoint: str,
    *,
    is_page: bool = False,
) -> ZtpdError:
    """``said`` is the status line with the words behind it, ``headers`` have lower-case names;
    ``is_page``: the words come as HTML."""
    if _WANTS_TLS.search(said):
        return TlsMismatch("the caster speaks TLS on that port; [ntrip] tls is off")
    if status != 200 and _WANTS_CERTIFICATE.search(said):
        return ClientCertificateWanted(said)
    if is_ban(said):
        return CasterForbidden(said)
    if 400 <= status < 500 and status not in _LATER and _is_busy(said):
        return CasterBusy(said, retry_after_s=_retry_after_s(headers))
    if status == 401 and (scheme := _unknown_scheme(headers)):
        return AuthenticationUnknown(f"{scheme} ({said})")
    if status in (401, 403):  # some casters say the one, some the other
        return SessionRefused(said)
    if status == 404:
        return MountpointUnknown(f"{mountpoint} ({said})")
    if status in _NETWORK_LOG_IN or (status == 200 and is_page):
        return SessionCaptivePortal(said)
    if status in _LATER or 500 <= status < 600:
        return SessionError(said, retry_after_s=_retry_after_s(headers))
    if 300 <= status < 400:
        return CasterRedirect(said + _location(headers))
    if 400 <= status < 500:
        return CasterForbidden(said, retry_after_s=_retry_after_s(headers))
    return SessionProtocol(f"no caster's answer: {said}")


def is_ban(said: str) -> bool:
    """Whether the text reports a ban: some casters do so with status 200."""
    return "banned" in said.lower() or "sandbox" in said.lower()


def _is_busy(said: str) -> bool:
    return bool(_BUSY.search(said)) and not _ABUSE.search(said)


def wants_position(said: str) -> bool:
    """Whether the text of a refusal is about the client's position."""
    return _WANTS_POSITION.search(said) is not None


def refused_in_a_line(said: str, mountpoint: str) -> ZtpdError:
    """The meaning of a first line without a status: NTRIP 1 casters also refuse with a line such as
    "ERROR - Bad Password", and some without the first word."""
    if _is_busy(said):
        return CasterBusy(said)
    if wants_position(said) and not _REFUSING.match(said):
        return CasterForbidden(said)
    if not said.startswith("ERROR") and not _REFUSING.match(said):
        return SessionProtocol(f'the answer begins with "{said}"')
    if "pass" in said.lower() or "auth" in said.lower():
        return SessionRefused(said)
    if "mount" in said.lower():
        return MountpointUnknown(f"{mountpoint} ({said})")
    return CasterForbidden(said)


def _unknown_scheme(headers: Mapping[str, str]) -> str:
    """The authentication that is asked for (RFC 9110 11.6.1), "" where Basic is offered."""
    asked = headers.get("www-authenticate", "")
    if not asked.split() or re.search(r"(^|[\s,])basic($|[\s,])", asked, re.IGNORECASE):
        return ""
    return clean(asked.split()[0].strip(","), 40)


def _location(headers: Mapping[str, str]) -> str:
    target = _USERINFO.sub("//", headers.get("location", ""))
    return f", to {clean(target, 200)}" if target else ""


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
