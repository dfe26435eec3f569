"""AT commands: a command out, its answer in, and the IMEI in an answer.

Sources: ITU-T V.250 sections 5.7 and 6.2 (result codes, ATE, ATV); 3GPP TS 27.007 sections 5.4
(+CGSN) and 9.2 (+CME ERROR). The answers of modems differ by maker; see docs/modems.md.
"""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from ztpd.errors import ImeiInvalid
from ztpd.model import Imei

IMEI_COMMANDS = ("AT+CGSN=1", "AT+CGSN", "AT+GSN", "AT#CGSN", "ATI")
"""Commands for the IMEI, in this order: the first is defined to give the IMEI, the next two "the
serial number", mostly the IMEI; then Telit's form; ATI has a line for it on some sticks."""

CR, CR_LF = b"\r", b"\r\n"
"""Ends of a command line: CR by V.250 section 6.2.1; Nordic's Serial LTE Modem application acts
on CR LF only, unless it was built otherwise."""

LINE_LIMIT = 512
_LINES_LIMIT = 64
_MOST_NOISE = 32

_LINE_ENDS = re.compile(rb"[\r\n]+")
_NOT_TEXT = re.compile(rb"[^\x20-\x7e\t]")
_VALUE = re.compile(r"(?:[+#]?CGSN|\+?GSN|IMEI):(.*)", re.IGNORECASE)
_UNSOLICITED = re.compile(r"[+^%#*$]|(?:RING|RDY|APP RDY|SMS DONE|PB DONE|NORMAL POWER DOWN)\b")
_OK = {"OK", "0"}  # the digits are the result codes of ATV0
_REFUSED = {"ERROR", "4", "NO CARRIER", "3", "COMMAND NOT SUPPORT", "TOO MANY PARAMETERS"}
_ERROR_TEXTS = ("+CME ERROR:", "+CMS ERROR:")
_SIM_BUSY = re.compile(r"\+CME ERROR:\s*(14|SIM busy)", re.IGNORECASE)
_BETWEEN_NUMBERS = re.compile(r'[\s,;/"]+')
_NUMBER = re.compile(r"(0x)?[0-9A-F]+", re.IGNORECASE)
_BINARY_RUN = re.compile(rb"[\x00\xfe\xff]{%d}" % _MOST_NOISE)


class AtAnswer(NamedTuple):
    """All lines up to the final result code, without echo and unsolicited lines."""

    ok: bool
    final: str  # "OK", "ERROR", "+CME ERROR: 13"
    lines: tuple[str, ...]
    garbage: bool  # bytes that are not text, or a line too long: the answer is unreliable

    @property
    def is_busy(self) -> bool:
        """The SIM is busy: the modem is starting, and will answer soon."""
        return _SIM_BUSY.fullmatch(self.final) is not None


class Exchange:
    """One command and its answer. Never raises; holds one line and the last lines only."""

    def __init__(self, command: str, *, end: bytes = CR) -> None:
        self.request = command.encode("ascii") + end
        self._echo = command.replace(" ", "")
        self._line = b""
        self._lines: deque[str] = deque(maxlen=_LINES_LIMIT)
        self._garbage = False

    def feed(self, data: bytes) -> AtAnswer | None:
        """The answer, once its final result code has come; bytes behind it are dropped.

        Lines end in any run of CR and LF, which covers every terminator seen in modems.
        """
        *whole, rest = _LINE_ENDS.split(self._line + data)
        for line in whole:
            answer = self._take(line)
            if answer:
                return answer
        self._line = rest[: LINE_LIMIT + 1]  # one too many, so that its end finds it too long
        return None

    def _take(self, raw: bytes) -> AtAnswer | None:
        if len(raw) > LINE_LIMIT or _NOT_TEXT.search(raw):
            self._garbage = True
            return None
        line = raw.decode("ascii").strip()
        if line in _OK:
            return self._answer(True, line)
        if line in _REFUSED or line.startswith(_ERROR_TEXTS):
            return self._answer(False, line)
        echo = line.replace(" ", "") == self._echo
        unsolicited = _UNSOLICITED.match(line) and not _VALUE.match(line)
        if line and not echo and not unsolicited:
            self._lines.append(line)
        return None

    def _answer(self, ok: bool, final: str) -> AtAnswer:
        return AtAnswer(ok, final, tuple(self._lines), self._garbage)


def imeis_in(command: str, answer: AtAnswer) -> tuple[str, ...]:
    """The numbers in an answer to ``command`` that are an IMEI, in their order.

    A single number is not checked yet; two or more, of a modem with several SIM slots, are valid.
    Empty for a refusal, for other identifiers (serial number, UUID, MEID), and for unreliable
    answers: noise, a bare number of another length, or several numbers with only one valid, since
    one may be unsolicited. Of several on one line (IMEI and software version, ESN and IMEI) the
    valid ones count. A number with its name in front wins over bare ones. Only ``AT+CGSN=1`` is
    defined to give the IMEI, so 16 digits (IMEISV) count from it alone.
    """
    if not answer.ok or answer.garbage:
        return ()
    named: dict[str, None] = {}
    bare: dict[str, None] = {}
    for line in answer.lines:
        match = _VALUE.match(line)
        for text in _numbers_on(match[1] if match else line):
            if match:
                named[text] = None
            elif command != "ATI":
                bare[text] = None
    found = tuple(named or bare)
    if len(found) > 1:
        valid = tuple(filter(_would_do, found))
        return valid if len(valid) > 1 else ()
    imei_command = command == "AT+CGSN=1"
    return tuple(
        text
        for text in found
        if len(text) in (14, 15, 17) or (imei_command and (named or len(text) == 16))
    )


def _numbers_on(text: str) -> list[str]:
    """The numbers on one line of an answer; of several those of 15 digits that are an IMEI."""
    found = [part for part in _BETWEEN_NUMBERS.split(text) if part]
    if not all(map(_NUMBER.fullmatch, found)):
        return []
    if len(found) > 1:
        return [part for part in found if len(part) == 15 and _would_do(part)]
    return [part for part in found if part.isdigit()]


def _would_do(text: str) -> bool:
    try:
        Imei.normalise(text)
    except ImeiInvalid:
        return False
    return True


def is_text(received: bytes) -> bool:
    """Whether ``received`` may be the end of a modem's output: ASCII, in lines."""
    tail = _LINE_ENDS.split(received)[-1]
    return not _NOT_TEXT.search(_LINE_ENDS.sub(b"", received)) and len(tail) <= LINE_LIMIT


def binary_noise(received: bytes) -> bool:
    """Whether ``received`` has a run of 32 bytes NUL, FE or FF, which AT text never has. It comes
    from diagnostic ports, and from a UART at another speed."""
    return _BINARY_RUN.search(received) is not None


def diagnostic_frame(received: bytes) -> bool:
    """Whether ``received`` has a whole Qualcomm DIAG frame: HDLC-like, 7E at its end, CRC right
    (RFC 1662 appendix C.2)."""
    for body in received.split(b"\x7e")[:-1]:
        escaped = re.sub(rb"\x7d(.)", lambda m: bytes([m[1][0] ^ 0x20]), body, flags=re.DOTALL)
        if len(escaped) > 2 and _crc16(escaped) == 0xF0B8:
            return True
    return False


def _crc16(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc
