"""The journal's vocabulary: names and ids that never change, texts that can always be said."""

from __future__ import annotations

import logging
import re
import string

import pytest

from tests.support import TOP
from ztpd import errors, events
from ztpd.errors import ConfigError, ZtpNotListed, ZtpThrottled
from ztpd.events import JournalEvent

EVERY = list(events.every())
DECLARED = [event for event in vars(events).values() if isinstance(event, JournalEvent)]


def _ids(found: list[JournalEvent]) -> list[str]:
    return [event.name for event in found]


def test_names_are_unique() -> None:
    codes = [kind.code for kind in vars(errors).values() if hasattr(kind, "code")]
    names = [event.name for event in DECLARED]
    assert len(set(names + codes)) == len(names + codes)
    assert sorted(names + codes) == [event.name for event in EVERY]


def test_message_ids_are_unique_128_bit_numbers() -> None:
    ids = [event.message_id for event in EVERY]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


def test_message_ids_never_change() -> None:
    assert events.PROVISIONED.message_id == "44eb0acbf7755f9493f142245afe9f53"
    assert events.for_error(ZtpNotListed).message_id == "b023004619b3569e8287efe6f09dc34e"


@pytest.mark.parametrize("event", EVERY, ids=_ids(EVERY))
def test_names_are_topic_and_case(event: JournalEvent) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+){0,2}", event.name)


@pytest.mark.parametrize("event", EVERY, ids=_ids(EVERY))
def test_texts_can_be_said(event: JournalEvent) -> None:
    fields = {}
    for _, name, spec, _ in string.Formatter().parse(event.text):
        if name is not None:
            assert re.fullmatch("[a-z][a-z_]*", name), "must make a journal field ZTPD_NAME"
            fields[name] = 1.5 if spec else "word"
    said = event.text.format(**fields)
    assert "{" not in said
    assert not said.endswith("."), "advice may follow"


@pytest.mark.parametrize("event", EVERY, ids=_ids(EVERY))
def test_catalog_pages_are_sentences(event: JournalEvent) -> None:
    assert event.meaning
    for sentence in (event.meaning, event.reaction, event.remedy):
        assert not sentence or sentence.endswith(".")


@pytest.mark.parametrize("event", EVERY, ids=_ids(EVERY))
def test_warnings_and_errors_name_the_reaction(event: JournalEvent) -> None:
    if event.level >= logging.WARNING:
        assert event.reaction
        assert event.remedy


def test_an_error_is_an_event_of_the_same_name() -> None:
    event = events.for_error(ZtpNotListed)
    assert event.name == ZtpNotListed.code
    assert event.meaning == "This gateway's IMEI is not on the profile's allowlist."
    assert event.remedy == ZtpNotListed.advice


def test_an_error_is_said_louder_where_a_person_is_needed() -> None:
    assert events.for_error(ZtpNotListed).level == logging.ERROR
    assert events.for_error(ConfigError).level == logging.ERROR
    assert events.for_error(ZtpThrottled).level == logging.WARNING


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        events._event("daemon.started", logging.INFO, "again", "Again.")


PLAIN_DEBIAN = {
    "chmod",
    "chown",
    "df",
    "dmesg",
    "getent",
    "ip",
    "journalctl",
    "ls",
    "systemctl",
    "timedatectl",
    "ztpd",
    "sudo",
}
"""Commands of a Debian 12 without optional packages, and our own."""
WITH_ITS_PACKAGE = {"mmcli"}
"""Named only where ModemManager, whose command it is, has answered or is asked for."""


def test_FR76_advice_names_only_commands_that_are_there() -> None:
    named: dict[str, set[str]] = {}
    for event in events.every():
        if event.name == errors.DemoIncomplete.code:  # for who installs packages
            continue
        for command in re.findall(r"`([a-z][^`]*)`", event.remedy):
            named.setdefault(command.split()[0], set()).add(event.name)
    unknown = set(named) - PLAIN_DEBIAN - WITH_ITS_PACKAGE
    assert not {command: named[command] for command in unknown}
    assert all(each.startswith("modem") for each in named.get("mmcli", set()))


def test_FR70_where_the_imei_is_the_remedy_the_command_that_prints_it_is_named() -> None:
    assert "`sudo ztpd imei`" in errors.ZtpNotListed.advice


def test_a_page_that_searches_for_a_message_id_names_its_event() -> None:
    known = {event.message_id: event.name for event in EVERY}
    searched = 0
    for page in (TOP / "docs").glob("*.md"):
        text = page.read_text()
        for message_id in re.findall(r"MESSAGE_ID=([0-9a-f]{32})", text):
            assert f"`{known[message_id]}`" in text, page.name
            searched += 1
    assert searched


MOMENTARY = {
    "gnss.baud_kept": "a fact of the set-up",
    "gnss.baud_restored": "put right at once",
    "gnss.changed": "put right at once",
    "gnss.option_refused": "a fact of the firmware",
    "gnss.reset": "set up again at once",
    "identity.board_changed": "decided by the IMEI at once",
    "identity.modem_changed": "a fact of the hardware",
    "key.invalid": "one message",
    "serial.name_shared": "a fact of the hardware",
    "session.assistance_refused": "one question",
    "session.service_changed": "is the end itself",
    "store.not_sealed": "a fact of the machine, tried again at each start",
    "store.previous": "used at once",
    "store.volatile": "a fact of the image",
    "stream.damaged": "repeated while it lasts",
    "stream.dropped": "repeated each minute while it lasts",
    "stream.overrun": "repeated each minute while it lasts",
    "task.died": "started again at once",
}
"""Warnings that begin no condition which lasts, and why."""


@pytest.mark.parametrize("event", EVERY, ids=_ids(EVERY))
def test_an_event_that_begins_a_lasting_condition_names_the_one_that_ends_it(
    event: JournalEvent,
) -> None:
    if event.ended_by:
        end = {each.name: each for each in EVERY}[event.ended_by]
        assert end.level >= logging.INFO, "who reads of the beginning reads of the end"
        assert event.name not in MOMENTARY
    elif event.level >= logging.WARNING:
        assert event.name in MOMENTARY
