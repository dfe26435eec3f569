"""Answers to AT commands, as modems really send them, and the one number in them."""

from __future__ import annotations

import binascii
import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.errors import ImeiInvalid
from ztpd.model import Imei, luhn_digit
from ztpd.wire.at import IMEI_COMMANDS, AtAnswer, Exchange, binary_noise, diagnostic_frame, imeis_in

IMEI = "490154203237518"
OTHER = "352656100367872"


def answer(command: str, stream: bytes) -> AtAnswer | None:
    return Exchange(command).feed(stream)


def reported(command: str, stream: bytes) -> str | None:
    result = answer(command, stream)
    assert result is not None, "no final result code"
    return next(iter(imeis_in(command, result)), None)


def test_the_first_command_is_the_one_defined_to_give_the_imei() -> None:
    assert IMEI_COMMANDS[0] == "AT+CGSN=1"
    assert Exchange(IMEI_COMMANDS[0]).request == b"AT+CGSN=1\r"


@pytest.mark.parametrize(
    ("command", "stream"),
    [
        ("AT+CGSN", b"\r\n490154203237518\r\n\r\nOK\r\n"),
        ("AT+CGSN=1", b'\r\n+CGSN: "490154203237518"\r\n\r\nOK\r\n'),
        ("AT+CGSN=1", b'\r\n+CGSN:"490154203237518"\r\nOK\r\n'),
        ("AT+CGSN=1", b"\r\n+CGSN:490154203237518\r\n\r\nOK\r\n"),
        ("AT+CGSN", b'\r\n+CGSN: "490154203237518"\r\n\r\nOK\r\n'),
        ("AT+CGSN", b'\r\n"490154203237518" \r\n\r\nOK\r\n'),
        ("AT+GSN", b"\r\n+GSN: 490154203237518\r\n\r\nOK\r\n"),
        ("AT#CGSN", b"\r\n#CGSN: 490154203237518\r\n\r\nOK\r\n"),
        ("ATI", b"\r\nManufacturer: huawei\r\nIMEI: 490154203237518\r\n\r\nOK\r\n"),
        ("AT+CGSN", b"AT+CGSN\r\r\n490154203237518\r\n\r\nOK\r\n"),
        ("AT+CGSN", b"AT+CGSN\r490154203237518\rOK\r"),
        ("AT+CGSN", b"490154203237518\nOK\n"),
        ("AT+CGSN", b"\r\r\n490154203237518\r\r\n\r\r\nOK\r\r\n"),
        ("AT+CGSN", b"490154203237518\r\n0\r"),
        ("AT+CGSN", b"\r\n490154203237518\r\n+CREG: 1\r\nOK\r\n"),
        ("AT+CGSN", b"\r\nRDY\r\n+CPIN: NOT INSERTED\r\n490154203237518\r\nSMS DONE\r\nOK\r\n"),
        ("AT+CGSN=1", b'\r\n123456789012\r\n+CGSN: "490154203237518"\r\nOK\r\n'),
    ],
    ids=[
        "bare",
        "quoted",
        "quoted without space",
        "prefixed without quotes",
        "prefix on the plain command",
        "quotes and a trailing space",
        "GSN",
        "Telit",
        "ATI",
        "echo",
        "CR only",
        "LF only",
        "CRCRLF",
        "ATV0",
        "URC before the final code",
        "URCs around",
        "caller id before a prefixed value",
    ],
)
def test_M03_M04_M07_every_shape_gives_the_number(command: str, stream: bytes) -> None:
    assert reported(command, stream) == IMEI


@pytest.mark.parametrize(
    "stream",
    [
        b"\r\n490154203237518\r\n\r\nERROR\r\n",
        b"\r\n490154203237518\r\n\r\n+CME ERROR: 13\r\n",
        b"\r\n490154203237518\r\n\r\n+CMS ERROR: 500\r\n",
        b"\r\n490154203237518\r\nNO CARRIER\r\n",
        b"490154203237518\r\n4\r",
    ],
)
def test_B30_a_number_counts_only_after_a_good_final_code(stream: bytes) -> None:
    assert reported("AT+CGSN", stream) is None


