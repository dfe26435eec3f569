"""The request of a gateway: its token, its name, its hardware id."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ztpd.errors import ConfigError, ZtpTokenMalformed, ZtpTokenMissing
from ztpd.model import Secret

PATHS: Mapping[str, str] = {
    "flex": "/ztp/pointperfect/credentials",
    "live": "/ztp/pointperfect-live/credentials",
}
GIVEN_NAME_LIMIT = 49  # characters; SparkFun's firmware refuses to send more

# The service documents no limits for these.
_TAGS_LIMIT, _TAG_LIMIT, _HARDWARE_ID_LIMIT = 16, 49, 64

_TOKEN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_token(text: str) -> Secret:
    """The token in ``text``, which may have white space around it.

    Raises :class:`ZtpTokenMissing` and :class:`ZtpTokenMalformed`: a token is 36 lower-case
    characters, 8-4-4-4-12 hexadecimal digits.
    """
    token = text.strip()
    if not token:
        raise ZtpTokenMissing
    if not _TOKEN.fullmatch(token):
        upper = ", with capital letters" if _TOKEN.fullmatch(token.lower()) else ""
        raise ZtpTokenMalformed(f"{len(token)} characters{upper}")
    return Secret(token)


def request_body(*, token: Secret, given_name: str, tags: Sequence[str], hardware_id: str) -> bytes:
    """The JSON of one call. Raises :class:`ConfigError` if a text breaks a limit.

    ``hardware_id`` is always sent: only with it does a second call return the same Thing.
    """
    _check_text("[ztp] given_name", given_name, GIVEN_NAME_LIMIT)
    if len(tags) > _TAGS_LIMIT:
        raise ConfigError(f"[ztp] tags: {len(tags)} of them, at most {_TAGS_LIMIT} are sent")
    for tag in tags:
        _check_text("[ztp] tags", tag, _TAG_LIMIT)
    if not hardware_id or not hardware_id.isascii():
        raise ConfigError("[identity] hardware_id: one or more ASCII characters are needed")
    _check_text("[identity] hardware_id", hardware_id, _HARDWARE_ID_LIMIT)
    fields: dict[str, Any] = {"token": token.reveal(), "hardwareId": hardware_id}
    if given_name:
        fields["givenName"] = given_name
    if tags:
        fields["tags"] = list(tags)
    return json.dumps(fields).encode()


def _check_text(key: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise ConfigError(f"{key}: {len(text)} characters, at most {limit} are sent")
    if not text.isprintable():
        raise ConfigError(f"{key}: has a character that cannot be printed")
