"""What a TCP connection costs, as the kernel counts it (tcp(7), TCP_INFO; linux/tcp.h)."""

from __future__ import annotations

import socket
import struct
from typing import Protocol

_INFO = struct.Struct("=5xB122xQII56xQ")
"""tcpi_options; tcpi_bytes_received, tcpi_segs_out, tcpi_segs_in; tcpi_bytes_sent."""

_TIMESTAMPS = 1  # TCPI_OPT_TIMESTAMPS
_TCP_HEADER, _TIMESTAMP_BYTES = 20, 12  # RFC 9293, section 3.1; RFC 7323, section 3.2
_IP_HEADER: dict[int, int] = {socket.AF_INET: 20, socket.AF_INET6: 40}


class TcpSocket(Protocol):
    """A socket, or asyncio's transport of one."""

    @property
    def family(self) -> int: ...
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def ip_bytes(connected: TcpSocket | None) -> int | None:
    """The IP bytes of a connection so far, both ways: TLS, acknowledgements, headers and what was
    sent again included. None where the kernel does not tell, as of a socket that is closed.

    A segment that was sent again counts with its header and content; the kernel's own count of
    segments received has those that came twice, whose content is not in ``tcpi_bytes_received``.
    """
    if connected is None:
        return None
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        options, received, segments_out, segments_in, sent = _INFO.unpack(info)
        header = _IP_HEADER[connected.family] + _TCP_HEADER
    except (OSError, struct.error, KeyError):
        return None
    header += _TIMESTAMP_BYTES if options & _TIMESTAMPS else 0
    return int(received + sent + (segments_in + segments_out) * header)
