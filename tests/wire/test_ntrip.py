"""NTRIP without I/O: the request, and the result for every kind of answer."""

from __future__ import annotations

import base64
import http.client
import io
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ztpd import __version__
from ztpd.errors import (
    AuthenticationUnknown,
    CasterBusy,
    CasterForbidden,
    CasterRedirect,
    ClientCertificateWanted,
    ConfigError,
    MountpointNotServed,
    MountpointUnknown,
    Retry,
    SessionClosed,
    SessionError,
    SessionProtocol,
    SessionRefused,
    TlsMismatch,
    ZtpdError,
)
from ztpd.model import NtripEndpoint, Secret
from ztpd.wire.ntrip import HEAD_LIMIT, Response, request
from ztpd.wire.sourcetable import sourcetable

RTCM = bytes.fromhex("d300133ed7d30202980edeef34b4bd62ac0941986f33360b98")
SPARTN = bytes.fromhex("7300122b5d0100")
V2 = b"HTTP/1.1 200 OK\r\nNtrip-Version: Ntrip/2.0\r\nContent-Type: gnss/data\r\n"
CHUNKED = V2 + b"Transfer-Encoding: chunked\r\n\r\n"
TABLE = (
    b"CAS;caster.example;2101;Example;None;0;GBR;0;0;http://caster.example\r\n"
    b"STR;NEAR-RTCM;PointPerfect;RTCM 3.3;;2;GPS+GLO;u-blox;GBR;0.00;0.00;1;1;x;none;B;N;500;\r\n"
    b"STR;NEAR-SPARTN;PointPerfect;SPARTN;;2;GPS+GLO;u-blox;GBR;0.00;0.00;1;1;x;none;B;N;500;\r\n"
    b"STR;BASE1;Roof;RTCM 3.3;;2;GPS;own;GBR;51.00;0.00;0;0;x;none;B;N;500;\r\n"
    b"ENDSOURCETABLE\r\n"
)


def endpoint(**changes: Any) -> NtripEndpoint:
    given: dict[str, Any] = {"host": "caster.example", "port": 2102, "mountpoint": "NEAR-RTCM"}
    return NtripEndpoint(**(given | changes))


def answer(
    data: bytes, *, mountpoint: str = "NEAR-RTCM", step: int = 0, closed: bool = False
) -> tuple[bytes, Response]:
    """The payload of ``data``, fed whole or in pieces of ``step`` bytes."""
    response = Response(mountpoint)
    step = step or max(1, len(data))
    payload = b"".join(response.feed(data[at : at + step]) for at in range(0, len(data), step))
    if closed:
        response.eof()
    return payload, response


def failure(data: bytes, **how: Any) -> ZtpdError:
    payload, response = answer(data, **{"closed": True} | how)
    assert payload == b""
    assert response.failure is not None
    return response.failure


# The request


def test_the_request_is_that_of_ntrip_2() -> None:
    asked = request(endpoint(username="user", password=Secret("secret")))
    assert asked == (
        b"GET /NEAR-RTCM HTTP/1.1\r\n"
        b"Host: caster.example:2102\r\n"
        b"User-Agent: NTRIP ztpd/" + __version__.encode() + b"\r\n"
        b"Accept: */*\r\n"
        b"Ntrip-Version: Ntrip/2.0\r\n"
        b"Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n\r\n"
    )


def test_version_1_is_asked_as_its_standard_does() -> None:
    asked = request(endpoint(version="1"))
    assert asked.startswith(b"GET /NEAR-RTCM HTTP/1.0\r\n")
    assert b"Ntrip-Version" not in asked
    assert b"\r\nUser-Agent: NTRIP " in asked


def test_a_position_goes_into_the_head_without_its_line_end() -> None:
    asked = request(endpoint(), gga=b"$GNGGA,1*00\r\n")
    assert b"\r\nNtrip-GGA: $GNGGA,1*00\r\nAccept-Encoding" in asked


@pytest.mark.parametrize("password", ["a:b", "pässwörd", "日本", "x" * 200, ""])
def test_R16_a_password_may_hold_anything(password: str) -> None:
    asked = request(endpoint(username="üser", password=Secret(password))).decode("ascii")
    coded = asked.partition("Authorization: Basic ")[2].partition("\r\n")[0]
    assert base64.b64decode(coded).decode() == f"üser:{password}"


