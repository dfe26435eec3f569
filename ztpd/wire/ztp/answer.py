"""Parses an answer with credentials, from the service, the store or the portal."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from ztpd.errors import ZtpBadAnswer, ZtpCaptivePortal, ZtpNotActive, ZtpTooBig
from ztpd.model import Credentials, DynamicKey, MqttAccess, NtripAccess, Secret, Topic
from ztpd.sanitize import decoded, quoted
from ztpd.wire.hostnames import is_address, is_name

Service = Literal["flex", "live"]

BODY_LIMIT = 262_144  # bytes; the longest answer known has 7 kB
_DEPTH_LIMIT = 16
_TOPICS_LIMIT = 256


def parse_answer(service: Service, body: bytes | Mapping[str, Any]) -> Credentials:
    """The credentials in a 200 answer, in a stored one, or in a download from the portal.

    MQTT and NTRIP are parsed separately: an incomplete or malformed one is left out if the other
    is usable. Raises :class:`ZtpNotActive` for an answer without usable credentials (activation
    has not finished), :class:`ZtpBadAnswer` for anything else than an answer and for malformed
    required fields, :class:`ZtpTooBig`, and :class:`ZtpCaptivePortal` for a web page.
    """
    answer = _json_object(body) if isinstance(body, bytes) else body
    _check_depth(answer)
    fields, portal = (
        _portal_fields(answer) if _is_from_portal(answer) else (answer, _Portal(8883, ""))
    )
    mqtt: MqttAccess | None = None
    ntrip: NtripAccess | None = None
    keys: tuple[DynamicKey, ...] = ()
    malformed: ZtpBadAnswer | None = None
    try:
        keys = tuple(_keys(fields))
        mqtt = _mqtt(fields, portal)
    except ZtpBadAnswer as error:
        malformed, keys = error, ()
    try:
        ntrip = _ntrip(answer)
    except ZtpBadAnswer as error:
        malformed = malformed or error
    if mqtt or ntrip:
        client_id = mqtt.client_id if mqtt else _client_id_if_sound(fields)
        why = malformed.detail if malformed else ""
        return Credentials(service, client_id, mqtt, ntrip, keys, answer, malformed=why)
    if malformed:
        raise malformed
    if any(fields.get(name) is not None for name in _FIELDS):
        raise ZtpNotActive("the answer has neither an MQTT certificate nor an NTRIP account")
    raise ZtpBadAnswer("no field that ztpd knows")


_FIELDS = (
    "clientId",
    "brokerHost",
    "certificate",
    "privateKey",
    "rtcmCredentials",
    "dynamickeys",
    "subscriptions",
    "supportsMqtt",
    "supportsLband",
)


def holds_credentials(body: bytes) -> bool:
    """Whether ``body`` has the name of a field of an answer, sound or not."""
    return any(f'"{name}"'.encode() in body for name in (*_FIELDS, "userName", "MQTT"))


def _json_object(body: bytes) -> Mapping[str, Any]:
    if len(body) > BODY_LIMIT:
        raise ZtpTooBig(f"{len(body)} bytes, {BODY_LIMIT} are taken")
    if is_web_page(body):
        raise ZtpCaptivePortal("a web page in place of JSON")
    try:
        text = decoded(body)
    except ValueError as error:
        raise ZtpBadAnswer(f"{len(body)} bytes; the text {error}") from None
    found = None
    with contextlib.suppress(ValueError, RecursionError):  # not chained: they hold the body
        found = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_finite,
            parse_float=_finite,
        )
    if not isinstance(found, dict):
        raise ZtpBadAnswer(f"{len(body)} bytes that are no sound JSON object")
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # it is undefined which one counts
        raise ValueError("a name occurs twice in one object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number without a finite value")
    return number


def _check_depth(answer: Mapping[str, Any]) -> None:
    level: list[Any] = [answer]
    for _ in range(_DEPTH_LIMIT):
        level = [inner for value in level for inner in _inner(value)]
        if not level:
            return
    raise ZtpBadAnswer(f"nested more than {_DEPTH_LIMIT} deep")


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def is_web_page(body: bytes) -> bool:
    return body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"


def _is_from_portal(answer: Mapping[str, Any]) -> bool:
    return isinstance(answer.get("MQTT"), Mapping) and "Connectivity" in answer["MQTT"]


class _Portal(NamedTuple):
    """Fields of the portal's download that a ZTP answer lacks."""

    port: int
    authority: str  # PEM


