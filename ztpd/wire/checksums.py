"""Checksums of frames: directly over one frame, and shared by many that overlap.

Each byte of a hostile stream may begin a frame of a thousand bytes. Checked one by one, every byte
would be read a thousand times. A running checksum reads each byte once: the checksum of any part
follows from the sums before and after it, since a CRC without reflection is linear in its bytes
(division by the polynomial over GF(2)).

Sources: RTCM 10403.3, section 4.2 (CRC-24Q); SPARTN 2.0.2 interface control document, section 3
(8, 16, 24 and 32 bits); u-blox ZED-F9P interface description, "UBX checksum" (8-bit Fletcher).
"""

from __future__ import annotations

from array import array
from functools import cached_property
from itertools import accumulate
from typing import Protocol

from ztpd.wire import nmea, ubx

_CRC_BYTES = 1200  # the longest part with a CRC: SPARTN has 1100 bytes, RTCM 3 has 1029
_AHEAD = 1024  # bytes a running checksum reads beyond the frame in question, if they are there


class Running(Protocol):
    """Sums over consecutive bytes of a stream, which give the checksum of any part of them."""

    begin: int
    end: int
    limit: int  # to be given up there, so that memory is bounded

    def extend(self, data: bytes) -> None: ...
    def holds(self, begin: int, end: int) -> bool:
        """True if the bytes from ``begin`` to ``end`` end with their checksum. Positions count
        from the beginning of the stream."""
        ...


class Checksum(Protocol):
    def holds(self, data: bytes) -> bool:
        """True if ``data`` ends with its checksum."""
        ...

    def running(self, begin: int, limit: int, /) -> Running | None:
        """None where no two frames with this checksum overlap."""
        ...


class Checks:
    """Checks the frames of one stream.

    The first frame over some bytes is checked directly. Where that fails, frames that overlap it
    are checked by running checksums.
    """

    def __init__(self) -> None:
        self.read_bytes = 0  # by checksums
        self._failed_to = 0  # position behind the bytes whose check was wrong
        self._running: dict[Checksum, Running] = {}

    def hold(
        self, checksum: Checksum, data: bytearray, at: int, begin: int, end: int, limit: int
    ) -> bool:
        """Whether bytes ``begin`` to ``end`` of ``data`` end with their ``checksum``.

        ``at`` is the position of ``data`` in the stream. No frame with this checksum is longer
        than ``limit`` bytes.
        """
        first, last = at + begin, at + end
        running = self._running.get(checksum)
        if running is None or not running.begin <= first <= running.end or last > running.limit:
            running = None
            if first < self._failed_to:
                running = checksum.running(first, first + 2 * limit)
            if running is None:
                self._forget_before(first)
                self.read_bytes += end - begin
                holds = checksum.holds(bytes(data[begin:end]))
                if not holds and last > self._failed_to:
                    self._failed_to = last
                return holds
            self._running[checksum] = running
        if running.end < last:
            more = bytes(data[running.end - at : min(end + _AHEAD, running.limit - at)])
            self.read_bytes += len(more)
            running.extend(more)
        if running.holds(first, last):
            return True
        if last > self._failed_to:
            self._failed_to = last
        return False

    def _forget_before(self, position: int) -> None:
        if self._running:
            self._running = {
                key: kept for key, kept in self._running.items() if kept.end > position
            }


