"""A connected socket as a pair of asyncio streams, with TLS or without."""

from __future__ import annotations

import asyncio
import socket
import ssl


async def open_streams(
    connected: socket.socket, context: ssl.SSLContext | None, host: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Reader and writer on ``connected``, which they own; with ``context`` after a TLS handshake.

    Failed or cancelled it leaves nothing behind. ``asyncio.open_connection`` would keep the
    descriptor's number registered for 30 s after a handshake that was cancelled, and break the
    next connection that gets this number. Raises what the socket raises.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = (_TlsProtocol if context else asyncio.StreamReaderProtocol)(reader, loop=loop)
    try:
        transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
    except BaseException:
        connected.close()
        raise
    if context is not None:
        plain = transport
        try:
            secured = await loop.start_tls(plain, protocol, context, server_hostname=host)
            if secured is None:
                raise ConnectionAbortedError("the connection ended in the TLS handshake")
            transport = secured
        except BaseException:
            plain.abort()
            raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class _TlsProtocol(asyncio.StreamReaderProtocol):
    def eof_received(self) -> bool:
        super().eof_received()
        return False  # TLS has no half-closed connections
