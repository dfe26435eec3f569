"""The lines of a check, and the link of the chain for each event of the journal."""

from __future__ import annotations

import pytest

from ztpd import check, errors, events
from ztpd.check.results import LINKS
from ztpd.errors import ZtpdError, ZtpNotListed

BESIDE_THE_CHAIN = {
    "internal",
    "usage",
    "lock.held",
    "credentials.none",
    "check.not_permitted",
    "output.failed",
    "demo.incomplete",
    "import.unusable",
    "report.unwritable",
    "record.unwritable",
    "stdout.unwritable",
    "record.unreadable",
}
"""Failures of a command, not of the chain."""

CODES = [
    kind.code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ZtpdError)
]


@pytest.mark.parametrize("code", sorted(set(CODES) - BESIDE_THE_CHAIN))
def test_every_failure_belongs_to_a_link(code: str) -> None:
    assert check.layer_of(code) in LINKS


def test_the_more_special_event_decides() -> None:
    assert check.layer_of("store.unsafe") == "permissions"
    assert check.layer_of("store.full") == "credentials"
    assert check.layer_of("gnss.no_spartn") == "setup"
    assert check.layer_of("gnss.silent") == "receiver"
    assert check.layer_of("ztp.token_missing") == "token"
    assert check.layer_of(events.NO_KEY.name) == "use"


BROKEN = [
    check.Result("config", check.LinkState.OK, "/etc/ztpd/ztpd.toml"),
    check.Result(
        "credentials",
        check.LinkState.PROBLEM,
        "not on the list",
        ZtpNotListed.code,
        ZtpNotListed.advice,
    ),
    check.Result("login", check.LinkState.NOT_REACHED),
]


def test_a_line_shows_state_link_and_finding_and_the_broken_one_the_advice() -> None:
    assert "".join(map(check.render, BROKEN)).splitlines() == [
        "OK           configuration  /etc/ztpd/ztpd.toml",
        "problem      credentials    not on the list",
        f"                            -> {ZtpNotListed.advice}",
        "not reached  log-in",
    ]


def test_the_document_names_the_layer_of_the_first_broken_link() -> None:
    document = check.document(BROKEN)

    assert document["schema"] == 1
    assert document["ok"] is False
    assert document["layer"] == "credentials"
    assert document["event"] == "ztp.refused.not_listed"
    assert document["advice"] == ZtpNotListed.advice
    assert [link["layer"] for link in document["links"]] == ["config", "credentials", "login"]


def test_all_is_well_where_every_link_is() -> None:
    document = check.document(BROKEN[:1])

    assert document["ok"] is True
    assert document["layer"] is None
