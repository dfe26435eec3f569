"""The journal: no secret in any line, few lines, the right handler."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import socket
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ztpd import events, log
from ztpd.errors import ConnectTimeout, ResolveFailed, ZtpNotListed
from ztpd.model import Secret

CANARY = "0fa4e7c2-canary-9a1b"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAcanary\nAgEAAoIBAQ==\n"
    "-----END RSA PRIVATE KEY-----\n"
)
logger = logging.getLogger("ztpd.test")


@pytest.fixture
def own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undoes the changes of `setup`, and removes the secrets of these tests."""
    root, ztpd = logging.getLogger(), logging.getLogger("ztpd")
    before = root.handlers[:], root.level, ztpd.level
    monkeypatch.setattr(log, "redaction", log.Redaction())
    yield
    root.handlers[:], level, ztpd_level = before
    root.setLevel(level)
    ztpd.setLevel(ztpd_level)


@pytest.fixture
def stream(own_logging: None) -> io.StringIO:
    """Where lines of level DEBUG and above go; the canary is known as a secret."""
    stream = io.StringIO()
    log.setup("debug", stream=stream)
    log.redaction.hide([Secret(CANARY)])
    return stream


def _as_argument() -> None:
    logger.info("token %s", CANARY)


def _as_keyed_argument() -> None:
    logger.info("token %(token)s", {"token": CANARY})


def _in_a_container() -> None:
    logger.info("request %r", {"token": CANARY})


def _in_the_message() -> None:
    logger.info(f"token {CANARY}")


def _in_upper_case() -> None:
    logger.info("token %s", CANARY.upper())


def _in_an_exception_shown() -> None:
    logger.info("failed: %s", ValueError(CANARY))


def _in_a_traceback() -> None:
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("failed")


def _in_a_chained_traceback() -> None:
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError:
        logger.exception("failed")


def _in_a_crash() -> None:
    log.crash("relay", RuntimeError(CANARY))


def _in_a_field() -> None:
    log.emit(events.RELOADED, note=CANARY)


def _in_an_error() -> None:
    log.FailureLog().record(ZtpNotListed(f"the service said {CANARY}"))


def _as_a_secret() -> None:
    logger.info("token %s %r", Secret(CANARY), [Secret(CANARY)])


WAYS = [
    _as_argument,
    _as_keyed_argument,
    _in_a_container,
    _in_the_message,
    _in_upper_case,
    _in_an_exception_shown,
    _in_a_traceback,
    _in_a_chained_traceback,
    _in_a_crash,
    _in_a_field,
    _in_an_error,
    _as_a_secret,
]


@pytest.mark.parametrize("way", WAYS)
def test_P11_a_known_secret_is_masked(way: Callable[[], None], stream: io.StringIO) -> None:
    way()
    assert "***" in stream.getvalue()
    assert CANARY not in stream.getvalue().lower()


@pytest.mark.parametrize("way", WAYS)
def test_P11_a_known_secret_is_masked_in_journal_fields(
    way: Callable[[], None], journal: list[dict[str, Any]]
) -> None:
    log.setup("debug")
    log.redaction.hide([Secret(CANARY)])
    way()
    assert journal
    assert CANARY not in repr(journal).lower()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PEM, id="lines"),
        pytest.param(PEM.replace("\n", "\\n"), id="as JSON has it"),
        pytest.param(PEM[:60], id="cut short"),
        pytest.param(f'{{"privateKey": "{PEM}", "x": 1}}', id="in the midst"),
    ],
)
def test_P11_unknown_PEM_is_masked(text: str, stream: io.StringIO) -> None:
    logger.info("answer %s", text)
    logger.error("failed", exc_info=ValueError(text))
    assert "MIIE" not in stream.getvalue()
    assert stream.getvalue().count("***") == 2


def test_of_two_secrets_one_within_the_other_no_rest_is_left(stream: io.StringIO) -> None:
    log.redaction.hide([Secret("abcd"), Secret("abcdefgh")])
    logger.info("it is abcdefgh")
    assert "efgh" not in stream.getvalue()


