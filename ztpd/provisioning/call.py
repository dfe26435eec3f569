"""One call to the provisioning service: from the settings to credentials bound to the gateway."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from ztpd import events, log
from ztpd.config.options import ZtpOptions
from ztpd.errors import StoreError, ZtpBadAnswer, ZtpdError, ZtpKeyMismatch
from ztpd.model import Credentials, Identity, Secret, StoredCredentials, fingerprint
from ztpd.net.tls import load_pair
from ztpd.provisioning.reply import Post, Reply
from ztpd.system.offload import offload
from ztpd.wire import x509, ztp


@dataclass(frozen=True, slots=True)
class Request:
    """The request of one call."""

    url: str
    body: bytes = field(repr=False)  # the token is in it
    token: Secret
    hardware_id: str
    shown_name: str  # the given name, an IMEI in it masked

    @classmethod
    def of(
        cls, settings: ZtpOptions, identity: Identity, token: Secret, *, hostname: str
    ) -> Request:
        """Raises :class:`ConfigError` where a setting cannot be sent."""
        log.redaction.hide([token])
        body = ztp.request_body(
            token=token,
            given_name=_given_name(settings.given_name, hostname, identity.hardware_id),
            tags=settings.tags,
            hardware_id=identity.hardware_id,
        )
        url = settings.url.rstrip("/") + ztp.PATHS[settings.service]
        shown_name = log.quoted(_given_name(settings.given_name, hostname, str(identity)))
        return cls(url, body, token, identity.hardware_id, shown_name)

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


def request_hash(settings: ZtpOptions, token: Secret, hardware_id: str) -> str:
    """Fingerprint of the part of a request that a person can change."""
    names = "url", "service", "given_name", "tags", "allowed_hosts", "ca_file"
    return fingerprint(token, hardware_id, *(getattr(settings, name) for name in names))


async def call(
    request: Request,
    settings: ZtpOptions,
    *,
    board_serial: str,
    now: Callable[[], float],
    post: Post,
) -> StoredCredentials:
    """The credentials that the service answers ``request`` with, bound to this gateway.

    Nothing is stored. Raises a :class:`NetworkError`, a :class:`ZtpError` for an answer that is
    not usable credentials, :class:`ConfigError`, and :class:`ZtpdError` where this machine cannot
    check the key pair in it.
    """
    reply = await post(
        request.url, request.body, timeout_s=settings.timeout_s, ca_file=settings.ca_file
    )
    credentials = _credentials(reply, settings, request)
    log.redaction.hide(credentials.secrets())
    ztp.check_hosts(credentials, allowed_hosts=settings.allowed_hosts, service_host=request.host)
    try:
        return await offload(
            bind_to_gateway, credentials, request.hardware_id, board_serial, int(now())
        )
    except StoreError as error:  # of no local try: the service has answered
        raise ZtpdError(error.detail) from error


def _credentials(reply: Reply, settings: ZtpOptions, request: Request) -> Credentials:
    """The credentials in ``reply``: any status of success will do, 201 for a new Thing. Raises the
    refusal in it, whatever its status: some front ends send every answer with 200."""
    unknown: ZtpBadAnswer | None = None
    if 200 <= reply.status < 300:
        try:
            return ztp.parse_answer(settings.service, reply.body)
        except ZtpBadAnswer as error:
            if ztp.holds_credentials(reply.body):
                raise
            unknown = error
    secrets = [request.token, Secret(request.hardware_id)]
    refusal = ztp.refusal(reply.status, reply.headers, reply.body, secrets=secrets)
    if unknown and isinstance(refusal, ZtpBadAnswer):
        refusal.detail = f"{unknown.detail}; {refusal.detail}"
    raise refusal


def bind_to_gateway(
    credentials: Credentials, hardware_id: str, board_serial: str, now_unix_s: int
) -> StoredCredentials:
    """``credentials`` with the gateway they belong to.

    A client certificate that does not fit its key costs MQTT only where there is NTRIP; else
    raises :class:`ZtpKeyMismatch`. Raises :class:`StoreError` where the pair cannot be checked.
    """
    if credentials.malformed:
        log.emit(events.PART_UNUSABLE, why=credentials.malformed)
    bound = StoredCredentials(credentials, hardware_id, board_serial, now_unix_s)
    if not (mqtt := credentials.mqtt):
        return bound
    try:
        check_pair(mqtt.certificate, mqtt.private_key)
    except ZtpKeyMismatch as error:
        if not credentials.ntrip:
            raise
        log.emit(events.PART_UNUSABLE, why=f"MQTT: {error}")
        return bound._replace(credentials=replace(credentials, mqtt=None), left_out="mqtt")
    return bound._replace(expires_unix_s=x509.not_after(mqtt.certificate))


def check_pair(certificate: str, private_key: Secret) -> None:
    """Raise :class:`ZtpKeyMismatch` unless the PEM texts are a certificate and its key.

    An encrypted key is refused.
    """
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, private_key)
        x509.not_after(certificate)
    except ValueError as error:
        raise ZtpKeyMismatch(str(error)) from error
    except OSError as error:
        raise StoreError(f"the key pair cannot be checked: {error.strerror}") from error


def _given_name(template: str, hostname: str, hardware_id: str) -> str:
    name = template.replace("{hostname}", hostname)
    return name.replace("{imei}", hardware_id)[: ztp.GIVEN_NAME_LIMIT]
