"""The socket under an MQTT session: it bounds a packet, and keeps the cause of its failure."""

from __future__ import annotations

import socket
import ssl
from typing import Any

MAX_PACKET_BYTES = (128 << 10) + 1024
"""A payload of 128 KiB, which is all that AWS IoT Core (quotas, "Message size") lets pass and five
times the longest message of PointPerfect, and its topic."""

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class UnwantedPacket(ConnectionError):
    """A packet that the service never sends."""


class TooBig(UnwantedPacket):
    """A packet's header announces more than the service ever sends."""


class WatchedSocket(socket.socket):
    """The socket that paho reads and writes, without TLS.

    paho reads the rest of a packet in one piece, of the length in the packet's header (up to
    256 MiB), so the size of a read bounds the packet. paho reports every failure as "connection
    lost"; :attr:`failure` is the cause.
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

    def pending(self) -> int:
        """Bytes that can be read although the kernel has none."""
        return 0

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

    def pending(self) -> int:
        return ssl.SSLSocket.pending(self)
