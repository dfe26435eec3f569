"""Datagrams to one program on this machine: each is sent at once or lost, and none is received."""

from __future__ import annotations

import contextlib
import errno
import socket

from ztpd.errors import OutputError
from ztpd.wire.hostnames import loopback_endpoint

_LOST = {errno.EAGAIN, errno.ENOBUFS}  # this host has no room at the moment


class DatagramTarget:
    """One UDP target on the loopback, from :meth:`open` to :meth:`close`. No method blocks.

    The socket is connected, so it takes no datagram from any other place and is no listening one.
    """

    def __init__(self, target: str) -> None:
        """``target`` is an address and a port, see :func:`ztpd.wire.hostnames.loopback_endpoint`,
        which raises ValueError."""
        self._address = loopback_endpoint(target)
        self._target = target
        self._socket: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def open(self) -> None:
        """Make the socket, unless there is one; whether the target is there does not matter.
        Raises :class:`OutputError`."""
        if self._socket is not None:
            return
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        try:
            with contextlib.ExitStack() as undo:
                made = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                made.setblocking(False)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # nothing is read from it
                made.connect(self._address)
                undo.pop_all()
        except OSError as error:
            raise self._failed(error) from error
        self._socket = made

    def write_frame(self, frame: bytes) -> None:
        """Send a whole frame as one datagram. A target that is not there, or has no room, costs
        the frame. Raises :class:`OutputError` where this host does not let it go."""
        if self._socket is None:
            return
        try:
            try:
                self._socket.send(frame)
            except ConnectionRefusedError:  # of the frame before: the target was not there then
                self._socket.send(frame)
        except ConnectionRefusedError:
            pass
        except OSError as error:
            if error.errno not in _LOST:
                raise self._failed(error) from error

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"udp {self._target}: {error.strerror}")
