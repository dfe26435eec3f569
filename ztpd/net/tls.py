"""TLS towards a service: verified, 1.2 or newer, with a client certificate if there is one.

Python 3.13 sets other verification flags than 3.11. Here they are set, not inherited, so that an
upgrade of the system changes no verdict: VERIFY_X509_STRICT is off, because private authorities
without the keyUsage extension are in use, and VERIFY_X509_PARTIAL_CHAIN is on: a certificate in
``ca_file`` is trusted, also where it is an intermediate one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ztpd.errors import ConfigFileUnusable, NetworkError, SessionRefused, TlsUntrusted
from ztpd.model import Secret
from ztpd.sanitize import SAVE_AS_UTF_8, is_utf_16
from ztpd.system.files import require_regular

_VERIFY_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
_NO_KEY = Secret("")
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class PairUnusable(ValueError):
    """OpenSSL does not take a certificate and its key; the text says why."""


def verifying_context(ca_file: str = "", authority: str = "") -> ssl.SSLContext:
    """A context that checks the server against ``ca_file``, else against the PEM text
    ``authority``, and where both are empty against the system's trust store.

    Raises OSError, ``ssl.SSLError`` among them, where the authority cannot be used, and
    :class:`TlsUntrusted` where the system has no trust store. Reads files: a caller in the event
    loop offloads it.
    """
    if ca_file:
        require_regular(Path(ca_file))
    context = ssl.create_default_context(
        cafile=ca_file or None, cadata=(not ca_file and authority) or None
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = _VERIFY_FLAGS
    context.hostname_checks_common_name = False  # RFC 9110 section 4.3.4
    if not (ca_file or authority or _has_trust(context)):
        raise TlsUntrusted("this system trusts no authority; install the package ca-certificates")
    return context


def client_context(
    ca_file: str = "", certificate: str = "", private_key: Secret = _NO_KEY, authority: str = ""
) -> ssl.SSLContext:
    """A :func:`verifying_context`, with the client's ``certificate`` and ``private_key`` (PEM).

    Raises :class:`ConfigFileUnusable` for a ``ca_file`` and :class:`TlsUntrusted` for an
    ``authority`` that cannot be used, :class:`SessionRefused` for such a pair, and
    :class:`NetworkError` where the process has no descriptor left.
    """
    try:
        context = verifying_context(ca_file, authority)
    except OSError as error:
        name = f"ca_file = {ca_file}" if ca_file else "the authority of the credentials"
        if error.errno in _NO_DESCRIPTOR and not isinstance(error, ssl.SSLError):
            raise NetworkError(f"{name}: {error.strerror}") from error
        kind = ConfigFileUnusable if ca_file else TlsUntrusted
        raise kind(f"{name}: {authority_reason(error, ca_file)}") from error
    if certificate:
        try:
            load_pair(context, certificate, private_key)
        except PairUnusable as error:
            raise SessionRefused(f"client certificate and key: {error}") from error
        except OSError as error:
            raise NetworkError(f"client certificate and key: {error.strerror}") from error
    return context


def authority_reason(error: OSError, ca_file: str = "") -> str:
    """Why ``ca_file``, or a text of trusted certificates, cannot be used. Reads the file."""
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    with contextlib.suppress(OSError):
        if ca_file and is_utf_16(Path(ca_file).read_bytes()):
            return f"it {SAVE_AS_UTF_8}"
    return "no certificate (PEM) in it"


def load_pair(context: ssl.SSLContext, certificate: str, private_key: Secret) -> None:
    """Let ``context`` show ``certificate``, whose key is ``private_key`` (PEM texts).

    An encrypted key is refused; nothing asks for a passphrase. Raises :class:`PairUnusable`, and
    OSError where the process has no descriptor left.
    """
    encrypted = False

    def passphrase() -> str:
        nonlocal encrypted
        encrypted = True
        return ""

    memory = os.memfd_create("client-pair", os.MFD_CLOEXEC)  # OpenSSL reads files only
    try:
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(f"{private_key.reveal()}\n{certificate}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}", password=passphrase)
    except ssl.SSLError as error:
        why = (error.reason or "not PEM").lower().replace("_", " ")
        raise PairUnusable("the private key is encrypted" if encrypted else why) from error
    finally:
        os.close(memory)


def _has_trust(context: ssl.SSLContext) -> bool:
    """Certificates in a directory are read when they are needed, so they are not counted."""
    if context.cert_store_stats()["x509_ca"]:
        return True
    directory = ssl.get_default_verify_paths().capath
    try:
        return bool(directory) and any(Path(directory).iterdir())
    except OSError:
        return False


class Transports(NamedTuple):
    """``secured`` takes the data; ``raw`` is below it, and the one to abort: Python 3.11.2 breaks
    where the upper one is closed twice."""

    raw: asyncio.Transport
    secured: asyncio.Transport


async def secure(
    connected: socket.socket,
    make_protocol: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext,
    host: str,
) -> Transports:
    """``connected`` with TLS on it, and a protocol above.

    The socket is owned by the transports, and closed at once when this fails or is cancelled.
    Raises the exceptions of the handshake.
    """
    loop = asyncio.get_running_loop()
    try:
        raw, _ = await loop.create_connection(asyncio.Protocol, sock=connected)
    except BaseException:
        connected.close()
        raise
    protocol = make_protocol()
    try:
        secured = await loop.start_tls(raw, protocol, context, server_hostname=host)
        if secured is None:
            raise ConnectionResetError(104, "Connection reset by peer")
    except BaseException:
        raw.abort()
        raise
    protocol.connection_made(secured)
    return Transports(raw, secured)


async def handshake(context: ssl.SSLContext, connected: socket.socket, host: str) -> ssl.SSLSocket:
    """``connected`` (non-blocking) with TLS on it, made without blocking the event loop.

    The socket is owned by the result, and closed when this fails or is cancelled. Raises the
    exceptions of the socket.
    """
    loop = asyncio.get_running_loop()
    try:
        secured = context.wrap_socket(
            connected, server_hostname=host, do_handshake_on_connect=False
        )
    except BaseException:
        connected.close()
        raise
    try:
        while True:
            try:
                secured.do_handshake()
                return secured
            except ssl.SSLWantReadError:
                await _ready(secured, loop.add_reader, loop.remove_reader)
            except ssl.SSLWantWriteError:
                await _ready(secured, loop.add_writer, loop.remove_writer)
    except BaseException:
        secured.close()
        raise


async def presented(connected: socket.socket, host: str) -> bytes:
    """The certificate (DER) that the server shows, for a person to look at.

    Nothing is verified, nothing is sent on this connection, and it is closed. Raises the
    exceptions of the socket.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with await handshake(context, connected, host) as secured:
        return secured.getpeercert(binary_form=True) or b""


async def _ready(
    sock: socket.socket,
    watch: Callable[..., None],
    unwatch: Callable[[int], object],
) -> None:
    ready = asyncio.Event()
    watch(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        unwatch(sock.fileno())
