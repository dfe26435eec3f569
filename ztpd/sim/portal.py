"""The state and answers of the provisioning service: device profile, Things, refusals. No I/O."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ztpd.model import Secret
from ztpd.sim.authority import Authority
from ztpd.wire import ztp

TOKEN = Secret("0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1")

_KEY_PERIOD_MS = 28 * 86_400_000
_KEY_ANCHOR_MS = 1_676_159_982_000  # a start seen in the field: GPS week 2249, second 0
_KEY_DURATIONS_MS = (2_419_199_999, 3_023_999_999)
_REGIONS = {"EU": "eu", "US": "us", "KR": "kr", "AU": "au", "Japan": "jp"}


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of a device profile that change the outcome of a call."""

    token: Secret = TOKEN
    service: Literal["flex", "live"] = "flex"
    format: Literal["spartn", "rtcm"] = "rtcm"
    protocol: Literal["mqtt", "ntrip", "both"] = "ntrip"
    auto_activate: bool = True
    allowlist: frozenset[str] | None = None
    existing: Literal["return", "error"] = "return"  # action on an existing hardware code
    hardware_code_mandatory: bool = False
    plan: bool = True
    topics: tuple[str, ...] = ()  # paths that it offers by MQTT; () for those of every region
    enabled: bool = True


@dataclass(slots=True)
class Thing:
    """The Thing of one hardware code."""

    client_id: str
    active: bool
    credentials: dict[str, Any] = field(repr=False)


class Portal:
    """One device profile and the Things made by it. ``profile`` may be changed at any time.

    Refusals have the known texts of the real service, else likely ones.
    """

    def __init__(
        self,
        profile: Profile,
        authority: Authority | None,
        *,
        broker_host: str,
        caster_host: str,
        caster_ports: tuple[int, int],
        now: Callable[[], float] = time.time,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``authority`` signs the client certificates, which MQTT needs; ``caster_ports``: without
        and with TLS."""
        self.profile = profile
        self.things: dict[str, Thing] = {}  # by hardware code; by client id where there is none
        self.username = "gateway"
        self.password = Secret(secrets.token_urlsafe(12))
        self._authority = authority
        self._broker_host, self._caster_host = broker_host, caster_host
        self._caster_ports = caster_ports
        self._say = say
        self.keys = _keys(now())  # the same for every Thing

    def activate(self, hardware_id: str) -> None:
        """Activate a Thing by hand, for a profile without Auto Activate."""
        self.things[hardware_id].active = True

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """Status and JSON body for one request."""
        refused = self._refusal(method, path, headers, body)
        hardware_id = str(asked_for(body).get("hardwareId", ""))
        if refused:
            status, text = refused
            self._say(f"refused {masked(hardware_id)}: {status} {text}")
            return status, json.dumps({"message": text}).encode()
        thing = self.things.get(hardware_id) if hardware_id else None
        if thing:
            self._say(f"gave {masked(hardware_id)} the Thing it has had before")
        else:
            thing = self._create()
            self.things[hardware_id or thing.client_id] = thing
            self._say(f"created Thing {len(self.things)} for {masked(hardware_id)}")
        answer = {"clientId": thing.client_id, "supportsMqtt": self._offers("mqtt")}
        if thing.active:
            answer |= thing.credentials
        return 200, json.dumps(answer).encode()

    def _refusal(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str] | None:
        profile, asked = self.profile, asked_for(body)
        hardware_id = asked.get("hardwareId")
        if method != "POST":
            return 405, "Method Not Allowed"
        if "content-length" not in headers:
            return 411, "Length Required"
        if path != ztp.PATHS[profile.service]:
            return 404, "Not Found"
        if not isinstance(asked.get("token"), str):
            return 400, "Bad Request"
        if asked["token"] != profile.token.reveal():
            return 401, "Unauthorized"
        if not profile.enabled:
            return 403, "Forbidden"
        if not hardware_id and profile.hardware_code_mandatory:
            return 400, "hardwareId required"
        if profile.allowlist is not None and hardware_id not in profile.allowlist:
            return 403, "Device hardware code not whitelisted"
        if hardware_id in self.things and profile.existing == "error":
            return 403, "Device already registered"
        if hardware_id in self.things and not profile.plan:
            return 403, f"No plan for device device:{self.things[hardware_id].client_id}"
        return None

    def _offers(self, protocol: str) -> bool:
        return self.profile.protocol in (protocol, "both")

    def _create(self) -> Thing:
        client_id = f"00000000-0000-4000-8000-{len(self.things) + 1:012d}"
        credentials: dict[str, Any] = {}
        if self._offers("mqtt"):
            if self._authority is None:
                raise ValueError("a profile with MQTT needs an authority")
            pair = self._authority.client(client_id)
            credentials |= {
                "brokerHost": self._broker_host,
                "certificate": pair.certificate,
                "privateKey": pair.private_key.reveal(),
                "dynamickeys": self.keys,
                "subscriptions": [
                    {"description": "topic", "path": path} for path in self.profile.topics
                ]
                or list(_topics()),
            }
        if self._offers("ntrip"):
            http_port, https_port = self._caster_ports
            credentials["rtcmCredentials"] = {
                "endpoint": self._caster_host,
                "httpPort": str(http_port),
                "httpsPort": str(https_port),
                "userName": self.username,
                "password": self.password.reveal(),
                "mountPoint": f"NEAR-{self.profile.format.upper()}",
            }
        return Thing(client_id, self.profile.auto_activate, credentials)


def _keys(now_unix_s: float) -> dict[str, Any]:
    periods = (int(now_unix_s * 1000) - _KEY_ANCHOR_MS) // _KEY_PERIOD_MS
    return {
        name: {
            "start": _KEY_ANCHOR_MS + (periods + later) * _KEY_PERIOD_MS,
            "duration": _KEY_DURATIONS_MS[later],
            "value": secrets.token_hex(16),
        }
        for later, name in enumerate(("current", "next"))
    }


def _topics() -> Iterator[dict[str, str]]:
    yield {"description": "IP key distribution topic", "path": "/pp/ubx/0236/ip"}
    yield {"description": "AssistNow topic", "path": "/pp/ubx/mga"}
    kinds = {
        "": "correction",
        "/gad": "geographic area definition",
        "/hpac": "high-precision atmosphere correction",
        "/ocb": "GNSS orbit, clocks and bias",
        "/clk": "GNSS clock",
    }
    for region, code in _REGIONS.items():
        for part, kind in kinds.items():
            description = f"IP {kind} topic for {region} region"
            yield {"description": description, "path": f"/pp/ip/{code}{part}"}


def asked_for(body: bytes) -> dict[str, Any]:
    """The fields of a request; none if it is not a JSON object."""
    with suppress(ValueError):
        asked = json.loads(body)
        if isinstance(asked, dict):
            return asked
    return {}


def masked(hardware_id: str) -> str:
    """A hardware code, masked for display."""
    if len(hardware_id) == 15:
        return f"{hardware_id[:8]}*****{hardware_id[-2:]}"
    return hardware_id or "a gateway without hardware code"
