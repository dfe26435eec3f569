"""The published files are those produced from the code; links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import TOP
from tools import documents
from ztpd import events

PRODUCED = documents.produced()
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")])


@pytest.mark.parametrize("name", PRODUCED)
def test_the_published_file_is_the_produced_one(name: str) -> None:
    assert (TOP / name).read_text(encoding="utf-8") == PRODUCED[name], "run `make docs`"


def test_the_catalog_explains_the_events_that_need_something_and_no_other() -> None:
    catalog = dict(
        entry.split("\n", 1)
        for entry in PRODUCED["packaging/ztpd.catalog"].removeprefix("-- ").split("\n-- ")
    )
    assert "" not in catalog.values()
    assert set(catalog) == {event.message_id for event in events.every() if event.remedy}
    for event in filter(lambda each: each.remedy, events.every()):
        head, _, body = catalog[event.message_id].partition("\n\n")
        assert head.startswith("Subject: ")
        assert body.strip()
        assert event.reaction in body
        assert event.remedy in body


def test_every_event_is_documented_with_its_fields() -> None:
    page = PRODUCED["docs/events.md"]
    for event in events.every():
        assert page.count(f"\n### {event.name}\n") == 1
        assert all(f"`ZTPD_{name.upper()}`" in page for name in event.fields)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_events_named_in_pages_exist(page: Path) -> None:
    if page.name in ("status.md", "configuration.md"):
        return  # those names are of fields and settings
    known = {event.name for event in events.every()}
    topics = {name.split(".")[0] for name in known}
    for name in re.findall(r"`([a-z]+(?:\.[a-z_]+){1,2})`", page.read_text(encoding="utf-8")):
        if name.split(".")[0] in topics and not name.endswith(
            (".service", ".toml", ".md", ".html", ".txt", ".json")
        ):
            assert name in known, "neither an event nor a file"
