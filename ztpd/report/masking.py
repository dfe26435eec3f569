"""Takes secrets out of every text of the archive, and places where the position is not wanted."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from html import escape
from urllib.parse import quote

from ztpd.config import LoadedConfig, named_files, read_token
from ztpd.errors import ZtpdError
from ztpd.log import Redaction
from ztpd.model import Secret, StoredCredentials
from ztpd.provisioning.store import CredentialStore
from ztpd.sanitize import decoded, without_tiles
from ztpd.sources.endpoints import endpoints
from ztpd.system.directories import state_dir
from ztpd.system.files import read_regular
from ztpd.wire import ubxcfg
from ztpd.wire.redaction import holds_position

LEFT_OUT = "left out: a position"

_IMEI = re.compile(r"(?<![0-9.])([0-9]{8})[0-9]{5}([0-9]{2})(?![0-9])")
_DEGREES = re.compile(r"(?<![\w.])-?[0-9]{1,3}\.[0-9]{5,}(?![\w.])")
_SENTENCE = re.compile(r"\$?G[A-Z](GGA|RMC|GLL|GNS),[^\s\"]*")
_LONG_LINE = 24  # of a PEM text: such a line alone is a secret too


class Masking:
    """``with_position``: places stay."""

    def __init__(self, *, with_position: bool) -> None:
        self.with_position = with_position
        self._redaction = Redaction()

    def hide(self, secrets: Iterable[Secret]) -> None:
        """Mask ``secrets`` from now on, in every form in which a file of the archive or a protocol
        may write them."""
        for secret in secrets:
            self._redaction.hide(Secret(form) for form in _forms(secret.reveal()))

    def hide_own(self, loaded: LoadedConfig | None) -> None:
        """Mask the secrets of this gateway, as far as this user can read them."""
        stored = _stored()
        for each in stored:
            self.hide(each.credentials.secrets())
        if loaded is None:
            return
        with suppress(ZtpdError):  # none, or not for this user
            self.hide([read_token(loaded.config)])
        for key, path in named_files(loaded.config):
            if key.endswith(("password_file", "key_file")):
                with suppress(OSError, ValueError):
                    self.hide([Secret(decoded(read_regular(path, follow=True)).strip())])
        credentials = stored[0].credentials if stored else None
        try:
            found = endpoints(loaded.config, credentials)
        except (ZtpdError, OSError):
            found = []
        for endpoint in found:
            user, password = endpoint.username, endpoint.password.reveal()
            self.hide([endpoint.password, Secret(f"{user}:{password}" if password else "")])

    def mask(self, text: str) -> str:
        """``text`` without secrets, whole IMEIs, and places."""
        text = _IMEI.sub(r"\1*****\2", self._redaction.mask(text))
        if self.with_position:
            return text
        text = _SENTENCE.sub(LEFT_OUT, text)
        return _DEGREES.sub("*", without_tiles(text))

    def config(self, loaded: LoadedConfig) -> LoadedConfig:
        """``loaded`` without the positions that receiver settings hold."""
        receiver = loaded.config.receiver
        if self.with_position or not receiver.keys:
            return loaded
        keys = {
            name: LEFT_OUT if holds_position(ubxcfg.key_id(name)) else value
            for name, value in receiver.keys.items()
        }
        changed = replace(receiver, keys=keys)  # type: ignore[arg-type]
        return loaded._replace(config=replace(loaded.config, receiver=changed))


def _forms(text: str) -> set[str]:
    forms = {text} | {line.strip() for line in text.splitlines() if len(line) >= _LONG_LINE}
    encoded = text.encode(errors="replace")
    forms |= {base64.b64encode(encoded).decode(), base64.urlsafe_b64encode(encoded).decode()}
    forms |= {quote(each, safe="", errors="replace") for each in tuple(forms)}
    for ascii_only in (True, False):  # JSON and TOML
        forms |= {json.dumps(each, ensure_ascii=ascii_only)[1:-1] for each in tuple(forms)}
    return forms | {escape(each) for each in forms}


def setting_name(key: int) -> str:
    """The u-blox name of any configuration item, or its id in hexadecimal."""
    return _names().get(key) or ubxcfg.key_name(key)


@cache
def _names() -> dict[int, str]:
    from ztpd.wire import ubxkeys  # large

    return {key: name for name, key in ubxkeys.KEYS.items()}


def _stored() -> list[StoredCredentials]:
    store = CredentialStore(state_dir())
    found = []
    try:
        if loaded := store.load():
            found.append(loaded.stored)
        if previous := store.load_previous():
            found.append(previous)
    except ZtpdError:
        pass  # none, or not for this user
    return found
