"""Sealing by systemd: encryption with a key of this machine, and of its TPM where there is one.

The service ``io.systemd.Credentials`` (systemd 256 and newer, varlink.io.systemd.Credentials(7),
systemd-creds(1)) encrypts and decrypts for any user with that user's number, its name and the
machine-id as part of the key. Seen with systemd 257, within 40 ms:

======================================  =====================================================
decrypted with                          reply
======================================  =====================================================
another host key, another user          error ``io.systemd.Credentials.BadFormat``
no host key, another machine-id         error ``io.systemd.System``, errno ENOENT
======================================  =====================================================
"""

from __future__ import annotations

import base64
import errno
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ztpd.errors import SealingFailed, StoreUnsealable

if TYPE_CHECKING:
    from ztpd.wire import varlink

SOCKET = Path("/run/systemd/io.systemd.Credentials")

_NAME = "ztpd-credentials"
"""Sealed along: a blob of another purpose is refused."""

_INTERFACE = "io.systemd.Credentials"
_WITHIN_S = 20.0  # a TPM takes seconds
_FINAL = ("BadFormat", "NameMismatch", "BadScope", "NullKeyNotAllowed", "KeyBelongsToOtherTPM")
"""Other errors may pass, such as that of a TPM which is locked out for a while."""


class Sealer(Protocol):
    """Encrypts for this machine. Synchronous; both methods may take 20 s."""

    def seal(self, plain: bytes) -> str:
        """``plain`` as base64 text for :meth:`unseal`. Raises :class:`SealingFailed`."""

    def unseal(self, sealed: str) -> bytes:
        """The bytes that were sealed.

        Raises :class:`StoreUnsealable` where this machine, or this user, never can, and
        :class:`SealingFailed` where it cannot now.
        """


class CredentialsService:
    """systemd's, by its socket."""

    def __init__(self, path: Path = SOCKET, *, within_s: float = _WITHIN_S) -> None:
        self._path = path
        self._within_s = within_s

    def seal(self, plain: bytes) -> str:
        reply = self._call("Encrypt", {"data": base64.b64encode(plain).decode()})
        blob = reply.parameters.get("blob")
        if reply.error or not isinstance(blob, str) or not blob:
            raise SealingFailed(f"systemd does not seal: {_reason(reply)}")
        return blob

    def unseal(self, sealed: str) -> bytes:
        reply = self._call("Decrypt", {"blob": sealed})
        if _is_final(reply):
            raise StoreUnsealable(_reason(reply))
        data = reply.parameters.get("data")
        if not reply.error and isinstance(data, str):
            try:
                return base64.b64decode(data, validate=True)
            except ValueError:
                pass  # not chained: it may hold a part of the content
        raise SealingFailed(f"systemd does not unseal: {_reason(reply)}")

    def _call(self, method: str, parameters: Mapping[str, str]) -> varlink.VarlinkReply:
        from ztpd.wire import varlink  # few gateways seal

        call = {"name": _NAME, "scope": "user", **parameters}
        deadline_s, reader = time.monotonic() + self._within_s, varlink.ReplyReader()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(self._within_s)
                client.connect(str(self._path))
                client.sendall(varlink.encode_call(f"{_INTERFACE}.{method}", call))
                while (left_s := deadline_s - time.monotonic()) > 0:
                    client.settimeout(left_s)
                    if not (data := client.recv(1 << 16)):
                        raise SealingFailed(f"{self._path}: closed without a reply")
                    if reply := reader.feed(data):
                        return reply
                raise TimeoutError
        except FileNotFoundError as error:
            raise SealingFailed("systemd 256 or newer is needed to seal and unseal") from error
        except TimeoutError as error:
            raise SealingFailed(f"{self._path}: no reply in {self._within_s:.0f} s") from error
        except OSError as error:
            raise SealingFailed(f"{self._path}: {error.strerror or error}") from error
        except varlink.VarlinkError as error:
            raise SealingFailed(f"{self._path}: {error}") from error


def _is_final(reply: varlink.VarlinkReply) -> bool:
    """Whether another try would get the same answer."""
    if reply.error == "io.systemd.System":
        return reply.parameters.get("errno") == errno.ENOENT
    return reply.error.removeprefix(f"{_INTERFACE}.") in _FINAL


def _reason(reply: varlink.VarlinkReply) -> str:
    code: Any = reply.parameters.get("errno")
    name = f", {errno.errorcode[code]}" if isinstance(code, int) and code in errno.errorcode else ""
    return (reply.error or "the reply has no data") + name