def test_R16_a_user_name_with_a_colon_is_refused() -> None:
    with pytest.raises(ConfigError, match="username") as caught:
        request(endpoint(username="us:er"))
    assert caught.value.exit_status == 78
    assert "us:er" not in str(caught.value)


@pytest.mark.parametrize("name", ["A B", "A\r\nX-Evil: 1", "ü", "A?b#c", "A\x00"])
def test_no_mountpoint_can_add_a_line_to_the_request(name: str) -> None:
    asked = request(endpoint(mountpoint=name))
    line, *rest = asked.decode("ascii").split("\r\n")
    assert line.count(" ") == 2
    assert not any(one.startswith("X-Evil") for one in rest)


@pytest.mark.parametrize("host", ["a\r\nb", "a b", "", "bücher.example"])
def test_a_host_that_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="host"):
        request(endpoint(host=host))


def test_an_ipv6_address_is_bracketed() -> None:
    assert b"\r\nHost: [::1]:2102\r\n" in request(endpoint(host="::1"))


# Streams

PLAIN_HEADS = {
    "ICY": b"ICY 200 OK\r\n\r\n",
    "ICY, one line end": b"ICY 200 OK\r\n",
    "ICY, bare line feed": b"ICY 200 OK\n",
    "ICY, with headers": b"ICY 200 OK\r\nServer: NTRIP Caster 2.0\r\nDate: today\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n",
    "HTTP/1.1": V2 + b"\r\n",
    "HTTP/1.1, bare line feeds": b"HTTP/1.1 200 OK\nServer: x\n\n",
    "HTTP/1.1, no reason": b"HTTP/1.1 200\r\n\r\n",
    "HTTP/1.1, identity": V2 + b"Transfer-Encoding: identity\r\n\r\n",
    "HTTP/1.1, folded": V2 + b"Server: a\r\n b\r\n\r\n",
}


@pytest.mark.parametrize("head", PLAIN_HEADS.values(), ids=PLAIN_HEADS)
@pytest.mark.parametrize("data", [RTCM, SPARTN, b"\xb5\x62\x13\x00"], ids=["RTCM", "SPARTN", "UBX"])
@pytest.mark.parametrize("step", [0, 1, 2, 7])
def test_R05_every_form_of_yes_is_understood(head: bytes, data: bytes, step: int) -> None:
    payload, response = answer(head + data, step=step)
    assert payload == data
    assert response.accepted
    assert response.failure is None


@pytest.mark.parametrize("head", PLAIN_HEADS.values(), ids=PLAIN_HEADS)
def test_the_caster_need_not_send_data_to_be_understood(head: bytes) -> None:
    """A caster that waits for a position would wait without end."""
    assert answer(head)[1].accepted


def test_the_reason_in_the_head_is_named() -> None:
    assert answer(b"ICY 200 OK\r\n")[1].form == "ICY"
    assert answer(CHUNKED)[1].form == "HTTP/1.1 chunked"


def test_a_stream_ends_where_its_length_says() -> None:
    payload, response = answer(V2 + b"Content-Length: 3\r\n\r\nabcdef")
    assert payload == b"abc"
    assert isinstance(response.failure, SessionClosed)


def test_a_stream_ends_when_the_caster_closes() -> None:
    payload, response = answer(V2 + b"\r\n" + RTCM, closed=True)
    assert payload == RTCM
    assert isinstance(response.failure, SessionClosed)


LEGAL_CHUNKS = {
    "upper hex": b"A\r\n0123456789\r\n",
    "lower hex": b"a\r\n0123456789\r\n",
    "leading zeros": b"000000000000a\r\n0123456789\r\n",
    "extension": b'a;name="va;lue";flag\r\n0123456789\r\n',
    "blanks before it": b"a \t;x\r\n0123456789\r\n",
    "one byte each": b"".join(b"1\r\n%d\r\n" % digit for digit in range(10)),
    "two": b"4\r\n0123\r\n6\r\n456789\r\n",
}


@pytest.mark.parametrize("body", LEGAL_CHUNKS.values(), ids=LEGAL_CHUNKS)
@pytest.mark.parametrize(
    "end", [b"0\r\n\r\n", b"000;x\r\nA: b\r\nC: d\r\n\r\n"], ids=["", "trailer"]
)
@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_R06_legal_chunks_are_decoded(body: bytes, end: bytes, step: int) -> None:
    payload, response = answer(CHUNKED + body + end, step=step)
    assert payload == b"0123456789"
    assert isinstance(response.failure, SessionClosed)


