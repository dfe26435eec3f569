"""Every failure has a name, a meaning for retries, and words a person can act on."""

from __future__ import annotations

import inspect
import re

import pytest

from ztpd import errors
from ztpd.errors import ConfigError, ZtpdError, ZtpNotListed, ZtpThrottled

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ZtpdError) and kind.__module__ == errors.__name__
]
BELOW_ROOT = [kind for kind in CLASSES if kind is not ZtpdError]
# those of sysexits.h that one-shot verbs use, and 3 of LSB for "not running"
STATUSES = {3, 64, 65, 66, 69, 70, 73, 74, 75, 76, 77, 78}


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", BELOW_ROOT)
def test_every_class_speaks_for_itself(kind: type[ZtpdError]) -> None:
    assert {"code", "summary", "advice"} <= vars(kind).keys(), (
        "inherited, so it is no description of its own"
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_codes_are_names_of_topic_and_case(kind: type[ZtpdError]) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+){0,2}", kind.code)


@pytest.mark.parametrize("kind", CLASSES)
def test_summaries_go_into_a_sentence(kind: type[ZtpdError]) -> None:
    assert kind.summary
    assert not kind.summary.endswith(".")
    assert kind.summary[0].islower()


@pytest.mark.parametrize("kind", CLASSES)
def test_advice_is_sentences(kind: type[ZtpdError]) -> None:
    assert kind.advice.endswith(".")
    assert kind.advice[0].isupper()
    assert len(kind.advice) < 160


@pytest.mark.parametrize("kind", CLASSES)
def test_exit_statuses_are_the_documented_ones(kind: type[ZtpdError]) -> None:
    assert kind.exit_status in STATUSES


@pytest.mark.parametrize("kind", BELOW_ROOT)
def test_an_error_that_needs_a_person_has_a_remedy(kind: type[ZtpdError]) -> None:
    if kind("").needs_person:
        assert not kind.advice.startswith("Nothing to do")


def test_the_docstring_draws_the_tree() -> None:
    drawn = re.findall(r"^ {6}(\w+)", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(kind.__name__ for kind in ZtpdError.__subclasses__())


def test_an_error_reads_as_summary_and_place() -> None:
    assert str(ZtpNotListed("HTTP 403")) == (
        "this gateway's IMEI is not on the profile's allowlist: HTTP 403"
    )
    assert str(ZtpNotListed()) == "this gateway's IMEI is not on the profile's allowlist"


def test_an_error_keeps_the_wait_that_the_server_asked_for() -> None:
    error = ZtpThrottled("HTTP 429", retry_after_s=120)
    assert (error.detail, error.retry_after_s) == ("HTTP 429", 120)
    assert ZtpThrottled().retry_after_s is None


def test_a_person_is_needed_where_waiting_cannot_help() -> None:
    assert ConfigError().needs_person
    assert ZtpNotListed().needs_person
    assert not ZtpThrottled().needs_person


def test_FR55_an_eviction_names_the_copied_card_and_equal_identities() -> None:
    for cause in ("copied card", "same IMEI", "board number"):
        assert cause in errors.SessionEvicted.advice


def test_the_advice_of_a_case_replaces_that_of_its_class() -> None:
    usual, special = errors.PortBusy("x"), errors.PortBusy("x", advice="Stop gpsd.")
    assert (usual.advice, usual.own_advice) == (errors.PortBusy.advice, "")
    assert (special.advice, special.own_advice) == ("Stop gpsd.", "Stop gpsd.")
    assert errors.PortBusy.advice != special.advice