def test_without_a_final_code_there_is_no_answer() -> None:
    assert answer("AT+CGSN", b"\r\n490154203237518\r\n\r\nO") is None


@pytest.mark.parametrize(
    "text",
    [
        b"2623CKLQ0009707",
        b"A0000012345678",
        b"0f8fad5b-d9cb-469f-a165-70867728950e",
        b"AT+CGSN",
        b"",
        b"12345",
        b"1234567890123",
        b"123456789012345678",
        b"4901542032375AB",
        b"\xd9\xa4" * 15,
    ],
)
@pytest.mark.parametrize("command", IMEI_COMMANDS)
def test_M06_B28_numbers_of_other_lengths_are_ignored(command: str, text: bytes) -> None:
    assert reported(command, b"\r\n" + text + b"\r\nOK\r\n") is None


def test_M07_sixteen_digits_are_an_imeisv_only_where_the_imei_was_asked_for() -> None:
    stream = b"\r\n4901542032375101\r\nOK\r\n"
    assert reported("AT+CGSN=1", stream) == "4901542032375101"
    assert reported("AT+CGSN", stream) is None


def test_a_named_number_is_returned_at_any_length() -> None:
    assert reported("AT+CGSN=1", b'+CGSN: "12345"\r\nOK\r\n') == "12345"


def test_ati_lines_without_a_name_are_not_numbers() -> None:
    assert reported("ATI", b"\r\nSIM7600\r\n490154203237518\r\nOK\r\n") is None


@pytest.mark.parametrize("line", ["{}", '+CGSN: "{}"'])
def test_B31_FR51_of_two_valid_numbers_the_first_counts(line: str) -> None:
    stream = "".join(line.format(number) + "\r\n" for number in (OTHER, IMEI)) + "OK\r\n"
    assert reported("AT+CGSN", stream.encode()) == OTHER


def test_the_same_number_twice_is_one_number() -> None:
    assert reported("AT+CGSN", f"{IMEI}\r\n{IMEI}\r\nOK\r\n".encode()) == IMEI


def test_C42_a_second_bare_number_is_a_reason_to_ask_again() -> None:
    assert reported("AT+CGSN", f"123456789012345\r\n{IMEI}\r\nOK\r\n".encode()) is None


@pytest.mark.parametrize("noise", [b"\x00", b"\xff", b"\x80", b"\x1b", b"\x7f"])
@pytest.mark.parametrize(
    "stream", [b"%b\r\n490154203237518\r\nOK\r\n", b"\r\n4901542%b03237518\r\nOK\r\n"]
)
def test_C45_noise_is_never_stripped_into_a_number(noise: bytes, stream: bytes) -> None:
    result = answer("AT+CGSN", stream % noise)
    assert result is not None
    assert result.garbage
    assert imeis_in("AT+CGSN", result) == ()


def test_M09_C44_a_line_without_end_costs_bounded_memory_and_spoils_the_answer() -> None:
    exchange = Exchange("AT+CGSN")
    tracemalloc.start()
    for _ in range(1000):
        assert exchange.feed(b"7" * 1000) is None
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20_000
    result = exchange.feed(b"\r\n490154203237518\r\nOK\r\n")
    assert result is not None
    assert result.garbage


def test_C43_lines_without_number_cost_bounded_memory() -> None:
    exchange = Exchange("AT+CGSN")
    for _ in range(10_000):
        assert exchange.feed(b"an unknown code\r\n") is None
    result = exchange.feed(b"490154203237518\r\nOK\r\n")
    assert result is not None
    assert len(result.lines) <= 64
    assert imeis_in("AT+CGSN", result) == (IMEI,)


@pytest.mark.parametrize("final", ["ERROR", "+CME ERROR: 4", "+CME ERROR: operation not supported"])
def test_C48_every_form_of_refusal_is_one(final: str) -> None:
    result = answer("AT+CGSN=1", f"\r\n{final}\r\n".encode())
    assert result == AtAnswer(ok=False, final=final, lines=(), garbage=False)