ILLEGAL_CHUNKS = {
    "no hex": b"xyz\r\n",
    "empty size": b"\r\n",
    "sign": b"-1\r\n",
    "plus": b"+4\r\nabcd\r\n",
    "prefix": b"0x4\r\nabcd\r\n",
    "2^63": b"8000000000000000\r\n",
    "bare line feed": b"4\nabcd\r\n",
    "longer than it says": b"2\r\nabcd\r\n",
    "endless size line": b"4;" + b"x" * 300,
    "endless trailer": b"0\r\n" + b"X: y\r\n" * 2000,
}


@pytest.mark.parametrize("body", ILLEGAL_CHUNKS.values(), ids=ILLEGAL_CHUNKS)
@pytest.mark.parametrize("step", [0, 1])
def test_R06_illegal_chunks_end_the_session(body: bytes, step: int) -> None:
    payload, response = answer(CHUNKED + b"3\r\nabc\r\n" + body, step=step)
    assert payload.startswith(b"abc")
    assert payload in (b"abc", b"abcab")
    assert isinstance(response.failure, SessionProtocol)
    assert response.failure.retry is Retry.SERVER


@pytest.mark.parametrize("coding", [b"Content-Encoding: gzip", b"Transfer-Encoding: gzip, chunked"])
def test_R07_a_coding_that_was_not_asked_for_is_refused(coding: bytes) -> None:
    error = failure(V2 + coding + b"\r\n\r\n\x1f\x8b\x08\x00")
    assert isinstance(error, SessionProtocol)
    assert "gzip" in str(error)


# Refusals


def test_R01_401() -> None:
    error = failure(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nwho's it?")
    assert isinstance(error, SessionRefused)
    assert error.detail == "status 401 Unauthorized: who's it?"


@pytest.mark.parametrize("words", ["401 Unauthorized", "Unauthorized"])
def test_R01_the_words_of_the_status_are_not_said_twice(words: str) -> None:
    body = f"Content-Length: {len(words)}\r\n\r\n{words}".encode()
    error = failure(b"HTTP/1.1 401 Unauthorized\r\n" + body)
    assert error.detail == "status 401 Unauthorized"


def test_R01_a_401_of_a_single_line() -> None:
    """All that RTKLIB's str2str sends."""
    assert isinstance(failure(b"HTTP/1.0 401 Unauthorized\r\n"), SessionRefused)


def test_R02_403_is_about_the_credentials_as_401_is() -> None:
    error = failure(b"HTTP/1.1 403 Forbidden\r\n\r\n<h1>No</h1><p>way</p>")
    assert isinstance(error, SessionRefused)
    assert error.detail == "status 403 Forbidden: No way"
    assert error.needs_person


def test_R03_404_names_the_mountpoint() -> None:
    error = failure(b"HTTP/1.1 404 Not Found\r\n\r\n", mountpoint="NEAR-X")
    assert isinstance(error, MountpointUnknown)
    assert "NEAR-X" in str(error)


TABLE_HEADS = {
    "NTRIP 1": b"SOURCETABLE 200 OK\r\nContent-Type: text/plain\r\n\r\n",
    "NTRIP 2": b"HTTP/1.1 200 OK\r\nContent-Type: gnss/sourcetable\r\n\r\n",
    "as text": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=x\r\n\r\n",
    "with its length": b"SOURCETABLE 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TABLE),
}


@pytest.mark.parametrize("head", TABLE_HEADS.values(), ids=TABLE_HEADS)
@pytest.mark.parametrize("step", [0, 1, 13])
def test_R04_a_sourcetable_is_an_unknown_mountpoint(head: bytes, step: int) -> None:
    error = failure(head + TABLE, mountpoint="near-rtcm2", step=step, closed=False)
    assert isinstance(error, MountpointUnknown)
    assert "did you mean NEAR-RTCM" in str(error)


def test_R04_a_sourcetable_in_chunks() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: gnss/sourcetable\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(TABLE), TABLE)
    assert isinstance(failure(head + body, mountpoint="OTHER"), MountpointUnknown)


