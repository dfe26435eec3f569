"""P1, P2, S06: a power cut leaves a whole generation, and loses none that was reported."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crashes import Disk, Operation, crashes, traced
from tests.support.writer import HARDWARE_ID, generation, number_of, sealing
from ztpd.provisioning.pacing import SCHEDULE_FILE
from ztpd.provisioning.schedule import Schedule
from ztpd.provisioning.store import CURRENT, CredentialStore

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def prepared(place: Path, *, first: bool) -> Path:
    """A directory without credentials, or with generation 1."""
    directory = place / "state"
    directory.mkdir(mode=0o700)
    if not first:
        CredentialStore(directory).save(generation(1))
    return directory


def loaded(disk: Disk, place: Path) -> int | None:
    """The number of the generation that the next start finds."""
    directory = place / "after"
    disk.write(directory)
    try:
        found = sealing(directory).load()
        assert not list(directory.glob("*.new")), "no part of a generation stays"
        return number_of(found.stored) if found else None
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("action", ["store", "store sealed", "provision"])
@pytest.mark.parametrize("first", [True, False], ids=["none before", "one before"])
def test_S06_P1_P2_every_state_that_a_power_cut_may_leave(
    place: Path, action: str, first: bool
) -> None:
    before, steps = traced(prepared(place, first=first), action)
    states = 0
    for disk, promises in crashes(before, steps):
        states += 1
        stored = [int(each.split()[1]) for each in promises if each.startswith("stored")]
        begun = [int(each.split()[1]) for each in promises if each.startswith("begin")]
        oldest = stored[-1] if stored else None if first else 1
        allowed = {oldest, begun[-1]} if begun else {oldest}
        assert loaded(disk, place) in allowed, (promises, disk.names)

        if "called" in promises:
            disk.write(place / "called")
            assert Schedule(place / "called" / SCHEDULE_FILE).called_for(HARDWARE_ID)
            shutil.rmtree(place / "called")
    assert states >= 20


def test_S06_a_power_cut_while_a_store_is_sealed_leaves_both_generations(place: Path) -> None:
    directory = prepared(place, first=False)
    CredentialStore(directory).save(generation(2))
    before, steps = traced(directory, "convert")
    states = 0
    for disk, promises in crashes(before, steps):
        states += 1
        disk.write(place / "after")
        store = sealing(place / "after")
        found, previous = store.load(), store.load_previous()
        assert found is not None
        assert found.stored == generation(2)
        assert previous == generation(1)
        assert found.sealed or "sealed" not in promises
        shutil.rmtree(place / "after")
    assert states >= 10


def test_P2_provisioned_is_said_after_file_and_directory_are_on_the_disk(place: Path) -> None:
    _, steps = traced(prepared(place, first=False), "provision")
    said = next(place for place, step in enumerate(steps) if step.data.startswith(b"stored"))
    created = next(
        step for step in steps if step.kind == "create" and step.name == f"{CURRENT}.new"
    )
    synced = [step for step in steps[:said] if step.kind.startswith("sync")]

    assert Operation("sync file", inode=created.inode) in synced
    renamed = max(
        place
        for place, step in enumerate(steps[:said])
        if step.kind == "rename" and step.name == CURRENT
    )
    assert Operation("sync names") in steps[renamed:said]


def test_the_model_finds_a_writer_that_forgets_to_sync() -> None:
    """Or it would prove nothing: temporary file and rename, without any fsync."""
    before = Disk({"file": 0}, {0: b"old"})
    steps = [
        Operation("create", 1, "file.new"),
        Operation("write", 1, data=b"newer"),
        Operation("rename", 1, "file", old="file.new"),
        Operation("promise", data=b"stored"),
    ]
    found = {(disk.key(), "stored" in promises) for disk, promises in crashes(before, steps)}

    assert ((("file", b""),), False) in found, "an empty file under the final name"
    assert ((("file", b"ne"),), True) in found, "half of it"
    assert ((("file", b"old"),), True) in found, "lost after the promise"