def test_secrets_are_taken_literally(stream: io.StringIO) -> None:
    log.redaction.hide([Secret("a+(b|c")])
    logger.info("it is a+(b|c")
    assert stream.getvalue().endswith("it is ***\n")


def test_very_short_secrets_do_not_blot_out_the_log(stream: io.StringIO) -> None:
    log.redaction.hide([Secret(""), Secret("e")])
    logger.info("one event")
    assert stream.getvalue().endswith("one event\n")


def test_a_line_has_time_event_and_text(stream: io.StringIO) -> None:
    log.emit(events.STOPPED)
    assert re.fullmatch(r"\d\d:\d\d:\d\d daemon.stopped +ztpd stopped\n", stream.getvalue())


def test_a_line_names_its_level_where_it_matters(stream: io.StringIO) -> None:
    log.emit(events.UNKNOWN_KEY, path="/etc/ztpd/ztpd.toml", key="ztp.tag", hint="")
    assert " warning: /etc/ztpd/ztpd.toml: unknown key ztp.tag. " in stream.getvalue()


def test_a_failure_has_its_cause_the_next_try_and_advice(stream: io.StringIO) -> None:
    log.FailureLog().record(ResolveFailed("api.example.net"), retry_in_s=42.3)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(
        " warning: the host name could not be resolved: api.example.net; next try in 42 s. "
        + ResolveFailed.advice
    )


def test_T9_one_event_is_one_line_for_any_text_of_a_peer(stream: io.StringIO) -> None:
    log.FailureLog().record(ZtpNotListed("no\r\n12:00:00 daemon.state all is well\x1b[2J\u2028"))
    (line,) = stream.getvalue().splitlines()
    assert "no..12:00:00" in line
    assert "\x1b" not in line


def test_D02_a_crash_comes_with_its_traceback_once(stream: io.StringIO) -> None:
    try:
        raise RuntimeError("a bug")
    except RuntimeError as error:
        log.crash("relay", error)
    said = stream.getvalue()
    assert "error: internal error in relay: RuntimeError: a bug" in said
    assert said.count("Traceback (most recent call last)") == 1


def test_level_hides_lower_levels(own_logging: None) -> None:
    stream = io.StringIO()
    log.setup("warning", stream=stream)
    log.emit(events.STOPPED)
    assert stream.getvalue() == ""


def test_libraries_log_warnings_and_errors_only(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.client").info("chatter")
    logging.getLogger("aiohttp.client").warning("trouble")
    assert "chatter" not in stream.getvalue()
    assert "trouble" in stream.getvalue()


def test_setting_up_again_replaces_the_handler(own_logging: None) -> None:
    first, second = io.StringIO(), io.StringIO()
    log.setup(stream=first)
    log.setup(stream=second)
    log.emit(events.STOPPED)
    assert first.getvalue() == ""
    assert second.getvalue().count("ztpd stopped") == 1


class _Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def _levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        f"{record.levelname} {record.__dict__['ZTPD_EVENT']}"
        for record in caplog.records
        if record.name == "ztpd"
    ]


def test_D20_the_first_failure_is_logged_and_repeats_are_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = log.FailureLog(_Clock())
    for _ in range(3):
        failures.record(ResolveFailed("host"))
    assert _levels(caplog) == ["WARNING net.dns", "DEBUG net.dns", "DEBUG net.dns"]


def test_D20_FR71_an_outage_has_one_line_when_it_begins_and_one_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = _Clock()
    failures = log.FailureLog(clock)
    for _ in range(241):  # one each second for four minutes
        failures.record(ResolveFailed("caster.example"))
        clock.now_s += 1
    failures.clear()
    reported = [line for line in _levels(caplog) if not line.startswith("DEBUG")]
    assert reported == ["WARNING net.dns", "INFO log.outage_over"]
    assert caplog.records[-1].getMessage() == (
        "works again after 4 min; failures: 241, "
        "the first was: the host name could not be resolved: caster.example"
    )


