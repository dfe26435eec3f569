"""systemd's io.systemd.Credentials, served by threads, with the replies of systemd 257."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from errno import EIO, ENOENT
from itertools import count
from pathlib import Path
from typing import Any

Reply = dict[str, Any]

INTERFACE = "io.systemd.Credentials"


class SimCredentialsService:
    """``key`` is the host's; None where it has none yet. ``mode`` other than "" is a fault:

    "silent"     takes the call and never replies
    "closes"     ends the connection without a reply
    "nonsense"   replies with bytes that are no Varlink
    "tpm"        cannot reach its TPM
    "lockout"    its TPM is locked for a while
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key: bytes | None = None
        self.mode = ""
        self.piece = 1 << 16  # bytes of one write
        self.calls: list[str] = []
        self._ended = threading.Event()

    @contextlib.contextmanager
    def listening(self) -> Iterator[SimCredentialsService]:
        self.path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(str(self.path))
            server.listen()
            thread = threading.Thread(target=self._serve, args=(server,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._ended.set()
                server.shutdown(socket.SHUT_RDWR)
                thread.join(5)
                self.path.unlink(missing_ok=True)

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            answering = threading.Thread(target=self._attend, args=(client,), daemon=True)
            answering.start()

    def _attend(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        received = b""
        while not received.endswith(b"\0"):
            if not (data := client.recv(1 << 16)):
                return
            received += data
        call = json.loads(received[:-1])
        method, parameters = call["method"].removeprefix(f"{INTERFACE}."), call["parameters"]
        self.calls.append(method)
        if self.mode == "silent":
            self._ended.wait(30)
        if self.mode in ("silent", "closes"):
            return
        reply = json.dumps(self._reply(method, parameters)).encode() + b"\0"
        if self.mode == "nonsense":
            reply = b"\xff\xfe no JSON\0"
        for begin in range(0, len(reply), self.piece):
            client.sendall(reply[begin : begin + self.piece])

    def _reply(self, method: str, given: Reply) -> Reply:
        assert given["scope"] == "user", "the scope of the system needs a privilege"
        if self.mode == "tpm":
            return _error("io.systemd.System", errno=EIO)
        if self.mode == "lockout":
            return _error(f"{INTERFACE}.TPMInDictionaryLockout")
        name = given["name"].encode()
        if method == "Encrypt":
            self.key = self.key or secrets.token_bytes(32)
            sealed = _seal(self.key, name, base64.b64decode(given["data"], validate=True))
            return {"parameters": {"blob": base64.b64encode(sealed).decode()}}
        assert method == "Decrypt"
        if self.key is None:
            return _error("io.systemd.System", errno=ENOENT)
        plain = _unseal(self.key, name, base64.b64decode(given["blob"]))
        if plain is None:
            return _error(f"{INTERFACE}.BadFormat")
        return {"parameters": {"data": base64.b64encode(plain).decode()}}


def _error(name: str, **parameters: Any) -> Reply:
    return {"error": name, "parameters": parameters}


def _seal(key: bytes, name: bytes, plain: bytes) -> bytes:
    nonce = os.urandom(16)
    coded = _crypt(key, nonce, plain)
    return nonce + hmac.digest(key, name + nonce + coded, "sha256") + coded


def _unseal(key: bytes, name: bytes, sealed: bytes) -> bytes | None:
    nonce, tag, coded = sealed[:16], sealed[16:48], sealed[48:]
    if not hmac.compare_digest(tag, hmac.digest(key, name + nonce + coded, "sha256")):
        return None
    return _crypt(key, nonce, coded)


def _crypt(key: bytes, nonce: bytes, data: bytes) -> bytes:
    stream = bytearray()
    for block in count():
        if len(stream) >= len(data):
            break
        stream += hashlib.sha256(key + nonce + block.to_bytes(8, "big")).digest()
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))