def diag(payload: bytes) -> bytes:
    """A DIAG frame, its CRC-16/X-25 made from the standard library's unreflected CRC-16."""

    def mirrored(value: int, bits: int) -> int:
        return int(f"{value:0{bits}b}"[::-1], 2)

    crc = binascii.crc_hqx(bytes(mirrored(byte, 8) for byte in payload), 0xFFFF)
    body = payload + (mirrored(crc, 16) ^ 0xFFFF).to_bytes(2, "little")
    return body.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e") + b"\x7e"


def test_the_check_value_of_the_catalogue_of_crc_algorithms() -> None:
    assert diag(b"123456789") == b"123456789\x6e\x90\x7e"


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=20))
def test_D57_a_diagnostic_frame_is_known_by_its_check(payload: bytes, before: bytes) -> None:
    assert diagnostic_frame(before + b"\x7e" + diag(payload))


@given(st.text(max_size=80).map(str.encode))
def test_text_is_not_taken_for_a_diagnostic_frame(text: bytes) -> None:
    assert not diagnostic_frame(text)


def test_D57_a_run_of_binary_is_noise_and_text_is_not() -> None:
    assert binary_noise(b"\r\n" + b"\x00" * 32)
    assert binary_noise(b"\xff" * 16 + b"\xfe" * 16)
    assert not binary_noise(b"\x00" * 31 + b"A" + b"\x00" * 31)


# Must-hold properties

urc = st.sampled_from(
    [
        "+CREG: 1",
        "+CPIN: READY",
        "^SYSSTART",
        "%CTZV: 5",
        '+QIND: "csq",31,99',
        "RDY",
        "SMS DONE",
        "PB DONE",
        "RING",
        "*PSUTTZ: 2026",
        "$QCRMI",
        "#ECS",
        "+UUSORD: 0,3",
    ]
)
imei = st.text("0123456789", min_size=14, max_size=14).filter(lambda text: len(set(text)) > 1)
piece = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\r\n", b"\r", b"\n", b"OK\r\n", b"ERROR\r\n", b"0\r", b"AT+CGSN=1\r"]),
    imei.map(lambda body: f'+CGSN: "{body}{luhn_digit(body)}"\r\n'.encode()),
    imei.map(lambda body: f"{body}{luhn_digit(body)}\r\n".encode()),
    urc.map(lambda text: f"{text}\r\n".encode()),
)


@given(st.lists(piece, max_size=20).map(b"".join), st.sampled_from(IMEI_COMMANDS))
def test_any_stream_gives_numbers_of_right_form_or_none(stream: bytes, command: str) -> None:
    result = answer(command, stream)
    if result is None:
        return
    for text in imeis_in(command, result):
        assert text.isdigit()
        with contextlib.suppress(ImeiInvalid):
            assert len(Imei.normalise(text)[0].digits) == 15


@given(st.lists(piece, max_size=20).map(b"".join), st.lists(st.integers(1, 60)))
def test_M08_C39_the_answer_does_not_depend_on_how_the_bytes_are_cut(
    stream: bytes, cuts: list[int]
) -> None:
    whole = answer("AT+CGSN=1", stream)
    exchange, rest, result = Exchange("AT+CGSN=1"), stream, None
    for size in [*cuts, *[1] * len(stream)]:
        result = result or exchange.feed(rest[:size])
        rest = rest[size:]
    assert result == whole


@given(imei, st.lists(urc), st.lists(urc), st.booleans())
def test_M04_C40_unsolicited_lines_change_nothing(
    body: str, before: list[str], after: list[str], echo: bool
) -> None:
    number = body + luhn_digit(body)
    lines = [*before, number, *after, "OK"]
    if echo:
        lines.insert(0, "AT+CGSN")
    assert reported("AT+CGSN", "".join(f"\r\n{line}\r\n" for line in lines).encode()) == number


@given(imei)
def test_all_forms_of_one_identity_give_the_same_number(body: str) -> None:
    number = body + luhn_digit(body)
    for text in (body, number, number[:14] + "01", number + "01"):
        found = reported("AT+CGSN=1", f"\r\n{text}\r\nOK\r\n".encode())
        assert found == text
        assert Imei.normalise(found)[0].digits == number
    assert Imei.normalise(number) == (Imei(number), "")