def test_D20_an_outage_of_days_has_a_line_a_day(caplog: pytest.LogCaptureFixture) -> None:
    clock = _Clock()
    failures = log.FailureLog(clock)
    for _ in range(3 * 24):
        failures.record(ResolveFailed("host"))
        clock.now_s += 3600
    reported = [line for line in _levels(caplog) if not line.startswith("DEBUG")]
    assert reported == ["WARNING net.dns"] + ["INFO log.suppressed"] * 2
    text = next(each.getMessage() for each in caplog.records if each.levelname == "INFO")
    assert text == "the host name could not be resolved: host; 24 more times in the last 24 h"


def test_FR71_one_failure_that_passes_has_no_second_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = log.FailureLog(_Clock())
    failures.record(ResolveFailed("host"))
    assert failures.count == 1
    failures.clear()
    assert failures.count == 0
    assert _levels(caplog) == ["WARNING net.dns"]


def test_FR71_no_field_begins_with_its_separator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log.emit(events.FIX, fix="3D", detail=", 20 satellites")
    log.emit(events.RELOADED, note=": [ntrip] changed")
    assert caplog.records[0].getMessage() == "fix: 3D, 20 satellites"
    assert caplog.records[0].__dict__["ZTPD_DETAIL"] == "20 satellites"
    assert caplog.records[1].__dict__["ZTPD_NOTE"] == "[ntrip] changed"


def test_another_cause_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    failures = log.FailureLog(_Clock())
    for error in (ResolveFailed("host"), ConnectTimeout("host"), ResolveFailed("host")):
        failures.record(error)
    assert _levels(caplog) == ["WARNING net.dns", "WARNING net.timeout", "DEBUG net.dns"]


def test_after_success_the_next_failure_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    failures = log.FailureLog(_Clock())
    failures.record(ResolveFailed("host"))
    failures.clear()
    failures.record(ResolveFailed("host"))
    assert _levels(caplog) == ["WARNING net.dns"] * 2


def test_where_a_person_is_needed_it_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    log.FailureLog(_Clock()).record(ZtpNotListed("HTTP 403"))
    assert _levels(caplog) == ["ERROR ztp.refused.not_listed"]


class _JournalHandler(logging.Handler):
    """Sends the same as systemd-python's handler: the text, and every field of the record."""

    sent: list[dict[str, Any]]

    def __init__(self, sender_function: object, **fixed: str) -> None:
        super().__init__()
        self._fixed = fixed

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"MESSAGE": self.format(record), **self._fixed, **record.__dict__}
        if record.exc_info:
            fields["EXCEPTION_INFO"] = repr(record.exc_info)
        self.sent.append(fields)