def test_R04_the_mountpoints_are_listed_where_no_name_is_near() -> None:
    error = failure(TABLE_HEADS["NTRIP 1"] + TABLE, mountpoint="zzzz")
    assert "it has NEAR-RTCM, NEAR-SPARTN, BASE1" in str(error)
    assert "none was named" in str(failure(TABLE_HEADS["NTRIP 1"] + TABLE, mountpoint=""))


def test_R04_a_listed_mountpoint_that_is_not_served_may_come_back() -> None:
    error = failure(TABLE_HEADS["NTRIP 1"] + TABLE, mountpoint="BASE1")
    assert isinstance(error, MountpointNotServed)
    assert error.retry is Retry.SERVER


def long_table(entries: int) -> bytes:
    line = (
        b"STR;M%06d;somewhere in the country;RTCM 3.2;;2;GPS;x;GBR;51.00;0.00;0;0;x;none;B;N;;\r\n"
    )
    return b"".join(line % number for number in range(entries))


@pytest.mark.parametrize("step", [0, 1448])
def test_FR29_the_mountpoint_is_found_in_a_table_of_a_megabyte(step: int) -> None:
    table = TABLE_HEADS["NTRIP 1"] + long_table(12_000)
    error = failure(table, mountpoint="M011000", step=step, closed=False)
    assert isinstance(error, MountpointNotServed)


def test_FR29_a_whole_table_without_the_mountpoint_proves_that_there_is_none() -> None:
    table = TABLE_HEADS["NTRIP 1"] + long_table(12_000) + b"ENDSOURCETABLE\r\n"
    error = failure(table, mountpoint="M12000", closed=False)
    assert isinstance(error, MountpointUnknown)
    assert len(str(error)) < 300


@pytest.mark.parametrize("entries", [1, 100, 12_000])
def test_FR29_a_table_that_is_cut_proves_nothing(entries: int) -> None:
    error = failure(TABLE_HEADS["NTRIP 1"] + long_table(entries)[:-40], mountpoint="zzzz")
    assert type(error) is SessionError
    assert error.retry is Retry.SERVER
    assert "bytes of it came" in str(error)


def test_FR29_a_table_shorter_than_its_length_proves_nothing() -> None:
    head = b"SOURCETABLE 200 OK\r\nContent-Length: 9999\r\n\r\n"
    assert type(failure(head + long_table(5), mountpoint="zzzz")) is SessionError


def test_FR29_an_endless_sourcetable_is_cut_and_takes_no_memory() -> None:
    response = Response("zzzz")
    response.feed(TABLE_HEADS["NTRIP 1"])
    fed = 0
    while response.failure is None:
        fed += len(response.feed(long_table(1000)) or long_table(1000))
        assert fed < 10 << 20
    assert type(response.failure) is SessionError


def test_the_sourcetable_is_read() -> None:
    found = sourcetable(TABLE)
    assert [entry.name for entry in found] == ["NEAR-RTCM", "NEAR-SPARTN", "BASE1"]
    assert [entry.format for entry in found] == ["RTCM 3.3", "SPARTN", "RTCM 3.3"]
    assert [entry.needs_gga for entry in found] == [True, True, False]


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nYour IP is BANNED for 6 hours",
        b"SOURCETABLE 200 OK\r\nContent-Type: text/plain\r\n\r\nBanned until tomorrow",
        b"HTTP/1.1 403 Banned\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nyou are in the sandbox",
        b"ERROR - go away\r\n",
    ],
)
def test_a_ban_is_reported_in_the_casters_words(said: bytes) -> None:
    assert isinstance(failure(said), CasterForbidden)


def test_a_mountpoint_named_sandbox_is_no_ban() -> None:
    table = b"STR;SANDBOX;x;RTCM 3;;;;;;;;0;\r\nENDSOURCETABLE\r\n"
    assert isinstance(failure(TABLE_HEADS["NTRIP 1"] + table), MountpointUnknown)


