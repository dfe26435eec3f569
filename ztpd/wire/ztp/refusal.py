"""Classifies an answer without credentials."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ztpd.errors import (
    ZtpAlreadyRegistered,
    ZtpBadAnswer,
    ZtpCaptivePortal,
    ZtpdError,
    ZtpHardwareCode,
    ZtpNoPlan,
    ZtpNotActive,
    ZtpNotFound,
    ZtpNotListed,
    ZtpRedirect,
    ZtpRefused,
    ZtpServerError,
    ZtpThrottled,
    ZtpTokenRefused,
)
from ztpd.model import Secret
from ztpd.sanitize import quoted
from ztpd.wire.ztp.answer import BODY_LIMIT, is_web_page

RETRY_AFTER_LIMIT_S = 86_400.0
_DEPTH_LIMIT = 4
_PAGE_LIMIT = 4096


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Iterable[Secret] = (),
    now: Callable[[], float] = time.time,
) -> ZtpdError:
    """The error for an answer without credentials: by its status, then by its text.

    The refusals known by their text have status 403 or 422; a front end may send them with 200. The
    detail holds the text without ``secrets`` (a service may quote the token), credentials (an
    answer may come with a status of failure) and control characters.
    """
    text = "" if b"\0" in body else body[:BODY_LIMIT].decode(errors="replace")  # "": UTF-16, noise
    text = _CONFIDENTIAL.sub(r'\1"***"', text)
    web_page = is_web_page(body)
    kind = _kind(status, text.lower(), is_web_page=web_page)
    if 300 <= status < 400:
        text = f"to {headers['location']}" if "location" in headers else ""
    elif web_page:
        text = " ".join(_TAG.sub(" ", text[:_PAGE_LIMIT]).split())
    said = quoted(_scrubbed(_message(text), secrets))
    detail = f"status {status}: {said}" if said else f"status {status}"
    advice = _OF_A_WEB_PAGE if kind is ZtpRefused and web_page else ""
    retry_after_s = _retry_after_s(headers, now)
    return kind(detail, advice=advice, retry_after_s=retry_after_s)


def _kind(status: int, text: str, *, is_web_page: bool) -> type[ZtpdError]:
    match status:
        case 407 | 511:  # a proxy, or the network itself, asks for a log-in
            return ZtpCaptivePortal
        case 401:
            return ZtpTokenRefused
        case 404:
            return ZtpNotFound
        case 429:
            return ZtpThrottled
        case 408 | 425:
            return ZtpServerError
        case _ if 200 <= status < 300:
            otherwise = ZtpNotActive if status == 202 else ZtpBadAnswer  # 202: accepted, not done
            return ZtpCaptivePortal if is_web_page else _by_words(text, otherwise)
        case _ if 300 <= status < 400:
            return ZtpRedirect
        case _ if 400 <= status < 500:
            return _by_words(text, ZtpAlreadyRegistered if status == 409 else ZtpRefused)
        case _ if 500 <= status < 600:
            return ZtpServerError
    return ZtpBadAnswer


def _by_words(text: str, otherwise: type[ZtpdError]) -> type[ZtpdError]:
    return next((kind for words, kind in _WORDS if re.search(words, text)), otherwise)


_CONFIDENTIAL = re.compile(
    r'("[^"]{0,64}(?:pass|key|secret|cert|value)[^"]{0,64}"\s*:\s*\\{0,7})"(?:[^"\\]|\\.)*"?',
    re.IGNORECASE | re.DOTALL,
)
"""A field of JSON whose text may be a secret, also in a text that is cut, or JSON within JSON."""

_TAG = re.compile("<[^<>]*>")
_OF_A_WEB_PAGE = (
    "A web page: perhaps a firewall or proxy refuses in place of the service; try another uplink. "
    "Else check the device profile in the portal: status Enabled, plan, token, allowlist."
)

_WRONG = r"\b(invalid|malformed|format|unknown|expired|revoked|disabled|missing|required|not)\b"

# Public clients search for "whitelist", "already registered" and "no plan"; a device has logged
# "token invalid token format". "Missing Authentication Token" is not about ours: AWS API Gateway
# answers so at a path that it does not know. The others are likely wordings.
_WORDS: tuple[tuple[str, type[ZtpdError]], ...] = (
    ("missing authentication token", ZtpNotFound),
    (r"too many requests|rate (limit )?exceeded|throttl", ZtpThrottled),
    ("whitelist", ZtpNotListed),
    ("already (registered|exists|in use)", ZtpAlreadyRegistered),
    ("no plan", ZtpNoPlan),
    ("allowlist", ZtpNotListed),
    ("allow[- ]list", ZtpNotListed),
    ("hardwareid", ZtpHardwareCode),
    ("hardware[- ]?(code|id)", ZtpHardwareCode),
    (rf"\btoken\b.{{0,40}}{_WRONG}|{_WRONG}.{{0,40}}\btoken\b", ZtpTokenRefused),
)


_ENVELOPE = ("message", "errors", "error", "detail", "details", "title", "description")


def _message(text: str) -> str:
    """The sentences in a JSON envelope; else the whole text."""
    sentences: list[str] = []
    with contextlib.suppress(ValueError, RecursionError):
        sentences = list(dict.fromkeys(_sentences(json.loads(text), 0)))
    return "; ".join(sentences) or text


def _sentences(found: Any, depth: int) -> Iterator[str]:
    """The texts under the usual names of an error's text, nested or not. A text under the name of
    a field of the request gets that name in front."""
    if depth > _DEPTH_LIMIT:
        return
    if isinstance(found, str) and depth:
        if found.strip():
            yield found  # whole: a secret in it is looked for as it is
    elif isinstance(found, list):
        for each in found:
            yield from _sentences(each, depth + 1)
    elif isinstance(found, dict):
        known = {str(name).lower(): value for name, value in found.items()}
        if named := [known[name] for name in _ENVELOPE if name in known]:
            for each in named:
                yield from _sentences(each, depth + 1)
        elif depth:
            for field, value in found.items():
                yield from (f"{field} {words}" for words in _sentences(value, depth + 1))


def _scrubbed(text: str, secrets: Iterable[Secret]) -> str:
    forms = {form for secret in secrets for form in _forms(secret.reveal()) if len(form) >= 4}
    for form in sorted(
        forms, key=len, reverse=True
    ):  # the longest first, since it may contain a shorter one
        text = re.sub(re.escape(form), "***", text, flags=re.IGNORECASE)
    return text


def _forms(text: str) -> tuple[str, str]:
    return text, json.dumps(text)[1:-1]


def _retry_after_s(headers: Mapping[str, str], now: Callable[[], float]) -> float | None:
    """RFC 9110 section 10.2.3: whole seconds, or a date, by the clock of the service if it shows
    that: this gateway's may be hours late. None for anything else."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        wait_s = float(text[:12])
    else:
        until_s, sent_s = _unix_s(text), _unix_s(headers.get("date", ""))
        if until_s is None:
            return None
        wait_s = until_s - (now() if sent_s is None else sent_s)
    return min(max(wait_s, 0.0), RETRY_AFTER_LIMIT_S)


def _unix_s(date: str) -> float | None:
    from email.utils import parsedate_to_datetime  # slow to load, and seldom needed

    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
