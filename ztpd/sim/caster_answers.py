"""The answers of the simulated caster: faults, heads, refusals, codings and damaged streams."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Literal

from ztpd.wire import ubx

Form = Literal["auto", "icy", "icy-short", "icy-headers", "http10", "identity", "chunked", "odd"]
"""The head and the coding of a stream: "auto" follows the request, as good casters do; "odd" is
chunked in every way that is legal and rare."""

FAULTS: Mapping[str, str] = {
    "unauthorized": "refuses every user",
    "forbidden": "refuses with 403",
    "not-found": "does not know the mountpoint",
    "sourcetable": "sends its sourcetable in place of the stream",
    "banned": "says with status 200 that this address is banned",
    "unavailable": "is overloaded and asks for two minutes of patience",
    "gzip": "compresses, though it was not asked to",
    "no-answer": "takes the request and says nothing",
    "half-head": "stops in the middle of the answer's head",
    "endless-head": "sends a head of one MiB",
    "bad-chunks": "sends a chunk size that is no number, after 2 kB",
    "huge-chunk": "announces a chunk of 2^63 bytes, after 2 kB",
    "silent": "says yes and then sends nothing",
    "stall": "sends 2 kB and then nothing",
    "short-life": "ends every session after 10 s",
    "bad-crc": "damages every fourth block",
    "noise": "puts bytes of no meaning between the blocks",
    "gga-first": "answers 401 unless the request has a position",
    "no-accept": "answers 403 to a request without an Accept header",
    "no-version": "answers 404 to a request without Ntrip-Version",
    "gp-only": "takes a position from $GPGGA sentences only",
    "empty": "says yes and closes without a byte",
    "outside": "says yes, then in a sentence that no station is near, and closes",
    "cmr": "streams CMR packets",
    "rtcm2": "streams RTCM 2",
    "nmea": "streams NMEA sentences",
    "ubx": "streams a receiver's raw data (UBX)",
    "nmea-between": "puts NMEA sentences and empty lines between the blocks",
    "table-for-password": "answers a wrong password with its sourcetable",
    "cut-table": "sends half a sourcetable and closes",
    "no-table": "answers with a sentence in place of headers",
    "loose-head": "writes its head as no standard allows, and calls the stream text/plain",
    "raw-chunks": "announces chunks and streams without them",
    "invalid-mount": "refuses the mountpoint in a line without a status, as Leica's receivers do",
    "digest": "asks for Digest authentication",
    "redirect": "redirects to another host",
    "https-port": "answers plain HTTP as a TLS server written in Go does",
    "version-1-400": "answers 400 to HTTP/1.1",
    "version-1-reset": "resets the connection at HTTP/1.1",
    "reset": "resets every session after 20 s",
}
"""Faults, and the manners of real casters; docs/casters.md says which caster has which."""


_V2 = b"HTTP/1.1 200 OK\r\nNtrip-Version: Ntrip/2.0\r\nServer: NTRIP sim\r\n"
_STREAM = _V2 + b"Cache-Control: no-store\r\nConnection: close\r\nContent-Type: gnss/data\r\n"

HEADS: Mapping[str, bytes] = {
    "icy": b"ICY 200 OK\r\n\r\n",
    "icy-short": b"ICY 200 OK\r\n",
    "icy-headers": b"ICY 200 OK\r\nServer: NTRIP sim\r\n\r\n",
    "http10": b"HTTP/1.0 200 OK\r\nServer: NTRIP sim\r\n\r\n",
    "identity": _STREAM + b"\r\n",
    "chunked": _STREAM + b"Transfer-Encoding: chunked\r\n\r\n",
    "odd": _STREAM + b"TRANSFER-ENCODING:  Chunked \r\n\r\n",
    "loose": b"\r\nHTTP 200 OK\r\nServer : NTRIP sim\r\nContent-Type : text/plain\r\n\r\n",
    "raw-chunks": _STREAM + b"Transfer-Encoding: chunked\r\n\r\n",
}


def status(line: str, *headers: str) -> bytes:
    """An answer that is no stream, such as ``status("403 Forbidden")``."""
    body = f"{line}\r\n"
    head = [f"HTTP/1.1 {line}", "Server: NTRIP sim", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join([*head, "Connection: close", "", ""]) + body).encode()


REFUSALS: Mapping[str, bytes] = {
    "unauthorized": status("401 Unauthorized"),
    "forbidden": status("403 Forbidden"),
    "not-found": status("404 Not Found"),
    "banned": _V2 + b"Content-Type: text/plain\r\n\r\nYour IP address is banned.\r\n",
    "unavailable": status("503 Service Unavailable", "Retry-After: 120"),
    "gzip": _STREAM + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00" + bytes(64),
    "no-answer": b"",
    "no-table": b"SOURCETABLE 200 OK\r\nNO SOURCETABLE AVAILABLE\r\n",
    "invalid-mount": b"Invalid mount point\r\n",
    "digest": status("401 Unauthorized", 'WWW-Authenticate: Digest realm="sim", nonce="1"'),
    "redirect": status("302 Found", "Location: http://me:secret@other.example:2101/NEAR"),
    "https-port": b"HTTP/1.0 400 Bad Request\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n",
    "half-head": _STREAM[: len(_STREAM) // 2],
    "endless-head": _STREAM + b"X-Pad: " + b"a" * (1 << 20),
}

OUTSIDE = b"No station within 50 km of your position. Check your coverage.\r\n"
_NMEA = b"$GNGGA,120000.00,5123.4567,N,00012.3456,W,4,12,0.80,45.0,M,47.0,M,1.0,0000*42\r\n"


def _cmr(data: bytes) -> bytes:
    body = bytes([0, 0x93, len(data)]) + data  # status, type, length
    return b"\x02" + body + bytes([sum(body) & 0xFF, 3])


FOREIGN: Mapping[str, bytes] = {
    "cmr": _cmr(bytes(range(4, 100))),
    "rtcm2": bytes(0x40 | (number * 37 + 26) & 0x3F for number in range(90)),
    "nmea": _NMEA,
    "ubx": ubx.message(0x0215, bytes(range(200))),  # RXM-RAWX
}
"""One block of the stream of a fault that sends neither SPARTN nor RTCM 3."""

_FORMATS = {"RTCM": "RTCM 3.3", "SPARTN": "SPARTN"}

STALLS: Mapping[str, bytes] = {
    "stall": b"",
    "bad-chunks": b"xyz\r\n",
    "huge-chunk": b"8000000000000000\r\n",
}


def sourcetable(
    mountpoints: Iterable[str], headers: Mapping[str, str], *, needs_gga: bool
) -> bytes:
    """The sourcetable in the answer to a request with ``headers``."""
    gga = int(needs_gga)
    lines = [
        f"STR;{name};sim;{_format(name)};;2;;sim;GBR;0.00;0.00;{gga};1;;none;B;N;;"
        for name in mountpoints
    ]
    table = "\r\n".join([*lines, "ENDSOURCETABLE", ""]).encode()
    if "ntrip-version" in headers:
        head = _V2 + b"Content-Type: gnss/sourcetable\r\n"
    else:
        head = b"SOURCETABLE 200 OK\r\nServer: NTRIP sim\r\nContent-Type: text/plain\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(table) + table


def _format(mountpoint: str) -> str:
    """As far as the name tells; gpsd takes no mountpoint without."""
    return next((text for word, text in _FORMATS.items() if word in mountpoint), "")


async def spoilt(
    blocks: AsyncIterator[bytes], fault: str, rng: random.Random
) -> AsyncIterator[bytes]:
    """The stream as ``fault`` changes it."""
    number = 0
    async for block in blocks:
        number += 1
        if fault == "bad-crc" and number % 4 == 0:
            yield block[:-1] + bytes([block[-1] ^ 0x10])
            continue
        if foreign := FOREIGN.get(fault):
            yield foreign
            continue
        if fault == "nmea-between":
            yield _NMEA + b"\r\n"
        if fault == "noise":
            yield rng.randbytes(rng.randint(1, 40))
        yield block


def coded(block: bytes, form: str, rng: random.Random) -> bytes:
    """``block`` in the transfer coding of ``form``."""
    if form == "chunked":
        return b"%x\r\n%b\r\n" % (len(block), block) if block else b""
    if form != "odd":
        return block
    chunks = b""
    while block:
        size = min(len(block), rng.choice((1, 2, 7, 64, 1000)))
        digits = rng.choice(("%x", "%X", "00%x")) % size
        chunks += (digits + rng.choice(("", ";a", ';a="1;2"', " ;b=c"))).encode()
        chunks += b"\r\n%b\r\n" % block[:size]
        block = block[size:]
    return chunks