def test_a_page_in_place_of_a_stream_is_no_caster() -> None:
    error = failure(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>Log in</title>")
    assert isinstance(error, SessionProtocol)
    assert "Log in" in str(error)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_R14_a_troubled_caster_and_how_long_it_asks_to_wait(status: int) -> None:
    error = failure(b"HTTP/1.1 %d Later\r\nRetry-After: 120\r\n\r\n" % status)
    assert type(error) is SessionError
    assert error.retry is Retry.SERVER
    assert error.retry_after_s == 120


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 403 Forbidden\r\n\r\nUser is already logged in",
        b"HTTP/1.1 401 Unauthorized\r\n\r\nMaximum number of connections reached",
        b"HTTP/1.1 409 Conflict\r\n\r\nAccount in use",
        b"HTTP/1.1 403 Too many concurrent sessions\r\n\r\n",
        b"ICY 403 Client limit reached\r\n\r\n",
        b"ERROR - Server full\r\n",
    ],
)
def test_R14_a_caster_that_allows_no_further_session_may_do_so_later(said: bytes) -> None:
    error = failure(said)
    assert type(error) is CasterBusy
    assert error.retry is Retry.SERVER
    assert not error.needs_person


@pytest.mark.parametrize(
    "words", [b"Too many failed logins", b"Maximum login attempts, address blocked", b"Limits"]
)
def test_R10_too_many_failures_are_no_busy_caster(words: bytes) -> None:
    assert type(failure(b"HTTP/1.1 403 Forbidden\r\n\r\n" + words)) is SessionRefused


@pytest.mark.parametrize(
    ("text", "floor_s"),
    [(b"0", 0), (b"1000000000", 1e9), (b"-1", None), (b"abc", None), (b"9" * 30, None)],
)
def test_R14_a_retry_after_that_is_no_number_of_seconds_is_passed_over(
    text: bytes, floor_s: float | None
) -> None:
    error = failure(b"HTTP/1.1 503 Later\r\nRetry-After: " + text + b"\r\n\r\n")
    assert error.retry_after_s == floor_s


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    error = failure(b"HTTP/1.1 %d Moved\r\nLocation: http://evil/\r\n\r\n" % status)
    assert isinstance(error, CasterForbidden)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"ERROR - Bad Password\r\n", SessionRefused),
        (b"ERROR - Mount Point Taken or Invalid\r\n", MountpointUnknown),
        (b"ERROR - too many clients\r\n", CasterForbidden),
        (b"Invalid mount point\r\n", MountpointUnknown),
        (b"Mountpoint not available\r\n", MountpointUnknown),
        (b"Authentication failed\r\n", SessionRefused),
        (b"Unauthorized\r\n", SessionRefused),
    ],
)
def test_the_error_line_of_ntrip_1(line: bytes, kind: type[ZtpdError]) -> None:
    assert isinstance(failure(line), kind)


def test_a_refusal_stands_even_where_its_words_cannot_be_read() -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\nContent-Encoding: gzip\r\n\r\n"
    assert isinstance(failure(head + b"\x1f\x8b"), SessionRefused)


def test_a_refusal_without_its_words_stands_when_no_more_comes() -> None:
    response = Response("M")
    response.feed(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nonly")
    assert response.failure is None
    assert response.status == 401
    response.eof()
    assert isinstance(response.failure, SessionRefused)


def test_text_from_a_caster_is_made_safe_to_print() -> None:
    error = failure(b"HTTP/1.1 403 \x1b[31mNo\r\n\r\n\x00\x07\xff line\r\nline " + b"x" * 5000)
    assert str(error).isprintable()
    assert len(str(error)) < 400


# Heads that are none


@pytest.mark.parametrize("cut", range(len(V2) + 2))
def test_R08_a_head_cut_anywhere_is_no_answer_yet(cut: int) -> None:
    payload, response = answer((V2 + b"\r\n")[:cut])
    assert (payload, response.accepted, response.failure) == (b"", False, None)
    response.eof()
    assert isinstance(response.failure, SessionClosed)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\n" + b"X-Pad: " + b"a" * 2**20, V2 + b"X: y\r\n" * 2**18, b"H" * 2**20],
    ids=["one line", "many lines", "no line"],
)
@pytest.mark.parametrize("step", [0, 1000])
def test_R08_a_head_of_a_mebibyte_is_cut_at_8_kib(head: bytes, step: int) -> None:
    error = failure(head, step=step, closed=False)
    assert isinstance(error, SessionProtocol)
    assert str(HEAD_LIMIT) in str(error)


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/2 200\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"ICY 200 OK\r\nServer: x\r\n\xd3\x00\x13\n\r\n",
    ],
)
def test_an_answer_of_another_protocol_is_named(head: bytes) -> None:
    assert isinstance(failure(head), SessionProtocol)


