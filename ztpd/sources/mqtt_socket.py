"""The socket under an MQTT session: it bounds a packet, and remembers why it failed."""

from __future__ import annotations

import socket
import ssl
from typing import Any

MAX_PACKET_BYTES = 1 << 20

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TooBig(ConnectionError):
    """A packet's header announces more than is ever sent here."""


class WatchedSocket(socket.socket):
    """What paho reads and writes, without TLS.

    paho asks for the rest of a packet in one piece, as long as the packet's header says (up to
    256 MiB): the size asked for is the size of the packet. And it tells its user "connection
    lost", whatever happened; :attr:`failure` is what did.
    """

    failure: OSError | None = None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        if buflen > MAX_PACKET_BYTES:
            self.failure = TooBig(f"a packet of {buflen} bytes")
            raise self.failure
        try:
            return super().recv(buflen, flags)
        except _NOT_NOW:
            raise
        except OSError as error:
            self.failure = error
            raise ConnectionError from error  # all that paho 1.6 takes for the end

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            return super().send(data, flags)
        except _NOT_NOW:
            raise
        except OSError as error:
            self.failure = error
            raise ConnectionError from error


class WatchedTlsSocket(WatchedSocket, ssl.SSLSocket):
    """The same with TLS: an ``SSLContext.sslsocket_class``."""
