"""``make fuzz``: each parser against bytes of a coverage-guided fuzzer.

    fuzz.py PARSER CORPUS_DIRECTORY SECONDS

Runs in a virtual environment with atheris alone: the parsers need nothing but the standard
library. For any input a parser returns a value or raises an error of ztpd/errors.py, with bounded
memory, and reveals no secret.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import atheris

from tests.support import ANSWERS

with atheris.instrument_imports(include=["ztpd"]):
    from ztpd.errors import ImeiInvalid, ZtpdError, ZtpError
    from ztpd.model import FrameKind, Secret
    from ztpd.wire import at, frames, ntrip, recording, rtcm, ubx, ztp
    from ztpd.wire.redaction import FrameRedaction
    from ztpd.wire.sourcetable import sourcetable

REAL_ANSWERS = [
    path.read_bytes()
    for path in sorted(ANSWERS.glob("*.json"))
    if path.read_bytes().lstrip().startswith(b"{")
]
TOKEN = Secret("0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1")
MOST_PENDING_BYTES = 2048


def fit_for_a_log(error: ZtpdError) -> None:
    assert str(error).isprintable()
    assert TOKEN.reveal() not in str(error)


def answer(data: bytes) -> None:
    for service in ("flex", "live"):
        try:
            credentials = ztp.parse_answer(service, data)
        except ZtpError as error:
            fit_for_a_log(error)
        else:
            assert credentials.mqtt or credentials.ntrip
            kept = json.dumps(credentials.answer).encode()
            if len(kept) <= ztp.BODY_LIMIT:
                assert ztp.parse_answer(credentials.service, kept) == credentials
            try:
                ztp.check_hosts(credentials, allowed_hosts=(), service_host="api.thingstream.io")
            except ZtpError as error:
                fit_for_a_log(error)


def altered(data: bytes) -> None:
    """A sound answer with some of its values replaced, removed or renamed: JSON all the same."""
    given = atheris.FuzzedDataProvider(data)
    body = json.loads(given.PickValueInList(REAL_ANSWERS))
    for _ in range(given.ConsumeIntInRange(1, 6)):
        holder = given.PickValueInList([each for each in _parts(body) if each])
        names = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        name = given.PickValueInList(names)
        match given.ConsumeIntInRange(0, 3):
            case 0:
                del holder[name]
            case 1 if isinstance(holder, dict):
                holder[given.ConsumeUnicode(20)] = holder.pop(name)
            case _:
                holder[name] = _anything(given)
        if not body:
            break
    answer(json.dumps(body).encode())


def _parts(value: Any) -> Iterator[Any]:
    """Every object and list in ``value``, itself first."""
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _parts(inner)


def _anything(given: Any) -> Any:
    match given.ConsumeIntInRange(0, 8):
        case 0:
            return None
        case 1:
            return given.ConsumeBool()
        case 2:
            return given.ConsumeInt(9)
        case 3:
            return str(given.ConsumeInt(9))
        case 4:
            return given.ConsumeRegularFloat()
        case 5:
            return [_anything(given)]
        case 6:
            return {given.ConsumeUnicode(12): _anything(given)}
        case 7:
            return given.ConsumeUnicode(40)
    return given.PickValueInList(
        ["", " ", "\0", "localhost", "127.1", "[::1]", "a:b@c", "../x", "-"]
    )


def refusal(data: bytes) -> None:
    status = 100 + int.from_bytes(data[:2], "big") % 500
    said = data[2:].replace(b"T", TOKEN.reveal().encode())
    error = ztp.refusal(status, {"retry-after": data[:9].decode("latin-1")}, said, secrets=[TOKEN])
    assert isinstance(error, ZtpdError)
    fit_for_a_log(error)


def stream(data: bytes) -> None:
    """The same frames, however the bytes are cut."""
    kinds = (FrameKind.SPARTN, FrameKind.RTCM3, FrameKind.UBX, FrameKind.NMEA)
    whole, cut = frames.Scanner(*kinds), frames.Scanner(*kinds)
    found = [*whole.feed(data), *whole.flush()]
    step = data[0] % 13 + 1 if data else 1
    pieces = []
    for at_byte in range(0, len(data), step):
        pieces += cut.feed(data[at_byte : at_byte + step])
        assert cut.pending <= MOST_PENDING_BYTES
    pieces += cut.flush()
    assert [one.data for one in pieces] == [one.data for one in found]


def receiver(data: bytes) -> None:
    payload = data[2:600]
    message = b"\xb5b" + data[:2].ljust(2, b"\0") + len(payload).to_bytes(2, "little") + payload
    a = b = 0
    for byte in message[2:]:
        a = (a + byte) & 255
        b = (b + a) & 255
    try:
        ubx.parse(message + bytes((a, b)))
    except ValueError:
        return


def base_station(data: bytes) -> None:
    station_id = rtcm.station_id(data)
    assert station_id is None or 0 <= station_id <= 4095
    rtcm.observed_system(rtcm.number(data))
    try:
        station = rtcm.StationPosition.decode(data)
    except ValueError:
        return
    assert station.station_id == station_id


def modem(data: bytes) -> None:
    command = at.IMEI_COMMANDS[data[0] % len(at.IMEI_COMMANDS)] if data else at.IMEI_COMMANDS[0]
    exchange = at.Exchange(command)
    for start in range(0, len(data), 7):
        found = exchange.feed(data[start : start + 7])
        if found:
            try:
                at.imeis_in(command, found)
            except ImeiInvalid as error:
                fit_for_a_log(error)
            return


def caster(data: bytes) -> None:
    response = ntrip.Response("NEAR")
    taken = 0
    try:
        for start in range(0, len(data), 11):
            taken += len(response.feed(data[start : start + 11]))
        response.eof()
    except ZtpdError as error:
        fit_for_a_log(error)
    assert taken <= len(data)
    sourcetable(data)


def recorded(data: bytes) -> None:
    """Records in order, or a clause for a person; and nothing but frames or zeros behind the
    redaction."""
    try:
        found = recording.read(data)
    except ValueError as error:
        assert str(error).isprintable()  # noqa: PT017
        return
    redaction, last_s = FrameRedaction(with_position=False), 0.0
    for record in found.records:
        assert record.at_s >= last_s
        last_s = record.at_s
        assert isinstance(record.fields, dict)
        for frame in frames.Scanner(*FrameKind).feed(record.data):
            kept = redaction.apply(frame)
            again = frames.Scanner(*FrameKind).feed(kept)
            assert not any(kept) or [each.name for each in again] == [frame.name]


PARSERS: dict[str, Callable[[bytes], None]] = {
    "ztp": answer,
    "altered": altered,
    "refusal": refusal,
    "frames": stream,
    "ubx": receiver,
    "rtcm": base_station,
    "at": modem,
    "ntrip": caster,
    "recording": recorded,
}


def seeds(parser: str) -> Iterator[bytes]:
    if parser == "ztp":
        yield from REAL_ANSWERS
    elif parser == "refusal":
        yield b"\x01\x2f" + b"Device hardware code not whitelisted"
    elif parser == "frames":
        yield frames.rtcm_frame(bytes(30)) + b"$GNGGA,,,,,,0,,,,,,,,*78\r\n"
        yield frames.spartn_frame(0, 0, bytes(40), time_tag=1)
    elif parser == "rtcm":
        yield rtcm.StationPosition(2003, 3.78e6, 9.0e5, 5.04e6).encode()
        yield rtcm.StationPosition(2003, 3.78e6, 9.0e5, 5.04e6, 1.5).encode()
    elif parser == "recording":
        said = frames.rtcm_frame(bytes(30)) + b"$GNGGA,,,,,,0,,,,,,,,*78\r\n"
        said += ubx.NavPvt(fix_ok=True, lat_deg=52.5, lon_deg=13.4).encode()
        record = recording.Record(1.0, recording.RecordKind.FROM_RECEIVER, said)
        yield recording.header({}) + record.encode()
        yield recording.write({}, [record])
    elif parser == "at":
        yield b'AT+CGSN=1\r\r\n+CGSN: "490154203237518"\r\n\r\nOK\r\n'
    elif parser == "ntrip":
        yield b"ICY 200 OK\r\n\r\n\xd3\x00"
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
        yield b"SOURCETABLE 200 OK\r\n\r\nSTR;NEAR;;RTCM 3.2;;;;;0;0;1\r\nENDSOURCETABLE\r\n"


def main() -> None:
    parser, corpus, seconds = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(parser)):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=16384",
        "-timeout=10",
        "-rss_limit_mb=512",
        "-verbosity=0",
        "-print_final_stats=1",
        f"-artifact_prefix={corpus}/crash-",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], PARSERS[parser])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