@pytest.mark.parametrize(
    "said",
    [
        bytes.fromhex("15030300020246"),
        b"HTTP/1.1 400 Bad Request\r\n\r\nThe plain HTTP request was sent to HTTPS port",
    ],
    ids=["alert", "nginx"],
)
def test_R15_a_tls_port_asked_in_plain_text(said: bytes) -> None:
    error = failure(said)
    assert isinstance(error, TlsMismatch)
    assert "[ntrip] tls" in str(error)


# Heads as casters really write them

LENIENT = {
    "no version": b"HTTP 200 OK\r\nServer: x\r\n\r\n",
    "an empty line before ICY": b"\r\nICY 200 OK\r\n\r\n",
    "two empty lines before HTTP": b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "lower case": b"icy 200 ok\r\n\r\n",
    "a blank before": b" ICY 200 OK\r\n\r\n",
    "a blank before the colon": b"HTTP/1.0 200 OK\r\nServer : x\r\nDate\t: today\r\n\r\n",
    "a blank before the colon, ICY": b"ICY 200 OK\r\nServer : x\r\n\r\n",
    "text/plain": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n",
    "text/html": b"HTTP/1.0 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n",
    "chunked that is not": CHUNKED,
}


@pytest.mark.parametrize("head", LENIENT.values(), ids=LENIENT)
@pytest.mark.parametrize("data", [RTCM, SPARTN], ids=["RTCM", "SPARTN"])
@pytest.mark.parametrize("step", [0, 1, 7])
def test_FR30_heads_that_keep_to_no_standard_are_read(head: bytes, data: bytes, step: int) -> None:
    payload, response = answer(head + data, step=step)
    assert payload == data
    assert response.accepted
    assert response.failure is None


def test_FR30_a_stream_in_chunks_under_the_name_of_a_text_is_read() -> None:
    head = CHUNKED.replace(b"gnss/data", b"text/plain")
    payload, response = answer(head + b"%x\r\n%b\r\n" % (len(RTCM), RTCM))
    assert (payload, response.accepted) == (RTCM, True)


def test_FR30_a_sentence_in_place_of_headers_is_shown() -> None:
    error = failure(b"SOURCETABLE 200 OK\r\nNO SOURCETABLE AVAILABLE\r\n")
    assert isinstance(error, MountpointUnknown)
    assert '"NO SOURCETABLE AVAILABLE"' in str(error)


def test_FR30_a_sentence_behind_the_status_line_is_shown() -> None:
    error = failure(b"HTTP/1.0 200 OK\r\nSorry, closed on Sundays\r\n\r\n")
    assert "Sorry, closed on Sundays" in str(error)


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        (b"HTTP/1.1 200 OK\r\nbad name: \x1b[31mx\r\n\r\n", '"bad name: [31mx"'),
        (b"EHLO there\r\n", '"EHLO there"'),
        (CHUNKED + b"0xfe\r\n", '"0xfe"'),
    ],
)
def test_FR30_the_line_that_cannot_be_read_is_quoted(said: bytes, quoted: str) -> None:
    error = failure(said)
    assert isinstance(error, SessionProtocol)
    assert quoted in str(error)
    assert str(error).isprintable()


# Refusals that have a cure of their own


@pytest.mark.parametrize(
    "asked", [b'Digest realm="x", qop="auth", nonce="1"', b"Bearer", b"Negotiate"]
)
def test_FR31_an_authentication_other_than_basic_is_named(asked: bytes) -> None:
    error = failure(b"HTTP/1.1 401 No\r\nWWW-Authenticate: " + asked + b"\r\n\r\n")
    assert isinstance(error, AuthenticationUnknown)
    assert asked.split()[0].decode() in str(error)


@pytest.mark.parametrize(
    "asked", [b'Basic realm="Digest"', b'Digest realm="x", Basic realm="x"', b"basic"]
)
def test_FR31_where_basic_is_offered_a_401_is_about_the_credentials(asked: bytes) -> None:
    error = failure(b"HTTP/1.1 401 No\r\nWWW-Authenticate: " + asked + b"\r\n\r\n")
    assert isinstance(error, SessionRefused)


