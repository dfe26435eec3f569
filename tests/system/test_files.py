"""Files that another user may have put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ztpd.system.files import LIMIT, read_json, read_regular


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'{"a": 1}')

    assert read_json(tmp_path / "file") == {"a": 1}


def test_FR89_a_fifo_a_link_a_device_and_an_endless_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"{}")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "large").write_bytes(b" " * (LIMIT + 1))
    for path in (*(tmp_path / name for name in ("fifo", "link", "large")), Path("/dev/zero")):
        with pytest.raises(OSError, match=str(path)):
            read_regular(path)
        assert read_json(path) == {}


def test_FR89_a_folder_in_place_of_a_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        assert read_json(tmp_path) == {}
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("content", ["[" * 60_000, '{"a":' * 60_000, "[1]", "", "1" * 5000])
def test_FR89_other_content_than_a_json_object_is_an_empty_one(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "file").write_text(content)

    assert read_json(tmp_path / "file") == {}
