"""The status as programs read it, and as ztpd's own verbs read it again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import TOP
from ztpd import status
from ztpd.status import (
    FIELDS,
    Cause,
    ChannelStatus,
    ChannelTraffic,
    CredentialsStatus,
    IdentityStatus,
    PauseStatus,
    SourceStatus,
    Status,
    TrafficStatus,
)

RECORDED: dict[str, Any] = json.loads((TOP / "tests/data/status/streaming-0.1.json").read_text())
"""A status document of 0.1 while corrections were used."""

FULL = Status(
    next_attempt_s=1.0,
    identity=IdentityStatus(),
    paused=PauseStatus("still", "standing still for 10 min", "it moves, or `ztpd resume`"),
    service="flex",
    client_id="c",
    credentials=CredentialsStatus(),
    credentials_problem=Cause("a", "b", "c"),
    source=SourceStatus(),
    channels=(ChannelStatus("caster", backup=True, state="waiting", next_attempt_s=3.0),),
    traffic=TrafficStatus(channels=(ChannelTraffic(),)),
    receiver_problem=Cause("a", "b", "c"),
    config_problem=Cause("a", "b", "c"),
)


def assert_contained(old: Any, new: Any, path: str = "") -> None:
    """Everything that was published is published with the same name and value."""
    if isinstance(old, dict):
        for name, value in old.items():
            assert name in new, f"{path}.{name}"
            assert_contained(value, new[name], f"{path}.{name}")
    else:
        assert old == new, path


def test_a_recorded_status_is_read_and_published_field_for_field() -> None:
    assert_contained(RECORDED, status.to_json(status.from_json(RECORDED)))


def test_a_part_that_has_nothing_to_say_is_left_out() -> None:
    assert set(status.to_json(Status())) == {
        "schema",
        "version",
        "at",
        "state",
        "since",
        "reason",
        "receiver",
    }


def paths(kind: Any, above: str = "") -> set[str]:
    found = set()
    hints = get_type_hints(kind)
    for name in kind._fields:
        kinds = [hints[name], *getattr(hints[name], "__args__", ())]
        inner = [each for each in kinds if hasattr(each, "_fields")]
        path = f"{above}{name}"
        found |= paths(inner[0], f"{path}.") if inner else {path}
    return found


def test_every_field_is_explained_and_no_other() -> None:
    assert paths(Status) == set(FIELDS) - {"running", "health", "clock"}


def test_a_written_status_can_be_read(tmp_path: Path) -> None:
    status.write(tmp_path, FULL)

    assert status.read(tmp_path) == FULL
    assert (tmp_path / status.FILE).stat().st_mode & 0o777 == 0o644


def test_FR60_every_user_may_read_it_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        status.write(tmp_path, FULL)
    finally:
        os.umask(before)

    assert (tmp_path / status.FILE).stat().st_mode & 0o777 == 0o644


def test_a_runtime_directory_that_is_gone_does_not_stop_the_daemon(tmp_path: Path) -> None:
    status.write(tmp_path / "gone", FULL)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"[" * 60_000, b'{"a":' * 60_000, b"\xff", b'{"pid": 1' + b"0" * 5000],
)
def test_FR89_a_file_that_is_no_status_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / status.FILE).write_bytes(content)

    assert status.read(tmp_path) == Status()


def test_FR89_a_status_that_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / status.FILE
    os.mkfifo(path)
    assert status.read(tmp_path) == Status()
    path.unlink()
    (tmp_path / "elsewhere").write_text(json.dumps(RECORDED))
    path.symlink_to(tmp_path / "elsewhere")
    assert status.read(tmp_path) == Status()
    path.unlink()
    path.write_bytes(b" " * (1 << 20) + json.dumps(RECORDED).encode())
    assert status.read(tmp_path) == Status()


def damaged(document: Any) -> st.SearchStrategy[Any]:
    """``document`` with any of its values replaced by anything."""
    anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
    if not isinstance(document, dict):
        return st.just(document) | anything | st.lists(anything)
    same = st.fixed_dictionaries({name: damaged(value) for name, value in document.items()})
    return same | st.lists(anything)


@given(damaged(RECORDED))
def test_FR89_a_damaged_status_is_read_as_far_as_it_goes(document: Any) -> None:
    assert isinstance(status.from_json(document), Status)
