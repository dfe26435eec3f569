"""Reading an IMEI from every sort of modem, in virtual time.

Letters and numbers in the names: groups A to E are the table of modem scenarios, M01 to M14 the
fault table.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import virtualtime
from tests.support.ptybench import another_user, finish_threads, ordinary_user
from ztpd.errors import (
    IdentityError,
    ImeiInvalid,
    ModemAbsent,
    ModemBusy,
    ModemPermission,
    ModemRefused,
    ModemSilent,
    NotAnAtPort,
)
from ztpd.model import Identity
from ztpd.modem.at import BAUDRATES, read_imei
from ztpd.sim import modem as sim
from ztpd.sim.modem import NAMED, Hang, ModemModel, Refuse, Reply, Say, SimModem, Unplug, Wait
from ztpd.sim.pty import Pty

IMEI = "490154203237518"
OTHER = "352656100367872"
BUDGET_S = 60.0
USUAL = sim.NRF9160.answers


@dataclass
class Result:
    outcome: Identity | IdentityError
    took_s: float
    modem: SimModem

    @property
    def imei(self) -> str:
        """The number read; raises the error, if one came instead."""
        if isinstance(self.outcome, IdentityError):
            raise self.outcome
        assert self.outcome.imei is not None
        return self.outcome.imei.digits

    @property
    def said(self) -> str:
        """The log lines for a person."""
        if isinstance(self.outcome, Identity):
            return f"{self.outcome} from {self.outcome.source}"
        return str(self.outcome)

    @property
    def command(self) -> str:
        """The source of the number."""
        assert isinstance(self.outcome, Identity)
        return self.outcome.source.split(" on ")[0]


async def attempt(
    path: str, baudrate: int | None = 115200, timeout_s: float = BUDGET_S
) -> Identity | IdentityError:
    try:
        return await read_imei(path, baudrate, timeout_s=timeout_s)
    except IdentityError as error:
        return error


def asked(
    path: Path,
    model: ModemModel,
    *,
    baudrate: int | None = 115200,
    timeout_s: float = BUDGET_S,
    appears_s: float = 0.0,
) -> Result:
    """Read the IMEI of a modem, and check the invariants of every reading."""

    async def scenario() -> Result:
        loop = asyncio.get_running_loop()
        async with SimModem(path, model, appears_s=appears_s) as modem:
            started = loop.time()
            outcome = await attempt(modem.path, baudrate, timeout_s)
            result = Result(outcome, loop.time() - started, modem)
            finish_threads()
            if modem.pty.plugged:
                assert not modem.pty.users(), "the port is closed"
                assert not modem.pty.exclusive
        return result

    result: Result = virtualtime.run(scenario())
    assert str(path) in result.said
    assert result.took_s <= timeout_s + 3
    assert result.modem.engine.forbidden == []
    return result


Ask = Callable[..., Result]


@pytest.fixture
def ask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Ask:
    def ask(model: ModemModel, **how: Any) -> Result:
        result = asked(tmp_path / "modem", model, **how)
        digits = model.imei[8:13] or "none"
        assert digits not in caplog.text + str(result.outcome), "the number is masked"
        return result

    return ask


def usb(answers: dict[str, Reply | list[Reply]] | None = None, **changes: Any) -> ModemModel:
    """An uncomplicated modem with these differences."""
    return replace(sim.RM520N, answers={**USUAL, **(answers or {})}, **changes)


# A: one of each


@pytest.mark.parametrize(
    ("scenario", "model", "command"),
    [
        ("A01", sim.SARA_R5, "AT+CGSN=1"),
        ("A02", sim.SARA_R410M, "AT+CGSN"),
        ("A03", sim.LARA_R6, "AT+CGSN=1"),
        ("A04", sim.LENA_R8, "AT+CGSN=1"),
        ("A05", sim.NRF9160, "AT+CGSN=1"),
        ("A07", sim.NRF93M1, "AT+CGSN=1"),
        ("A08", sim.EC25, "AT+CGSN"),
        ("A09", sim.BG96, "AT+CGSN"),
        ("A10", sim.RM520N, "AT+CGSN=1"),
        ("A11", sim.BC26, "AT+CGSN=1"),
        ("A12", sim.SIM7600, "AT+CGSN"),
        ("A13", sim.SIM7080, "AT+CGSN"),
        ("A15", sim.LE910, "AT#CGSN"),
        ("A16", sim.ME910G1, "AT+CGSN"),
        ("A17", sim.EM7455, "AT+CGSN"),
        ("A18", sim.L610, "AT+CGSN=1"),
        ("A19", sim.E303, "AT+CGSN"),
        ("A20", sim.E1612, "ATI"),
    ],
    ids=lambda value: value.name if isinstance(value, ModemModel) else str(value),
)
def test_each_modem_gives_its_number(
    ask: Ask, scenario: str, model: ModemModel, command: str
) -> None:
    result = ask(model)
    assert result.imei == model.imei
    assert result.command == command


def test_A01_echo_is_switched_off(ask: Ask) -> None:
    assert "ATE0" in ask(sim.SARA_R5).modem.commands


def test_A06_a_modem_without_a_number_is_named_so(ask: Ask) -> None:
    result = ask(sim.NRF9160_UNPROGRAMMED)
    assert isinstance(result.outcome, ModemRefused)
    assert "AT+CGSN=1 ERROR, AT+CGSN ERROR" in str(result.outcome)
    assert result.took_s < 10


def test_A07_a_serial_number_is_never_taken(ask: Ask) -> None:
    serial_only = replace(sim.NRF93M1, answers={"AT+CGSN": Say("2623CKLQ0009707")})
    assert isinstance(ask(serial_only).outcome, ImeiInvalid)


def test_D58_a_silent_port_costs_its_budget_and_its_sibling_answers(ask: Ask) -> None:
    mute = ask(replace(sim.A7670, hangs=True), timeout_s=10)
    assert isinstance(mute.outcome, ModemSilent)
    assert ask(sim.A7670).imei == IMEI


# B: the number


@pytest.mark.parametrize(
    ("scenario", "given", "imei", "note"),
    [
        ("B21", "3575200701207601", "357520070120767", "IMEISV"),
        ("B22", "35752007012076", "357520070120767", "14 digits"),
        ("B23", "35752007012076701", "357520070120767", "17 digits"),
        ("B24", "357520070120760", "357520070120767", "spare digit"),
        ("A05", "352656100367872", "352656100367872", ""),
    ],
)
def test_M06_other_forms_are_normalised_and_reported(
    ask: Ask, scenario: str, given: str, imei: str, note: str
) -> None:
    result = ask(usb(imei=given))
    assert result.imei == imei
    assert isinstance(result.outcome, Identity)
    assert note in result.outcome.note
    assert bool(note) == bool(result.outcome.note)


@pytest.mark.parametrize(
    ("scenario", "given"),
    [
        ("B25", "123456789012345"),
        ("B26", "000000000000000"),
        ("B27", "888888888888888"),
        ("B28", "A0000012345678"),
        ("B28", "49015420323751X"),
        ("B29", ""),
        ("M06", "4901542"),
    ],
)
def test_M06_other_texts_than_imeis_are_refused(ask: Ask, scenario: str, given: str) -> None:
    result = ask(usb(imei=given), timeout_s=30)
    assert isinstance(result.outcome, ImeiInvalid)
    assert result.outcome.number in ("", given)
    assert not given or given not in str(result.outcome)
    assert result.took_s < 10


def test_M07_sixteen_digits_count_only_where_the_imei_was_asked_for(ask: Ask) -> None:
    bare = replace(sim.SIM7080, imei="3575200701207601")
    assert isinstance(ask(bare).outcome, ImeiInvalid)


def test_B30_a_number_before_an_error_is_not_taken(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": Say(f'+CGSN: "{OTHER}"', final="ERROR")}, imei=IMEI))
    assert result.imei == IMEI
    assert result.command == "AT+CGSN"


def test_B31_FR51_of_two_sim_slots_the_first_counts(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": Say(f"{IMEI}\n{OTHER}")}))
    assert result.imei == IMEI
    assert isinstance(result.outcome, Identity)
    assert result.outcome.note == "the first of 2"


def test_FR51_an_invalid_number_is_passed_over_for_a_valid_one(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": Say("+CGSN: 490154203237519")}, imei=IMEI))
    assert result.imei == IMEI
    assert result.command == "AT+CGSN"


def test_FR45_a_modem_that_acts_on_cr_lf_only(ask: Ask) -> None:
    result = ask(sim.NRF9160_SLM)
    assert result.imei == sim.NRF9160_SLM.imei
    assert result.took_s < 5


# C: start, noise, time


def test_C34_a_modem_that_starts_for_30_s_is_waited_for(ask: Ask) -> None:
    result = ask(usb(boot_s=30))
    assert result.imei == sim.RM520N.imei
    assert 30 <= result.took_s < 45


def test_M02_C35_a_modem_that_starts_for_90_s_is_silent(ask: Ask) -> None:
    result = ask(usb(boot_s=90))
    assert isinstance(result.outcome, ModemSilent)
    assert result.took_s == pytest.approx(BUDGET_S)


def test_M01_C36_a_port_that_appears_late_is_waited_for(ask: Ask) -> None:
    result = ask(usb(), appears_s=20)
    assert result.imei == IMEI
    assert 20 <= result.took_s < 23


def test_M01_C37_a_port_that_never_appears_is_absent_and_the_others_are_named(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "usb-other-if00").touch()
    result = ask(usb(), appears_s=90)
    assert isinstance(result.outcome, ModemAbsent)
    assert "usb-other-if00" in str(result.outcome)


def test_C38_junk_and_half_a_line_before_the_first_answer(ask: Ask) -> None:
    junk = b"\xff\x00\x83\x1f\xfe" * 5 + b"GSN\r\n"
    assert ask(usb({"AT": [(junk, Say()), Say()]})).imei == IMEI


def test_C38_half_a_command_of_another_program_is_ended_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SimModem(tmp_path / "modem", usb()) as modem:
            with another_user(modem.path) as other:
                os.write(other, b"AT+CF")
            assert isinstance(await attempt(modem.path), Identity)
            assert modem.commands[:2] == ["AT+CF", "AT"]

    virtualtime.run(scenario())


def test_C39_an_answer_one_byte_at_a_time(ask: Ask) -> None:
    assert ask(usb(chunk_bytes=1, gap_s=0.02)).imei == IMEI


def test_M08_an_answer_of_more_than_5_s_one_byte_every_200_ms(ask: Ask) -> None:
    slow = usb({"AT+CGSN=1": sim.BARE}, chunk_bytes=1, gap_s=0.2, echo=True)
    assert ask(slow).imei == IMEI


def test_M04_C40_answer_and_unsolicited_lines_in_one_piece(ask: Ask) -> None:
    piece = f'\r\n+CREG: 1\r\n\r\nRDY\r\n\r\n+CGSN: "{IMEI}"\r\n\r\n^MODE: 5\r\n\r\nOK\r\n'
    assert ask(usb({"AT+CGSN=1": piece.encode()})).imei == IMEI


def test_M04_C41_an_unsolicited_line_before_the_final_code(ask: Ask) -> None:
    assert ask(usb({"AT+CGSN=1": Say('+CGSN: "{imei}"\n+CREG: 1')})).imei == IMEI


@pytest.mark.parametrize("caller", ["123456789012345", OTHER])
def test_C42_digits_that_come_unasked_are_asked_about_again(ask: Ask, caller: str) -> None:
    disturbed = Say(f"{caller}\n{{imei}}")
    only_caller = Say(caller)
    model = replace(sim.SIM7080, answers={"AT+CGSN": [disturbed, only_caller, sim.BARE]})
    result = ask(model)
    assert result.imei == IMEI
    assert result.modem.commands.count("AT+CGSN") == 4


def test_C43_a_storm_of_unsolicited_lines(ask: Ask) -> None:
    assert ask(usb(stream=b"\r\n+CREG: 5\r\n", stream_every_s=0.02)).imei == IMEI


def test_C44_a_megabyte_without_line_end_then_sense(ask: Ask) -> None:
    assert ask(usb({"AT+CGSN=1": [(b"7" * 1_000_000, Say()), NAMED]})).imei == IMEI


def test_M09_a_flood_without_line_end_ends_in_time(ask: Ask) -> None:
    flood = usb(hangs=True, stream=b"7" * 65_536, stream_every_s=0.0625)
    result = ask(flood, timeout_s=8)
    assert isinstance(result.outcome, ModemSilent)
    assert "noise" in str(result.outcome)


@pytest.mark.parametrize("noise", [b"\x00\x00", b"\xff"])
def test_C45_noise_between_the_lines_is_asked_about_again(ask: Ask, noise: bytes) -> None:
    noisy = (noise, NAMED)
    result = ask(usb({"AT+CGSN=1": [noisy, NAMED, noisy, NAMED]}))
    assert result.imei == IMEI
    assert result.modem.commands.count("AT+CGSN=1") == 5


def test_C45_noise_that_stays_is_named(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": Say("4901542\x000323751")}))
    assert isinstance(result.outcome, ImeiInvalid)
    assert "garbled" in str(result.outcome)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\r\n"], ids=["CR", "LF", "CRCRLF"])
def test_C46_every_line_end(ask: Ask, end: str) -> None:
    assert ask(usb(before=end, after=end)).imei == IMEI


def test_C47_numeric_result_codes(ask: Ask) -> None:
    assert ask(replace(sim.SARA_R410M, verbose=False)).imei == IMEI


@pytest.mark.parametrize("form", ["ERROR", "+CME ERROR: 4", "+CME ERROR: operation not supported"])
def test_C48_every_form_of_refusal_leads_to_the_same_error(ask: Ask, form: str) -> None:
    no = Say(final=form)
    commands = ("AT+CGSN=1", "AT+CGSN", "AT+GSN", "AT#CGSN", "ATI")
    result = ask(usb(dict.fromkeys(commands, no)))
    assert isinstance(result.outcome, ModemRefused)
    assert form in str(result.outcome)


@pytest.mark.parametrize("code", [10, 11, 13])
def test_M05_C49_a_missing_sim_does_not_matter(ask: Ask, code: int) -> None:
    assert ask(usb({"AT+CGSN=1": Refuse(code)})).command == "AT+CGSN"


def test_C49_a_busy_sim_is_asked_again(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": [Refuse(14), Refuse(14), NAMED]}))
    assert result.command == "AT+CGSN=1"


@pytest.mark.parametrize("busy", ["+CME ERROR: SIM BUSY", "+CME ERROR:14"])
def test_C49_a_busy_sim_is_known_in_every_spelling(ask: Ask, busy: str) -> None:
    result = ask(usb({"AT+CGSN=1": [Say(final=busy), Say(final=busy), NAMED]}))
    assert result.command == "AT+CGSN=1"


@pytest.mark.parametrize(
    "line", ["+CGSN: {imei},02", '+CGSN: "{imei}","01"', '0x6744775,"{imei}"', "{imei} / 78"]
)
def test_M07_of_several_numbers_on_one_line_the_imei_counts(ask: Ask, line: str) -> None:
    assert ask(usb({"AT+CGSN=1": Say(line)}, imei=IMEI)).imei == IMEI


def test_C42_words_beside_a_number_make_it_no_answer(ask: Ask) -> None:
    line = Say("CALLER {imei}, 02")
    result = ask(usb({"AT+CGSN=1": line, "AT+CGSN": line}))
    assert isinstance(result.outcome, ImeiInvalid)


def test_C49_a_sim_that_stays_busy_is_named(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": Refuse(14)}))
    assert isinstance(result.outcome, ModemRefused)
    assert "SIM busy" in str(result.outcome)


def test_C50_no_carrier_is_asked_again_once(ask: Ask) -> None:
    lost = Say(final="NO CARRIER")
    assert ask(usb({"AT+CGSN=1": [lost, NAMED]})).command == "AT+CGSN=1"
    assert ask(usb({"AT+CGSN=1": lost})).command == "AT+CGSN"


def test_C51_a_late_answer_is_not_taken_for_the_next(ask: Ask) -> None:
    late = (Wait(3.7), Say(f'+CGSN: "{OTHER}"'))
    assert ask(usb({"AT+CGSN=1": [late, NAMED]}, imei=IMEI)).imei == IMEI


def test_C51_a_late_refusal_is_not_taken_for_the_next(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": [(Wait(3.2), sim.ERROR), NAMED]}))
    assert result.command == "AT+CGSN=1"
    assert result.modem.commands.count("AT+CGSN=1") == 3


def test_C51_lines_after_a_final_code_belong_to_no_command(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": [(NAMED, Wait(0.02), sim.ERROR), NAMED]}))
    assert result.command == "AT+CGSN=1"


@pytest.mark.parametrize(("delay_s", "asked"), [(2.9, 2), (3.1, 3)])
def test_C52_an_answer_is_waited_for_3_s(ask: Ask, delay_s: float, asked: int) -> None:
    result = ask(usb({"AT+CGSN=1": [(Wait(delay_s), NAMED), NAMED]}))
    assert result.imei == IMEI
    assert result.modem.commands.count("AT+CGSN=1") == asked


# D: line trouble


@pytest.mark.parametrize("baudrate", BAUDRATES)
def test_M13_D53_the_speed_is_found(ask: Ask, baudrate: int) -> None:
    assert ask(usb(baudrate=baudrate), baudrate=None).imei == IMEI


def test_D53_a_configured_speed_is_the_only_one_tried(ask: Ask) -> None:
    result = ask(usb(baudrate=9600), baudrate=115200, timeout_s=20)
    assert isinstance(result.outcome, ModemSilent)
    assert "115200 baud, nothing but noise" in str(result.outcome)


def test_D54_a_modem_that_measures_the_speed_is_taught(ask: Ask) -> None:
    result = ask(usb(training=2))
    assert result.imei == IMEI
    assert result.took_s < 3


def test_D55_no_speed_matches(ask: Ask) -> None:
    result = ask(usb(baudrate=1200), baudrate=None)
    assert isinstance(result.outcome, ModemSilent)
    assert "38400" in str(result.outcome)


def test_D56_a_gnss_receiver_is_left_alone_at_once(ask: Ask) -> None:
    gga = b"$GNGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,*45\r\n"
    result = ask(usb(hangs=True, stream=gga))
    assert isinstance(result.outcome, NotAnAtPort)
    assert "GNSS data (NMEA GGA)" in str(result.outcome)
    assert result.took_s < 5


@pytest.mark.parametrize(
    ("stream", "detail"),
    [
        (b"\x7e123456789\x6e\x90\x7e", "diagnostic frames"),
        (b"\x00" * 32, "binary data"),
    ],
    ids=["7E frames", "NULs"],
)
def test_D57_a_diagnostic_port_is_refused(ask: Ask, stream: bytes, detail: str) -> None:
    result = ask(usb(hangs=True, stream=stream))
    assert isinstance(result.outcome, NotAnAtPort)
    assert detail in str(result.outcome)
    assert result.took_s < 10


def test_an_at_port_that_also_sends_positions_is_an_at_port(ask: Ask) -> None:
    gga = b"$GNGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,*45\r\n"
    assert ask(usb(stream=gga, stream_every_s=0.2)).imei == IMEI


def test_D58_a_modem_in_data_mode_is_silent(ask: Ask) -> None:
    result = ask(usb(hangs=True), timeout_s=20)
    assert isinstance(result.outcome, ModemSilent)


def test_a_modem_that_stops_answering_is_started_over_with(ask: Ask) -> None:
    result = ask(usb({"AT+CGSN=1": Hang()}), timeout_s=20)
    assert isinstance(result.outcome, ModemSilent)
    assert result.modem.commands.count("AT+CGSN=1") == 3
    assert result.modem.commands[-1] == "AT"


def test_M11_D59_unplugged_and_back_under_another_name(ask: Ask) -> None:
    result = ask(usb({"ATE0": [Unplug(5), Say()]}))
    assert result.imei == IMEI
    assert 5 <= result.took_s < 10


def test_M11_D60_unplugged_in_the_middle_of_the_number(ask: Ask) -> None:
    half = (b'\r\n+CGSN: "35265610036', Unplug(5))
    assert ask(usb({"AT+CGSN=1": [half, NAMED]})).imei == IMEI


def test_D59_unplugged_for_good_is_absent(ask: Ask) -> None:
    result = ask(usb({"ATE0": Unplug(500)}), timeout_s=20)
    assert isinstance(result.outcome, ModemAbsent)


def test_D61_a_device_that_takes_nothing_does_not_stop_the_loop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pty(tmp_path / "modem") as pty:
            turns = 0
            reading = asyncio.create_task(attempt(pty.path, timeout_s=20))
            while not reading.done():
                await asyncio.sleep(0.5)
                turns += 1
            assert isinstance(await reading, ModemSilent)
            assert turns >= 39

    virtualtime.run(scenario())


def test_D62_an_open_that_hangs_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver_done = threading.Event()
    real_open = os.open

    def slow_open(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path) == str(tmp_path / "modem"):
            driver_done.wait(10)
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", slow_open)

    async def scenario() -> None:
        async with SimModem(tmp_path / "modem", usb()) as modem:
            outcome = await attempt(modem.path, timeout_s=7.4)
            assert isinstance(outcome, ModemSilent)
            assert "does not open in time" in str(outcome)
            driver_done.set()
            finish_threads()
            assert not modem.pty.users()

    virtualtime.run(scenario())


def test_D65_permission_denied_is_reported_soon(tmp_path: Path) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with Pty(tmp_path / "modem") as pty:
            os.chmod(pty.terminal, 0)
            with ordinary_user():
                outcome = await attempt(pty.terminal)
            assert isinstance(outcome, ModemPermission)
            assert "dialout" in outcome.advice
            assert loop.time() < 10

    virtualtime.run(scenario())


def test_D65_permission_that_comes_a_moment_later_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SimModem(tmp_path / "modem", usb()) as modem:
            path = modem.pty.terminal
            os.chmod(path, 0)
            with ordinary_user():
                reading = asyncio.create_task(attempt(path))
                await asyncio.sleep(2)
            os.chmod(path, 0o666)
            assert isinstance(await reading, Identity)

    virtualtime.run(scenario())


def test_U12_a_plain_file_is_no_modem(tmp_path: Path) -> None:
    (tmp_path / "modem").write_text("hello")
    assert isinstance(virtualtime.run(attempt(str(tmp_path / "modem"))), NotAnAtPort)


# E: sharing


def test_M10_E66_a_held_port_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SimModem(tmp_path / "modem", usb()) as modem:
            with another_user(modem.path, locks=True):
                reading = asyncio.create_task(attempt(modem.path))
                await asyncio.sleep(10)
                assert not reading.done()
            assert isinstance(await reading, Identity)
            assert asyncio.get_running_loop().time() < 15

    virtualtime.run(scenario())


def test_M10_E66_the_holder_of_a_port_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SimModem(tmp_path / "modem", usb()) as modem:
            with another_user(modem.path, locks=True):
                outcome = await attempt(modem.path, timeout_s=5)
            assert isinstance(outcome, ModemBusy)
            assert f"(process {os.getpid()})" in str(outcome)
            assert modem.commands == []

    virtualtime.run(scenario())


def test_E71_of_two_readers_one_gets_the_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SimModem(tmp_path / "modem", usb({"AT+CGSN=1": (Wait(2.5), NAMED)})) as modem:
            first = asyncio.create_task(attempt(modem.path))
            await asyncio.sleep(1)
            assert isinstance(await attempt(modem.path, timeout_s=2), ModemBusy)
            assert isinstance(await first, Identity)

    virtualtime.run(scenario())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("number", ["4901542032375101", IMEI])
def test_E70_stolen_bytes_never_make_a_wrong_number(tmp_path: Path, seed: int, number: str) -> None:
    chance = random.Random(seed)

    async def scenario() -> None:
        model = usb(imei=number, chunk_bytes=1, gap_s=0.01)
        async with SimModem(tmp_path / "modem", model) as modem:
            with another_user(modem.path) as thief:

                def steal() -> None:
                    if chance.random() < 0.2:
                        with contextlib.suppress(BlockingIOError):
                            os.read(thief, 1)

                asyncio.get_running_loop().add_reader(thief, steal)
                outcome = await attempt(modem.path, timeout_s=10)
                asyncio.get_running_loop().remove_reader(thief)
            if isinstance(outcome, Identity):
                assert outcome.hardware_id == IMEI

    virtualtime.run(scenario())


@pytest.mark.parametrize("model", [usb(boot_s=30), usb({"AT+CGSN=1": Wait(30)})])
def test_E72_a_cancelled_reading_gives_the_port_back_at_once(
    tmp_path: Path, model: ModemModel
) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with SimModem(tmp_path / "modem", model) as modem:
            reading = asyncio.create_task(attempt(modem.path))
            await asyncio.sleep(4)
            assert modem.pty.users()
            stopped = loop.time()
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            assert loop.time() - stopped < 1
            assert modem.pty.users() == []
            assert not modem.pty.exclusive

    virtualtime.run(scenario())


# Must-hold properties

line = st.sampled_from([IMEI, OTHER, f'+CGSN: "{IMEI}"', "RDY", "+CREG: 1", "12345", "OK?", ""])
step: st.SearchStrategy[Any] = st.one_of(
    st.builds(Say, st.lists(line, max_size=3).map("\n".join), st.sampled_from(["OK", "ERROR"])),
    st.binary(max_size=60),
    st.floats(0, 6).map(Wait),
    st.sampled_from([Refuse(13), Refuse(14), Hang(), Unplug(2)]),
)
replies = st.lists(st.lists(step, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3)
commands = st.sampled_from(["AT", "ATE0", "AT+CMEE=2", "AT+CGSN=1", "AT+CGSN", "AT+GSN", "ATI"])


@settings(max_examples=30, deadline=None)
@given(answers=st.dictionaries(commands, replies), echo=st.booleans(), chunk=st.integers(0, 9))
def test_any_modem_gives_a_number_or_a_named_error_in_time_and_the_port_back(
    tmp_path_factory: pytest.TempPathFactory, answers: dict[str, Any], echo: bool, chunk: int
) -> None:
    model = ModemModel("any", {**USUAL, **answers}, echo=echo, chunk_bytes=chunk, gap_s=0.01)
    result = asked(tmp_path_factory.getbasetemp() / "any", model, timeout_s=25)
    assert isinstance(result.outcome, Identity | IdentityError)
