"""One generation of the credentials as the content of a file, in clear text or sealed.

Both forms are JSON. In clear text it holds the answer of the service, with a checksum; sealed, that
whole text encrypted by systemd, with a checksum of the encrypted one, which distinguishes damage
from the key of another machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from ztpd.errors import StoreCorrupt, StoreVersion, ZtpError
from ztpd.model import StoredCredentials
from ztpd.system.sealing import Sealer
from ztpd.wire import ztp

PLAIN, SEALED = 1, 2
"""Formats: an older ztpd, which knows the first only, names the version of the second."""

SIZE_LIMIT = 8 * ztp.BODY_LIMIT  # JSON may take six bytes for one, and is indented


def encode(stored: StoredCredentials, *, dated: bool = True) -> bytes:
    """``stored`` in clear text. ``dated``: with the time at which it was stored."""
    payload = {
        "service": stored.credentials.service,
        "hardware_id": stored.hardware_id,
        "board": stored.board,
        "stored_unix_s": stored.stored_unix_s if dated else 0,
        "expires_unix_s": stored.expires_unix_s,
        "answer": stored.credentials.answer,
    }
    if stored.left_out:
        payload["left_out"] = stored.left_out
    return _file(PLAIN, "stored", payload)


def seal(stored: StoredCredentials, sealer: Sealer) -> bytes:
    """``stored``, sealed. Raises :class:`SealingFailed`."""
    return _file(SEALED, "sealed", sealer.seal(encode(stored)))


def decode(content: bytes, sealer: Sealer) -> StoredCredentials:
    """The generation in ``content``; may take as long as ``sealer`` takes.

    Raises :class:`StoreCorrupt`, :class:`StoreVersion`, :class:`StoreUnsealable` and
    :class:`SealingFailed`. The answer is parsed at each load, so that a better parser finds more
    in it.
    """
    version, payload = _checked(content)
    if version == SEALED:
        version, payload = _checked(sealer.unseal(payload))
        if version != PLAIN:
            raise StoreCorrupt("sealed is no generation")
    try:
        credentials = ztp.parse_answer(payload["service"], payload["answer"])
        left_out: Literal["", "mqtt"] = "mqtt" if payload.get("left_out") == "mqtt" else ""
        return StoredCredentials(
            credentials=replace(credentials, mqtt=None) if left_out else credentials,
            hardware_id=payload["hardware_id"],
            board=payload["board"],
            stored_unix_s=payload["stored_unix_s"],
            expires_unix_s=payload["expires_unix_s"],
            left_out=left_out,
        )
    except KeyError as error:
        raise StoreCorrupt(f"{error} is missing") from error
    except ZtpError as error:
        raise StoreCorrupt(f"the answer in it cannot be used: {error.detail}") from error


def is_sealed(content: bytes) -> bool:
    """Whether ``content`` is a sealed generation without damage, of whatever machine."""
    with contextlib.suppress(StoreCorrupt, StoreVersion):
        return _checked(content)[0] == SEALED
    return False


def _file(version: int, name: str, payload: object) -> bytes:
    whole = {"format": version, "sha256": _digest(version, payload), name: payload}
    return json.dumps(whole, indent=1, allow_nan=False).encode() + b"\n"


def _digest(version: int, payload: object) -> str:
    canonical = json.dumps([version, payload], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _checked(content: bytes) -> tuple[int, Any]:
    """Format and payload, an object or, sealed, a text. Raises :class:`StoreCorrupt` and
    :class:`StoreVersion`."""
    whole: Any = None
    if len(content) <= SIZE_LIMIT:
        with contextlib.suppress(ValueError, RecursionError):  # not chained: they hold the content
            whole = json.loads(content)
    version = whole.get("format") if isinstance(whole, dict) else None
    if not isinstance(version, int):
        raise StoreCorrupt("empty" if not content else f"{len(content)} bytes without sense")
    sound = _sound(whole)
    if version > SEALED and sound is None:  # sound in a format of ours: the version is damaged
        raise StoreVersion(f"format {version}, this ztpd knows up to {SEALED}")
    if sound is None or version != sound[0]:
        raise StoreCorrupt("the checksum is wrong")
    return sound


def _sound(whole: Mapping[str, Any]) -> tuple[int, Any] | None:
    """The format whose checksum is right, and its payload; None where none is."""
    forms: tuple[tuple[int, str, type], ...] = ((PLAIN, "stored", dict), (SEALED, "sealed", str))
    for version, name, kind in forms:
        payload = whole.get(name)
        if isinstance(payload, kind) and whole.get("sha256") == _digest(version, payload):
            return version, payload
    return None
