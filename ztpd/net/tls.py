"""TLS for the correction services: verified, 1.2 or newer, with a client certificate if given."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from ztpd.errors import SessionRefused, TlsUntrusted
from ztpd.model import Secret
from ztpd.net.errormap import tls_error

__all__ = ["client_context", "handshake", "tls_error"]


_NO_KEY = Secret("")


def client_context(
    ca_file: str = "", certificate: str = "", private_key: Secret = _NO_KEY, authority: str = ""
) -> ssl.SSLContext:
    """A context that checks the server against ``ca_file``, else against the PEM text
    ``authority``, and where both are empty against the system's trust store.

    ``certificate`` and ``private_key`` are the client's PEM texts. They reach OpenSSL, which
    reads files only, through a file in memory. Raises :class:`TlsUntrusted` for an authority
    that cannot be used and :class:`SessionRefused` for such a pair. Reads files: a caller in the
    event loop offloads it.
    """
    try:
        context = ssl.create_default_context(
            cafile=ca_file or None, cadata=(not ca_file and authority) or None
        )
    except OSError as error:
        name = f"ca_file {ca_file}" if ca_file else "the authority of the credentials"
        raise TlsUntrusted(f"{name}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        try:
            _load_pair(context, certificate, private_key)
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror
            raise SessionRefused(f"client certificate and key: {reason}") from error
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, private_key: Secret) -> None:
    memory = os.memfd_create("client-pair", os.MFD_CLOEXEC)
    try:
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(f"{private_key.reveal()}\n{certificate}\n".encode())
        # Without a password OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{memory}", password="")
    finally:
        os.close(memory)


async def handshake(context: ssl.SSLContext, connected: socket.socket, host: str) -> ssl.SSLSocket:
    """``connected`` (non-blocking) with TLS on it, made without blocking the event loop.

    The socket is owned by the result, and closed when this fails or is cancelled. Raises what
    the socket raises.
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