def _portal_fields(answer: Mapping[str, Any]) -> tuple[Mapping[str, Any], _Portal]:
    """The portal's u-center configuration under the names of a ZTP answer, and its further fields.

    Shape and the bare base64 of certificate and key: PyGPSClient's example file, and the
    importer of u-blox's own pointperfect_client.py.
    """
    root = answer["MQTT"]
    connectivity = _member(root, "Connectivity")
    pair = _member(connectivity, "ClientCredentials")
    address = re.fullmatch(
        r"(?:ssl|mqtts)://(?P<host>[^/:]+):(?P<port>[0-9]{1,5})/?", _text(connectivity, "ServerURI")
    )
    if not address:
        raise ZtpBadAnswer("ServerURI is not ssl://HOST:PORT")
    fields = {
        "clientId": connectivity.get("ClientID"),
        "brokerHost": address["host"],
        "certificate": pair.get("Cert"),
        "privateKey": pair.get("Key"),
        "dynamickeys": root.get("dynamickeys"),
        "subscriptions": [{"path": path} for path in _portal_topics(root)],
    }
    port = _port(address.groupdict(), "port") or 8883
    return fields, _Portal(port, _pem(pair, "RootCA", "CERTIFICATE"))


def _portal_topics(root: Mapping[str, Any]) -> Iterator[str]:
    for group in _member(root, "Subscriptions").values():
        for topics in _inner(group):
            for joined in topics if isinstance(topics, list) else ():
                if not isinstance(joined, str):
                    raise ZtpBadAnswer("Subscriptions holds a topic that is not a text")
                yield from joined.split(";")


def _member(parent: Any, name: str) -> Mapping[str, Any]:
    """The object ``name`` of ``parent``; an empty one if it is absent or null."""
    found = parent.get(name) if isinstance(parent, Mapping) else None
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ZtpBadAnswer(f"{name} is not an object")
    return found


def _text(parent: Mapping[str, Any], name: str) -> str:
    """The text ``name`` of ``parent``; "" if it is absent or null."""
    found = parent.get(name)
    if found is None:
        return ""
    if not isinstance(found, str) or "\x00" in found:
        raise ZtpBadAnswer(f"{name} is not a text")
    return found


def _number(parent: Mapping[str, Any], name: str) -> int | None:
    """The whole number ``name`` of ``parent``, which may be written as a text."""
    found = parent.get(name)
    if found is None or found == "":
        return None
    if isinstance(found, str) and re.fullmatch(r"[0-9]{1,16}", found):
        return int(found)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    if isinstance(found, float) and found.is_integer():
        return int(found)
    raise ZtpBadAnswer(f"{name} is not a whole number")


def _port(parent: Mapping[str, Any], name: str) -> int | None:
    found = _number(parent, name)
    if found is not None and not 0 < found < 65_536:
        raise ZtpBadAnswer(f"{name} is not a port")
    return found


def _mqtt(fields: Mapping[str, Any], portal: _Portal) -> MqttAccess | None:
    """None if a part of it is absent."""
    client_id, host = _client_id(fields), _host(fields, "brokerHost")
    certificate = _pem(fields, "certificate", "CERTIFICATE")
    private_key = _pem(fields, "privateKey", "RSA PRIVATE KEY")
    topics = tuple(_topics(fields))
    if not (client_id and host and certificate and private_key):
        return None
    return MqttAccess(host, client_id, certificate, Secret(private_key), topics, *portal)


def _client_id(fields: Mapping[str, Any]) -> str:
    client_id = _text(fields, "clientId")
    if not re.fullmatch(r"[\x21-\x7e]{0,128}", client_id):
        raise ZtpBadAnswer("clientId has a character that no client id has, or is too long")
    return client_id


def _client_id_if_sound(fields: Mapping[str, Any]) -> str:
    try:
        return _client_id(fields)
    except ZtpBadAnswer:
        return ""


def _pem(fields: Mapping[str, Any], name: str, label: str) -> str:
    """A PEM text. Bare base64, as the portal gives it, gets the lines of ``label`` around it.

    A PEM text may have a longer label of the same kind ("EC PRIVATE KEY").
    """
    text = _text(fields, name).strip()
    if text and re.fullmatch(r"[A-Za-z0-9+/= \t\r\n]+", text):
        bare = "".join(text.split())
        lines = [bare[start : start + 64] for start in range(0, len(bare), 64)]
        text = "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"))
    first = text.partition("\n")[0].rstrip()
    kind = label.removeprefix("RSA ")
    if text and not (text.isascii() and re.fullmatch(f"-----BEGIN [A-Z ]*{kind}-----", first)):
        raise ZtpBadAnswer(f"{name} is not PEM")
    return text and f"{text}\n"


