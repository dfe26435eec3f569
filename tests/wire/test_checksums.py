"""Running checksums agree with those of single frames, for any part of any bytes."""

from __future__ import annotations

import binascii
import zlib

import pyrtcm
import pytest
import pyubx2
from hypothesis import given
from hypothesis import strategies as st

from ztpd.wire.checksums import Checks, Crc, Fletcher, Running

CRC8, CRC16 = Crc(8, 0x07), Crc(16, 0x1021)
CRC24, CRC32 = Crc(24, 0x864CFB), Crc(32, 0x04C11DB7, inverted=True)
CRCS = {CRC8: 1, CRC16: 2, CRC24: 3, CRC32: 4}
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@given(st.binary(max_size=200))
def test_crcs_agree_with_other_implementations(data: bytes) -> None:
    assert CRC16.of(data) == binascii.crc_hqx(data, 0)
    assert CRC24.of(data) == pyrtcm.calc_crc24q(data)
    reflected = zlib.crc32(data.translate(REVERSED))
    assert CRC32.of(data) == int(f"{reflected:032b}"[::-1], 2)


def test_published_check_values() -> None:
    assert CRC8.of(b"123456789") == 0xF4  # CRC-8/SMBUS
    assert CRC16.of(b"123456789") == 0x31C3  # CRC-16/XMODEM
    assert CRC24.of(b"123456789") == 0xCDE703  # CRC-24/LTE-A, the same with other bits
    assert CRC32.of(b"123456789") == 0xFC891918  # CRC-32/BZIP2


def extended(running: Running, data: bytes, cut: int) -> Running:
    running.extend(data[:cut])
    running.extend(data[cut:])
    return running


@pytest.mark.parametrize("crc", CRCS, ids=["8", "16", "24", "32"])
@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 180))
def test_a_running_crc_holds_where_the_single_one_does(
    crc: Crc, before: bytes, part: bytes, behind: bytes, cut: int
) -> None:
    whole = part + crc.of(part).to_bytes(CRCS[crc], "big")
    assert crc.holds(whole)
    data = before + whole + behind
    running = extended(crc.running(100, 1000), data, cut)
    begin, end = len(before), len(before) + len(whole)
    assert running.holds(100 + begin, 100 + end)
    for first, last in ((begin, end + 1), (begin + 1, end), (0, end), (begin, len(data))):
        if first <= last <= len(data):
            assert running.holds(100 + first, 100 + last) is crc.holds(data[first:last])


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 180))
def test_a_running_fletcher_holds_where_the_single_one_does(
    before: bytes, part: bytes, behind: bytes, cut: int
) -> None:
    whole = part + pyubx2.calc_checksum(part)
    data = before + whole + behind
    running = extended(Fletcher().running(7, 1000), data, cut)
    begin, end = len(before), len(before) + len(whole)
    assert running.holds(7 + begin, 7 + end)
    for first, last in ((begin, end + 1), (begin + 1, end), (0, end), (begin, len(data))):
        if first + 2 <= last <= len(data):
            holds = Fletcher().holds(data[first:last])
            assert running.holds(7 + first, 7 + last) is holds


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(4, 120)), max_size=30))
def test_checks_read_overlapping_parts_a_few_times_only(
    parts: list[tuple[int, int]],
) -> None:
    data = bytearray(range(256)) + bytearray(range(200))
    checks = Checks()
    for begin, length in sorted(parts):
        end = begin + length
        assert checks.hold(CRC24, data, 0, begin, end, 120) is CRC24.holds(bytes(data[begin:end]))
    assert checks.read_bytes <= 3 * len(data)
