"""UBX-MON-COMMS: how many bytes went through each port of the receiver.

Source: u-blox ZED-F9P (HPG 1.50) and ZED-X20P interface descriptions, "UBX-MON-COMMS"; port ids
from the integration manuals. Its answer tells which port a host is connected to, which nothing
else does: that port counts what the host has just sent.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_HEADER = struct.Struct("<BBBx4B")
_PORT = struct.Struct("<HHIBBHIBBH4H8xI")
_PORTS = {0x0000: "I2C", 0x0100: "UART1", 0x0201: "UART2", 0x0300: "USB", 0x0400: "SPI"}
_IDS = {name: number for number, name in _PORTS.items()}
_X20_UART2 = 0x0200
_RECEIVED = 6  # place of rxBytes among the fields of a port


def encode(received: Mapping[str, int]) -> bytes:
    """The payload for ports by u-blox name, and the bytes each has received (modulo 2**32)."""
    blocks = [
        _PORT.pack(_IDS[name], 0, 0, 0, 0, 0, count % 2**32, *[0] * 8)
        for name, count in received.items()
    ]
    return _HEADER.pack(0, len(blocks), 0, 0, 1, 5, 0xFF) + b"".join(blocks)


def decode(payload: bytes) -> dict[str, int]:
    """Bytes received so far by each port known here, by u-blox name.

    Raises ValueError on a wrong length or version.
    """
    if len(payload) < _HEADER.size or payload[0] != 0:
        raise ValueError("MON-COMMS has not version 0")
    count = payload[1]
    if len(payload) != _HEADER.size + count * _PORT.size:
        raise ValueError(f"MON-COMMS has {len(payload)} bytes of payload for {count} ports")
    blocks = _PORT.iter_unpack(payload[_HEADER.size :])
    return {
        name: block[_RECEIVED]
        for block in blocks
        if (name := "UART2" if block[0] == _X20_UART2 else _PORTS.get(block[0]))
    }