def _topics(fields: Mapping[str, Any]) -> Iterator[Topic]:
    offered = fields.get("subscriptions")
    if offered is None:
        return
    if not isinstance(offered, list) or len(offered) > _TOPICS_LIMIT:
        raise ZtpBadAnswer(f"subscriptions is not a list of at most {_TOPICS_LIMIT}")
    for entry in offered:
        if not isinstance(entry, Mapping):
            raise ZtpBadAnswer("subscriptions has an item that is not an object")
        path = _text(entry, "path")
        if not re.fullmatch(r"[\x21-\x7e]{1,256}", path):
            raise ZtpBadAnswer("subscriptions holds a path that is no topic")
        yield Topic(path, quoted(_text(entry, "description")))


_KEY_EARLIEST_MS = 1_262_304_000_000  # 2010, when SPARTN time begins
_KEY_LATEST_MS = 7_258_118_400_000  # 2200
_KEY_LONGEST_MS = 366 * 86_400_000


def _keys(fields: Mapping[str, Any]) -> Iterator[DynamicKey]:
    """Current and next key, if the answer has them; impossible ones are refused."""
    held = _member(fields, "dynamickeys" if "dynamickeys" in fields else "dynamicKeys")
    for name in ("current", "next"):
        key = _member(held, name)
        value = _text(key, "value").lower()
        start_ms, duration_ms = _number(key, "start"), _number(key, "duration")
        if not value and start_ms is None:
            continue
        if not re.fullmatch(r"[0-9a-f]{32}", value):
            raise ZtpBadAnswer(f"dynamickeys.{name}.value is not 32 hexadecimal digits")
        if start_ms is None or not _KEY_EARLIEST_MS <= start_ms <= _KEY_LATEST_MS:
            raise ZtpBadAnswer(f"dynamickeys.{name}.start is not a date in milliseconds")
        if duration_ms is None or not 0 < duration_ms <= _KEY_LONGEST_MS:
            raise ZtpBadAnswer(f"dynamickeys.{name}.duration is not a time of up to a year")
        yield DynamicKey(Secret(value), start_ms, duration_ms)


def _ntrip(answer: Mapping[str, Any]) -> NtripAccess | None:
    """The account in ``rtcmCredentials``, else in any object that holds one.

    No public client shows which object holds an account for SPARTN or for Live.
    """
    preferred = answer.get("rtcmCredentials")
    malformed: ZtpBadAnswer | None = None
    for candidate in (preferred, *_objects(answer)):
        if not isinstance(candidate, Mapping):
            continue
        try:
            if found := _account(candidate):
                return found
        except ZtpBadAnswer as error:
            malformed = malformed or error
    if malformed:
        raise malformed
    return None


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object below ``value``, the shallow ones first."""
    level = [value]
    while level:
        level = [inner for each in level for inner in _inner(each)]
        yield from (each for each in level if isinstance(each, Mapping))


def _account(held: Mapping[str, Any]) -> NtripAccess | None:
    if not all(held.get(name) for name in ("endpoint", "userName", "password")):
        return None
    username, password = _text(held, "userName"), _text(held, "password")
    if not username.isprintable() or ":" in username:  # RFC 7617 section 2
        raise ZtpBadAnswer("userName has a character that no user name has")
    if not password.isprintable():
        raise ZtpBadAnswer("password has a character that no password has")
    mountpoint = _text(held, "mountPoint").lstrip("/")
    if not re.fullmatch(r"[\x21-\x7e]{0,100}", mountpoint):
        raise ZtpBadAnswer("mountPoint is no mountpoint")
    return NtripAccess(
        host=_host(held, "endpoint"),
        username=username,
        password=Secret(password),
        mountpoint=mountpoint,
        http_port=_port(held, "httpPort"),
        https_port=_port(held, "httpsPort"),
    )


def _host(parent: Mapping[str, Any], name: str) -> str:
    host = _text(parent, name).lower().removesuffix(".")
    if host and not is_name(host) and not is_address(host):
        raise ZtpBadAnswer(f"{name} is not a host name")
    return host
