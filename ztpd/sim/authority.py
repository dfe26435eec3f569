"""A throw-away certificate authority for the simulated services.

It needs trustme, which is imported with the first :class:`Authority`: the services also run
without TLS.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztpd.model import Secret

if TYPE_CHECKING:
    import trustme

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM texts."""

    certificate: str
    private_key: Secret

    def write(self, directory: Path, stem: str) -> tuple[Path, Path]:
        """Write ``stem.crt`` and ``stem.key`` (0600), for programs that want files."""
        certificate, key = directory / f"{stem}.crt", directory / f"{stem}.key"
        certificate.write_text(self.certificate)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self.private_key.reveal())
        return certificate, key


class Authority:
    """Issues server and client certificates; only :attr:`certificate` verifies them.

    Raises :class:`ModuleNotFoundError` without trustme.
    """

    def __init__(self) -> None:
        import trustme

        self._ca = trustme.CA()

    @property
    def certificate(self) -> str:
        """The certificate of the authority, as PEM text."""
        return self._ca.cert_pem.bytes().decode()

    def write(self, path: Path) -> Path:
        """Write :attr:`certificate` to ``path``, for the ``ca_file`` settings."""
        path.write_text(self.certificate)
        return path

    def server(
        self,
        *names: str,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Pair:
        """A server certificate for ``names`` (host names and addresses; loopback if none).

        By default valid from 2000 to 3000 (naive datetimes, UTC).
        """
        given: dict[str, Any] = {"not_after": not_after}
        if not_before is not None:  # a parameter of trustme 1.2 and newer
            given["not_before"] = not_before
        return _pair(self._ca.issue_cert(*(names or LOOPBACK), **given))

    def client(self, client_id: str, *, not_after: datetime | None = None) -> Pair:
        """A client certificate with ``client_id`` as its common name."""
        leaf = self._ca.issue_cert("gateway.invalid", common_name=client_id, not_after=not_after)
        return _pair(leaf)

    def server_context(self, *names: str) -> ssl.SSLContext:
        """A TLS 1.2+ server context with a certificate for ``names`` (loopback if none)."""
        return server_context(self.server(*names))


def server_context(pair: Pair) -> ssl.SSLContext:
    """A TLS 1.2+ server context with ``pair``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    memory = os.memfd_create("pair", os.MFD_CLOEXEC)  # ssl reads files only
    try:
        os.write(memory, (pair.private_key.reveal() + pair.certificate).encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return context


def _pair(leaf: trustme.LeafCert) -> Pair:
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return Pair(chain.decode(), Secret(leaf.private_key_pem.bytes().decode()))