class Crc:
    """A CRC of 8 to 32 bits, most significant bit first."""

    def __init__(self, width: int, polynomial: int, *, inverted: bool = False) -> None:
        """``inverted``: the register begins with ones and is inverted at the end, as in CRC-32;
        else it begins with zeros and is sent as it is."""
        self._width = width
        self._mask = (1 << width) - 1
        self.initial = self._mask if inverted else 0
        table, of_bit = [0], polynomial
        for _ in range(8):  # a CRC is linear: that of a byte is the sum of those of its bits
            table += [of_bit ^ of_others for of_others in table]
            of_bit <<= 1
            if of_bit > self._mask:
                of_bit ^= polynomial | 1 << width
        self._table = tuple(table)
        # The register behind a part that ends with its CRC is the same for every such part.
        self.residue = self._register(self._mask.to_bytes(width // 8, "big"), 0) if inverted else 0

    def _register(self, data: bytes, register: int) -> int:
        """The register behind ``data``, where it was ``register`` before."""
        table, mask, top = self._table, self._mask, self._width - 8
        for byte in data:
            register = register << 8 & mask ^ table[register >> top ^ byte]
        return register

    def of(self, data: bytes) -> int:
        """The CRC to send behind ``data``."""
        return self._register(data, self.initial) ^ self.initial

    def holds(self, data: bytes) -> bool:
        return self._register(data, self.initial) == self.residue

    def running(self, begin: int, limit: int) -> Running:
        return _RunningCrc(self, begin, limit)

    def follow(self, registers: list[int], data: bytes) -> None:
        """Append the register behind each byte of ``data``."""
        table, mask, top = self._table, self._mask, self._width - 8
        register, append = registers[-1], registers.append
        for byte in data:
            register = register << 8 & mask ^ table[register >> top ^ byte]
            append(register)

    @cached_property
    def powers(self) -> array[int]:
        """``n * x^(4 * i)`` modulo the polynomial at ``16 * i + n``: the register ``4 * i`` zero
        bits later, for each of its groups of four bits. 150 kB, made for a hostile stream only."""
        mask, top = self._mask, self._width - 4
        folded = self._table[:16]  # the polynomial to subtract for 4 bits shifted out
        row = list(range(16))
        powers = array("I")
        for _ in range(2 * _CRC_BYTES + self._width // 4):
            powers.extend(row)
            row = [value << 4 & mask ^ folded[value >> top] for value in row]
        return powers


class _RunningCrc:
    def __init__(self, crc: Crc, begin: int, limit: int) -> None:
        self.begin = self.end = begin
        self.limit = limit
        self._crc = crc
        self._powers, self._initial, self._residue = crc.powers, crc.initial, crc.residue
        self._registers = [0]

    def extend(self, data: bytes) -> None:
        self._crc.follow(self._registers, data)
        self.end += len(data)

    def holds(self, begin: int, end: int) -> bool:
        registers, powers = self._registers, self._powers
        found = registers[end - self.begin] ^ self._residue
        value = registers[begin - self.begin] ^ self._initial
        row = (end - begin) << 5
        while value:
            found ^= powers[row | value & 15] ^ powers[row + 16 | value >> 4 & 15]
            value >>= 8
            row += 32
        return not found


class Fletcher:
    """The 8-bit Fletcher checksum of UBX (RFC 1145): two sums, modulo 256."""

    def holds(self, data: bytes) -> bool:
        return ubx.checksum(data[:-2]) == data[-2:]

    def running(self, begin: int, limit: int) -> Running:
        return _RunningFletcher(begin, limit)


class _RunningFletcher:
    def __init__(self, begin: int, limit: int) -> None:
        self.begin = self.end = begin
        self.limit = limit
        self._data = bytearray()
        self._sums = [0]
        self._sums_of_sums = [0]

    def extend(self, data: bytes) -> None:
        sums = [*accumulate(data, initial=self._sums[-1])]
        self._sums_of_sums += [*accumulate(sums[1:], initial=self._sums_of_sums[-1])][1:]
        self._sums += sums[1:]
        self._data += data
        self.end += len(data)

    def holds(self, begin: int, end: int) -> bool:
        sums, sums_of_sums = self._sums, self._sums_of_sums
        first, last = begin - self.begin, end - self.begin - 2
        count, before = last - first, sums[first]
        if self._data[last] != sums[last] - before & 0xFF:
            return False
        second = sums_of_sums[last] - sums_of_sums[first] - count * before
        return self._data[last + 1] == second & 0xFF


class SentenceXor:
    """Exclusive or of an NMEA sentence from behind its "$". No two overlap: each has one "$"."""

    def holds(self, data: bytes) -> bool:
        return nmea.checksum(data[:-5]) == int(data[-4:-2], 16)

    def running(self, _begin: int, _limit: int) -> None:
        return None