@pytest.fixture
def journal(own_logging: None, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A world with systemd-python, in which standard error is the journal."""
    sent: list[dict[str, Any]] = []
    module = types.ModuleType("systemd.journal")
    module.JournalHandler = type("JournalHandler", (_JournalHandler,), {"sent": sent})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "systemd", types.ModuleType("systemd"))
    monkeypatch.setitem(sys.modules, "systemd.journal", module)
    here = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{here.st_dev}:{here.st_ino}")
    return sent


def test_under_systemd_lines_go_to_the_journal_with_their_fields(
    journal: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup()
    log.emit(events.IDENTIFIED, imei="49015420*****18", source="AT+CGSN=1", note="")
    (line,) = journal
    assert line["MESSAGE"] == "IMEI 49015420*****18 from AT+CGSN=1"
    assert line["MESSAGE_ID"] == events.IDENTIFIED.message_id
    assert line["SYSLOG_IDENTIFIER"] == "ztpd"
    assert line["ZTPD_EVENT"] == "identity.read"
    assert line["ZTPD_SOURCE"] == "AT+CGSN=1"
    assert capsys.readouterr().err == "", "systemd would take it for a second line"


def test_a_terminal_below_systemd_is_a_terminal(
    journal: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    log.setup()
    log.emit(events.STOPPED)
    assert journal == []
    assert "ztpd stopped" in capsys.readouterr().err


def test_without_systemd_python_lines_go_to_standard_error(
    journal: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "systemd.journal", None)
    log.setup()
    log.emit(events.STOPPED)
    assert "ztpd stopped" in capsys.readouterr().err


class Journald:
    """The socket of a journald that reads only when the test asks it to."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def read(self) -> list[dict[str, str]]:
        """All lines that wait, by JOURNAL_NATIVE_PROTOCOL's form for values of any content."""
        lines = []
        with contextlib.suppress(BlockingIOError):
            while data := self._socket.recv(1 << 20):
                fields = {}
                while data:
                    name, _, data = data.partition(b"\n")
                    end = 8 + int.from_bytes(data[:8], "little")
                    fields[name.decode()] = data[8:end].decode()
                    data = data[end + 1 :]
                lines.append(fields)
        return lines


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    found = Journald(tmp_path / "socket")
    yield found
    found.close()


def test_a_line_reaches_journald_with_all_its_fields(journald: Journald) -> None:
    send = log.JournalSocket(journald.path)
    fields: dict[str, Any] = {
        "ZTPD_WHERE": "first\nsecond",
        "CODE_LINE": 7,
        "message": "no",
        "_X": 1,
    }
    send("one\ntwo \udcff", **fields)
    assert journald.read() == [
        {"MESSAGE": "one\ntwo ?", "ZTPD_WHERE": "first\nsecond", "CODE_LINE": "7"}
    ]


def test_FR119_a_journald_that_does_not_read_stops_nothing(journald: Journald) -> None:
    send = log.JournalSocket(journald.path)
    began_s = time.monotonic()
    for number in range(5000):
        send(f"line {number}", MESSAGE_ID="0" * 32)
    assert time.monotonic() - began_s < 5
    taken = journald.read()
    assert 0 < len(taken) < 5000
    assert send.lost == 5000 - len(taken)
    send("it reads again")
    (line,) = journald.read()
    assert line["MESSAGE"].startswith(f"it reads again ({5000 - len(taken)} lines before")
    send("next")
    assert journald.read() == [{"MESSAGE": "next"}]


def test_FR119_no_journald_at_all_stops_nothing(tmp_path: Path) -> None:
    send = log.JournalSocket(str(tmp_path / "nothing"))
    send("to nobody")
    assert send.lost == 1


def test_FR119_the_real_handler_of_systemd_python_sends_by_our_socket(
    journald: Journald,
) -> None:
    journal = pytest.importorskip("systemd.journal", reason="systemd-python is not installed")
    handler = journal.JournalHandler
    ours = handler(sender_function=log.JournalSocket(journald.path), SYSLOG_IDENTIFIER="ztpd")
    record = logging.LogRecord("ztpd", logging.WARNING, "f.py", 3, "port %s", ("a",), None)
    record.MESSAGE_ID, record.ZTPD_EVENT = "0" * 32, "serial.absent"
    ours.handle(record)
    (line,) = journald.read()
    assert (line["MESSAGE"], line["PRIORITY"]) == ("port a", "4")
    assert (line["SYSLOG_IDENTIFIER"], line["MESSAGE_ID"]) == ("ztpd", "0" * 32)
    assert line["ZTPD_EVENT"] == "serial.absent"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.83, "0.8 s"),
        (45, "45 s"),
        (119.4, "119 s"),
        (720, "12 min"),
        (10_800, "3 h"),
        (172_800, "2 days"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert log.duration(seconds) == text


def test_T14_text_of_a_peer_is_made_safe_to_print() -> None:
    assert log.quoted("  bad\r\nthing\x1b[31m \u2028") == "bad..thing.[31m"
    assert log.quoted("x" * 300) == "x" * 199 + "…"
    assert log.quoted("x" * 200) == "x" * 200


def test_the_line_of_a_warning_has_the_advice(stream: io.StringIO) -> None:
    log.emit(events.UNKNOWN_KEY, path="/etc/ztpd/ztpd.toml", key="ztp.tag", hint="")
    assert stream.getvalue().endswith(f"ztp.tag. {events.UNKNOWN_KEY.remedy}\n")
