"""MQTT 3.1.1 packets (section 3), as far as simulated brokers and publishers need them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 0x80, 0x90, 0xC0, 0xD0, 0xE0

REFUSED = 0x80
"""A SUBACK code."""


class Packet(NamedTuple):
    """One packet: its type (the upper four bits of the first byte), and its body."""

    type: int
    body: bytes


async def read_packet(reader: asyncio.StreamReader) -> Packet:
    """The next packet. Raises EOFError when the connection ends before or within it."""
    try:
        first = (await reader.readexactly(1))[0]
        count = shift = 0
        more = True
        while more:
            byte = (await reader.readexactly(1))[0]
            count |= (byte & 0x7F) << shift
            shift, more = shift + 7, bool(byte & 0x80)
        return Packet(first & 0xF0, await reader.readexactly(count))
    except asyncio.IncompleteReadError as error:
        raise EOFError from error


def packet(first: int, body: bytes = b"") -> bytes:
    """A packet with ``first`` as its first byte, flags included."""
    return bytes((first,)) + remaining_length(len(body)) + body


def remaining_length(count: int) -> bytes:
    """Section 2.2.3: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while True:
        count, low = divmod(count, 128)
        encoded.append(low | 0x80 if count else low)
        if not count:
            return bytes(encoded)


def connect(client_id: str, username: str = "", password: str = "") -> bytes:
    """A clean session without keep-alive."""
    flags = 0x02 | (0xC0 if username else 0)
    names = (client_id, username, password) if username else (client_id,)
    return packet(CONNECT, b"\0\4MQTT\4" + bytes((flags, 0, 0)) + b"".join(map(_text, names)))


def connack(code: int = 0) -> bytes:
    return packet(CONNACK, bytes((0, code)))


def suback(identifier: int, codes: Iterable[int]) -> bytes:
    return packet(SUBACK, struct.pack("!H", identifier) + bytes(codes))


def publish(
    topic: str,
    payload: bytes,
    *,
    identifier: int | None = None,
    retain: bool = False,
    duplicate: bool = False,
) -> bytes:
    """A message; with an ``identifier`` it is sent with QoS 1."""
    body = _text(topic)
    if identifier is not None:
        body += struct.pack("!H", identifier)
    first = PUBLISH | duplicate << 3 | (identifier is not None) << 1 | retain
    return packet(first, body + payload)


def subscribed(subscribe: Packet) -> tuple[int, dict[str, int]]:
    """Identifier of a SUBSCRIBE packet, and the QoS asked for by topic."""
    body, at = subscribe.body, 2
    topics: dict[str, int] = {}
    while at < len(body):
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        topics[body[at + 2 : end].decode()] = body[end]
        at = end + 1
    return int.from_bytes(body[:2], "big"), topics


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!H", len(data)) + data
