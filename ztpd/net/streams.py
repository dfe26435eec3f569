"""A connected socket as a pair of asyncio streams, with TLS or without."""

from __future__ import annotations

import asyncio
import socket
import ssl

from ztpd.net.tls import secure


async def open_streams(
    connected: socket.socket, context: ssl.SSLContext | None, host: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Reader and writer on ``connected``, which they own; with ``context`` after a TLS handshake.

    Failed or cancelled it leaves nothing behind. ``asyncio.open_connection`` would keep the
    descriptor's number registered for 30 s after a handshake that was cancelled, and break the
    next connection that gets this number. Raises the exceptions of the socket.
    """
    if context is None:
        try:
            return await asyncio.open_connection(sock=connected)
        except BaseException:
            connected.close()
            raise
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transports = await secure(connected, lambda: protocol, context, host)
    return reader, asyncio.StreamWriter(transports.secured, protocol, reader, loop)