def test_FR31_the_target_of_a_redirect_is_shown_without_a_password() -> None:
    error = failure(
        b"HTTP/1.1 302 Found\r\nLocation: http://me:secret@other.example:2101/NEAR\x07\r\n\r\n"
    )
    assert isinstance(error, CasterRedirect)
    assert "http://other.example:2101/NEAR" in str(error)
    assert "secret" not in str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize(
    "words",
    [
        b"Client sent an HTTP request to an HTTPS server.",
        b"The plain HTTP request was sent to HTTPS port",
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.",
        b"This combination of host and port requires TLS.",
    ],
)
def test_FR31_plain_http_on_a_tls_port_is_named_for_any_server(words: bytes) -> None:
    assert isinstance(failure(b"HTTP/1.0 400 Bad Request\r\n\r\n" + words), TlsMismatch)


def test_FR31_a_client_certificate_that_is_wanted_is_named() -> None:
    error = failure(
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n"
        b"<h1>400 Bad Request</h1><center>No required SSL certificate was sent</center>"
    )
    assert isinstance(error, ClientCertificateWanted)


# Properties

payloads = st.lists(st.binary(min_size=1, max_size=60), max_size=8)
splits = st.randoms(use_true_random=False)


def pieces(data: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted(chance.sample(range(len(data) + 1), min(len(data), chance.randint(0, 9))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def chunk(data: bytes, chance: random.Random) -> bytes:
    size = f"{len(data):x}"
    size = "0" * chance.randint(0, 3) + chance.choice([size, size.upper()])
    extension = chance.choice(["", ";a", ";a=b", ' ;a="b;c"'])
    return f"{size}{extension}\r\n".encode() + data + b"\r\n"


@given(payloads, splits)
def test_chunks_in_any_form_and_split_give_their_payload(
    parts: list[bytes], chance: random.Random
) -> None:
    coded = b"".join(chunk(part, chance) for part in parts)
    response = Response("M")
    payload = b"".join(response.feed(piece) for piece in pieces(CHUNKED + coded, chance))
    assert payload == b"".join(parts)
    assert response.failure is None


class _Canned:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@given(payloads, splits, st.booleans())
def test_the_standard_library_reads_the_same(
    parts: list[bytes], chance: random.Random, chunked: bool
) -> None:
    if chunked:
        data = CHUNKED + b"".join(chunk(part, chance) for part in parts) + b"0\r\nA: b\r\n\r\n"
    else:
        data = V2 + b"\r\n" + b"".join(parts)
    oracle = http.client.HTTPResponse(_Canned(data))  # type: ignore[arg-type]
    oracle.begin()
    response = Response("M")
    assert b"".join(map(response.feed, pieces(data, chance))) == oracle.read()


@given(st.sampled_from(list(PLAIN_HEADS.values())), payloads, splits)
def test_no_byte_of_a_head_is_payload(
    head: bytes, parts: list[bytes], chance: random.Random
) -> None:
    data = RTCM + b"".join(parts)
    response = Response("M")
    assert b"".join(map(response.feed, pieces(head + data, chance))) == data


STARTS = [b"", CHUNKED, *PLAIN_HEADS.values(), *TABLE_HEADS.values(), b"HTTP/1.1 401 No\r\n"]


@given(st.sampled_from(STARTS), st.binary(max_size=400), splits)
@example(b"ICY 200 OK\r\n", b"\r", random.Random(1))
@example(b"", b"\x15", random.Random(1))
@example(CHUNKED, b"1\r\n\r\n\r\n\r\n", random.Random(1))
@example(TABLE_HEADS["NTRIP 2"], b"\xd3\x00", random.Random(1))
def test_any_bytes_in_any_split_end_alike(
    start: bytes, noise: bytes, chance: random.Random
) -> None:
    whole, first = answer(start + noise, closed=True)
    second = Response("NEAR-RTCM")
    cut = b"".join(map(second.feed, pieces(start + noise, chance)))
    second.eof()
    assert cut == whole
    assert (type(second.failure), str(second.failure)) == (type(first.failure), str(first.failure))
    assert isinstance(first.failure, ZtpdError)
    assert (first.status, first.accepted) == (second.status, second.accepted)
    if start in TABLE_HEADS.values() and whole:  # a stream under the name of a text
        assert start.startswith(b"HTTP/")
        assert whole == noise
        assert noise[:1] in (b"\xd3", b"\x73", b"\xb5")


@given(st.binary(max_size=4000))
def test_any_sourcetable_is_read_without_an_exception(text: bytes) -> None:
    for entry in sourcetable(b"STR;" + text):
        assert entry.name.isprintable()
        assert len(entry.name) <= 64
