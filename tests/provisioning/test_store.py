from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import ANSWERS, TOP
from tests.support.limits import limited
from ztpd.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnsafe,
    StoreVersion,
    ZtpKeyMismatch,
)
from ztpd.model import Secret, StoredCredentials
from ztpd.provisioning.call import check_pair
from ztpd.provisioning.store import CURRENT, PREVIOUS, CredentialStore, Loaded
from ztpd.sim.authority import Authority
from ztpd.wire import ztp

ANSWER = json.loads((ANSWERS / "flex-both.json").read_bytes())
NEW, BAD = f"{CURRENT}.new", f"{CURRENT}.bad"


def generation(number: int) -> StoredCredentials:
    answer = ANSWER | {"generation": number}
    return StoredCredentials(
        credentials=ztp.parse_answer("flex", answer),
        hardware_id="356938035643809",
        board="10000000abcdef01",
        stored_unix_s=1_795_000_000 + number,
        expires_unix_s=2_110_844_456,
    )


FIRST, SECOND, THIRD = generation(1), generation(2), generation(3)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(directory: Path) -> CredentialStore:
    return CredentialStore(directory)


def loaded(store: CredentialStore) -> StoredCredentials:
    found = store.load()
    assert found
    assert not found.previous
    assert found.note == ""
    return found.stored


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def content_of(stored: StoredCredentials, tmp_path: Path) -> bytes:
    """The file that holds ``stored``."""
    CredentialStore(tmp_path / "aside").save(stored)
    content = (tmp_path / "aside" / CURRENT).read_bytes()
    shutil.rmtree(tmp_path / "aside")
    return content


def put(directory: Path, **files: bytes) -> None:
    """A state directory as a power cut may leave it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for name, content in files.items():
        path = directory / {"current": CURRENT, "previous": PREVIOUS, "new": NEW}[name]
        path.write_bytes(content)
        path.chmod(0o600)


def test_saved_credentials_are_loaded(store: CredentialStore) -> None:
    store.save(FIRST)
    assert loaded(store) == FIRST


def test_nothing_is_loaded_where_nothing_was_saved(store: CredentialStore, directory: Path) -> None:
    assert store.load() is None
    assert not directory.exists()
    directory.mkdir(mode=0o700)
    assert store.load() is None


def test_imported_credentials_may_lack_identity_and_end(store: CredentialStore) -> None:
    imported = FIRST._replace(hardware_id="", board="", expires_unix_s=None)
    store.save(imported)
    assert loaded(store) == imported


def test_the_generation_before_is_kept(store: CredentialStore, directory: Path) -> None:
    for stored in (FIRST, SECOND, THIRD):
        store.save(stored)
    assert loaded(store) == THIRD
    (directory / CURRENT).unlink()
    assert store.load() == Loaded(SECOND, previous=True)


def written(directory: Path) -> list[tuple[int, int]]:
    """Which files there are, and when they were written; reading changes neither."""
    facts = [(directory / name).stat() for name in (CURRENT, PREVIOUS)]
    return [(each.st_ino, each.st_mtime_ns) for each in facts]


def test_the_same_content_is_not_written_again(store: CredentialStore, directory: Path) -> None:
    store.save(FIRST)
    store.save(SECOND)
    before = written(directory)
    store.save(SECOND._replace(stored_unix_s=SECOND.stored_unix_s + 86_400))
    assert written(directory) == before
    assert loaded(store) == SECOND


def test_no_other_file_stays(store: CredentialStore, directory: Path) -> None:
    store.save(FIRST)
    store.save(SECOND)
    assert names(directory) == {CURRENT, PREVIOUS}


def test_the_answer_is_stored_as_it_came(store: CredentialStore) -> None:
    odd = {"x": [1, 2.5, None, {"ü": "\ud800 \u2028"}], "": True}
    stored = FIRST._replace(credentials=ztp.parse_answer("live", ANSWER | odd))
    store.save(stored)
    assert loaded(store).credentials.answer == ANSWER | odd


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_T1_S12_modes_are_private_under_any_umask(
    store: CredentialStore, directory: Path, mask: int
) -> None:
    with umask(mask):
        store.save(FIRST)
        store.save(SECOND)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for name in (CURRENT, PREVIOUS):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    assert loaded(store) == SECOND


def test_S18_forget_leaves_nothing(store: CredentialStore, directory: Path) -> None:
    store.save(FIRST)
    store.save(SECOND)
    put(directory, current=b"", new=b"x")
    store.load()
    (directory / NEW).write_bytes(b"x")
    assert BAD in names(directory)
    store.forget()
    assert names(directory) == set()
    assert store.load() is None


def test_forgetting_nothing_is_no_error(store: CredentialStore, directory: Path) -> None:
    store.forget()
    assert not directory.exists()


# The files after a power cut in each step of a save; "part" is a file that was written in part.
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"new": "part"}, None),
        ({"new": "second"}, None),
        ({"current": "first", "new": "part"}, FIRST),
        ({"current": "first", "new": "second"}, FIRST),
        ({"previous": "first", "new": "second"}, FIRST),
        ({"previous": "first"}, FIRST),
        ({"current": "second", "previous": "first"}, SECOND),
        ({"current": "second"}, SECOND),
        ({"current": "third", "previous": "first"}, THIRD),
        ({"current": "third", "previous": "second"}, THIRD),
        ({"current": "second", "previous": "first", "new": "third"}, SECOND),
        ({"previous": "second", "new": "third"}, SECOND),
    ],
    ids=str,
)
def test_S05_after_a_cut_at_any_step_a_whole_generation_is_loaded(
    store: CredentialStore,
    directory: Path,
    tmp_path: Path,
    files: dict[str, str],
    expected: StoredCredentials | None,
) -> None:
    contents = {"first": content_of(FIRST, tmp_path), "second": content_of(SECOND, tmp_path)}
    contents |= {"third": content_of(THIRD, tmp_path), "part": content_of(THIRD, tmp_path)[:700]}
    put(directory, **{name: contents[which] for name, which in files.items()})
    found = store.load()
    assert (found.stored if found else None) == expected
    assert NEW not in names(directory)
    store.save(THIRD)
    assert loaded(store) == THIRD


def flipped(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place % len(content)] ^= 1 << bit
    return bytes(changed)


def damaged(content: bytes) -> dict[str, bytes]:
    length = len(content)
    return {
        "empty": b"",
        "cut in the middle": content[: length // 2],
        "cut by one byte": content[: length - 2],
        "NUL from the middle": content[: length // 2] + bytes(length - length // 2),
        "all NUL": bytes(length),
        "garbage": os.urandom(length),
        "a bit flipped": flipped(content, length // 3, 0),
        "the version flipped": content.replace(b'"format": 1', b'"format": 9', 1),
        "another object": b'{"format": 1}',
        "no object": b"[]",
        "nested deep": b"[" * 100_000,
        "endless": content * 200,
    }


KINDS = sorted(damaged(b"{}" * 10))


@pytest.mark.parametrize("kind", KINDS)
def test_S07_a_damaged_file_is_put_aside_and_the_generation_before_is_used(
    store: CredentialStore, directory: Path, kind: str
) -> None:
    store.save(FIRST)
    store.save(SECOND)
    bad = damaged((directory / CURRENT).read_bytes())[kind]
    (directory / CURRENT).write_bytes(bad)
    found = store.load()
    assert found
    assert found.stored == FIRST
    assert found.previous
    assert found.note.startswith(f"{CURRENT}: ")
    assert (directory / BAD).read_bytes() == bad
    assert names(directory) == {PREVIOUS, BAD}


def test_only_the_last_damaged_file_is_kept(store: CredentialStore, directory: Path) -> None:
    for stored, bad in ((FIRST, b"one"), (SECOND, b"two")):
        store.save(stored)
        (directory / CURRENT).write_bytes(bad)
        with contextlib.suppress(StoreCorrupt):
            store.load()
    assert (directory / BAD).read_bytes() == b"two"


def test_damage_never_pushes_out_a_sound_generation(
    store: CredentialStore, directory: Path
) -> None:
    store.save(FIRST)
    store.save(SECOND)
    (directory / CURRENT).write_bytes(b"damaged, and not loaded since")
    store.save(THIRD)
    (directory / CURRENT).unlink()
    assert store.load() == Loaded(FIRST, previous=True)


@pytest.mark.parametrize("kind", KINDS)
def test_S08_two_damaged_generations_are_corrupt_until_a_new_one_is_saved(
    store: CredentialStore, directory: Path, kind: str
) -> None:
    store.save(FIRST)
    store.save(SECOND)
    for name in (CURRENT, PREVIOUS):
        (directory / name).write_bytes(damaged((directory / name).read_bytes())[kind])
    for _ in range(2):
        with pytest.raises(StoreCorrupt) as caught:
            store.load()
        assert PREVIOUS in caught.value.detail
    store.save(THIRD)
    assert loaded(store) == THIRD


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 20_000), bit=st.integers(0, 7))
def test_S07_any_flipped_bit_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    directory = tmp_path_factory.mktemp("state", numbered=True)
    directory.chmod(0o700)
    store = CredentialStore(directory)
    store.save(FIRST)
    content = (directory / CURRENT).read_bytes()
    (directory / CURRENT).write_bytes(flipped(content, place, bit))
    try:
        assert loaded(store) == FIRST
    except StoreCorrupt as error:
        shown = f"{error} {error.__cause__!r} {error.__context__!r}"
    else:
        shown = ""
    shutil.rmtree(directory)
    assert "PRIVATE" not in shown
    assert "synthPass001" not in shown


def resealed(content: bytes, **changes: Any) -> bytes:
    """A file with other fields and a right checksum."""
    whole = json.loads(content)
    stored = whole["stored"] | changes
    stored = {name: value for name, value in stored.items() if value is not ...}
    canonical = json.dumps([1, stored], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return json.dumps({"format": 1, "sha256": digest, "stored": stored}).encode()


def test_the_checksum_is_over_format_and_content(store: CredentialStore, directory: Path) -> None:
    store.save(FIRST)
    put(directory, current=resealed((directory / CURRENT).read_bytes(), board="another"))
    assert loaded(store) == FIRST._replace(board="another")


@pytest.mark.parametrize("changes", [{"board": ...}, {"answer": {"clientId": "x"}}], ids=str)
def test_a_whole_file_without_usable_content_is_corrupt(
    store: CredentialStore, directory: Path, changes: dict[str, Any]
) -> None:
    store.save(FIRST)
    (directory / CURRENT).write_bytes(resealed((directory / CURRENT).read_bytes(), **changes))
    with pytest.raises(StoreCorrupt):
        store.load()


def test_S16_a_newer_format_is_refused_and_kept(store: CredentialStore, directory: Path) -> None:
    store.save(FIRST)
    newer = json.dumps({"format": 3, "sha256": "?", "something": "else"}).encode()
    (directory / CURRENT).write_bytes(newer)
    for act in (store.load, lambda: store.save(SECOND)):
        with pytest.raises(StoreVersion, match="format 3"):
            act()
    assert (directory / CURRENT).read_bytes() == newer


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602])
@pytest.mark.parametrize("name", [CURRENT, PREVIOUS])
def test_S10_a_file_open_to_others_is_refused_with_the_remedy(
    store: CredentialStore, directory: Path, name: str, mode: int
) -> None:
    put(directory, current=b"damaged")
    store.save(FIRST)
    store.save(SECOND)
    if name == PREVIOUS:
        (directory / CURRENT).unlink()
    (directory / name).chmod(mode)
    with pytest.raises(StoreUnsafe) as caught:
        store.load()
    assert f"mode {mode:04o}; run `chmod 0600 {directory / name}`" in caught.value.detail


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o710])
def test_S10_a_directory_open_to_others_is_refused_with_the_remedy(
    store: CredentialStore, directory: Path, mode: int
) -> None:
    store.save(FIRST)
    directory.chmod(mode)
    for act in (store.load, lambda: store.save(SECOND), store.forget):
        with pytest.raises(StoreUnsafe) as caught:
            act()
        assert f"run `chmod 0700 {directory}`" in caught.value.detail
    assert CURRENT in names(directory)


def test_the_remedy_is_a_command_the_shell_takes_as_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "a b'c"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    with pytest.raises(StoreUnsafe) as caught:
        CredentialStore(directory).load()
    subprocess.run(["sh", "-c", caught.value.detail.split("`")[1]], check=True)
    assert CredentialStore(directory).load() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", ["", CURRENT])
def test_S09_a_foreign_owner_is_refused_with_the_remedy(
    store: CredentialStore, directory: Path, name: str
) -> None:
    store.save(FIRST)
    os.chown(directory / name, 65_534, 65_534)
    with pytest.raises(StoreUnsafe, match="run `chown -R root "):
        store.load()


@pytest.mark.parametrize("name", [CURRENT, PREVIOUS])
@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "socket", "directory"])
def test_S11_T3_anything_but_a_plain_file_is_refused(
    store: CredentialStore, directory: Path, tmp_path: Path, name: str, kind: str
) -> None:
    store.save(FIRST)
    store.save(SECOND)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(directory / name, elsewhere)
    before = elsewhere.read_bytes()
    (directory / CURRENT).unlink(missing_ok=True)
    path = directory / name
    match kind:
        case "symlink":
            path.symlink_to(elsewhere)
        case "hard link":
            path.hardlink_to(elsewhere)
        case "fifo":
            os.mkfifo(path, 0o600)
        case "socket":
            with socket.socket(socket.AF_UNIX) as sock, contextlib.chdir(directory):
                sock.bind(name)
        case "directory":
            path.mkdir(mode=0o700)
    with pytest.raises(StoreUnsafe):
        store.load()
    if name == CURRENT:
        with pytest.raises(StoreUnsafe):
            store.save(THIRD)
    assert elsewhere.read_bytes() == before


def test_T3_a_link_in_the_way_of_a_new_generation_is_not_followed(
    store: CredentialStore, directory: Path, tmp_path: Path
) -> None:
    store.save(FIRST)
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    (directory / NEW).symlink_to(target)
    store.save(SECOND)
    assert target.read_bytes() == b"untouched"
    assert loaded(store) == SECOND


@pytest.mark.parametrize("make", ["symlink_to", "write_bytes"])
def test_T3_a_directory_that_is_none_is_refused(
    store: CredentialStore, directory: Path, tmp_path: Path, make: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    CredentialStore(elsewhere).save(FIRST)
    if make == "symlink_to":
        directory.symlink_to(elsewhere)
    else:
        directory.write_bytes(b"")
    for act in (store.load, lambda: store.save(SECOND), store.forget):
        with pytest.raises(StoreUnsafe):
            act()
    assert loaded(CredentialStore(elsewhere)) == FIRST


def test_a_directory_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        CredentialStore(tmp_path / "neither" / "nor").save(FIRST)


def test_S01_a_write_that_stops_half_way_leaves_the_old_generation(
    store: CredentialStore, directory: Path
) -> None:
    store.save(FIRST)
    with limited(resource.RLIMIT_FSIZE, 1000), pytest.raises(StoreFull):
        store.save(SECOND)
    assert names(directory) == {CURRENT}
    assert loaded(store) == FIRST
    store.save(SECOND)
    assert loaded(store) == SECOND


def in_mounts_of_its_own(script: str, *arguments: Path | str) -> list[str]:
    """The words ``script`` prints, run in a mount namespace of its own."""
    command = ["unshare", "-Urm"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    run = [*command, sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()


TRY = f"""
import os, subprocess, sys
from pathlib import Path
from ztpd.errors import StoreError
from ztpd.provisioning.store import CredentialStore
sys.path.insert(0, {str(TOP)!r})
from tests.provisioning.test_store import FIRST, SECOND, THIRD
directory = Path(sys.argv[1])
store = CredentialStore(directory)
def attempt(act, *arguments):
    try:
        found = act(*arguments)
        print(found.stored.credentials.answer["generation"] if found else "done")
    except StoreError as error:
        print(error.code)
def mount(*words):
    subprocess.run(["mount", *words], check=True)
"""


def test_S04_a_read_only_disk_can_be_read(store: CredentialStore, directory: Path) -> None:
    store.save(FIRST)
    (directory / NEW).write_bytes(b"left by a power cut")
    script = (
        TRY
        + """
mount("--bind", sys.argv[1], sys.argv[1])
mount("-o", "remount,bind,ro", sys.argv[1])
attempt(store.load)
attempt(store.save, SECOND)
attempt(store.forget)
"""
    )
    said = in_mounts_of_its_own(script, directory)
    assert said == ["1", StoreReadOnly.code, StoreReadOnly.code]


@pytest.mark.parametrize("limit", ["size=16k", "nr_inodes=3"])
def test_S01_S14_a_full_disk_leaves_the_old_generation(tmp_path: Path, limit: str) -> None:
    script = (
        TRY
        + """
mount("-t", "tmpfs", "-o", sys.argv[2] + ",mode=0700", "tmpfs", sys.argv[1])
attempt(store.save, FIRST)
filler = directory / "filler"
try:
    filler.write_bytes(bytes(100_000))
except OSError:
    pass
attempt(store.save, SECOND)
attempt(store.load)
print(len(os.listdir(directory)))
filler.unlink()
attempt(store.save, SECOND)
attempt(store.load)
"""
    )
    said = in_mounts_of_its_own(script, tmp_path, limit)
    assert said == ["done", StoreFull.code, "1", "2", "done", "2"]


@pytest.mark.parametrize(
    ("injection", "survivor"),
    [
        ("fsync:error=EIO:when=1", "1"),
        ("fsync:error=ENOSPC:when=1", "1"),
        ("rename,renameat,renameat2:error=EIO:when=1", "1"),
        ("rename,renameat,renameat2:error=EIO:when=2", "1"),
        ("fsync:error=EIO:when=2", "2"),
    ],
)
def test_S02_S03_a_failing_disk_call_fails_the_save_and_the_next_one_starts_clean(
    store: CredentialStore, directory: Path, tmp_path: Path, injection: str, survivor: str
) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    store.save(FIRST)
    script = (
        TRY
        + """
attempt(store.save, SECOND)
attempt(store.load)
print(sum(name.endswith(".new") for name in os.listdir(directory)))
attempt(store.save, SECOND)
attempt(store.load)
"""
    )
    trace = tmp_path / "trace"
    run = ["strace", "-f", "--seccomp-bpf", "-o", str(trace), "-e", f"inject={injection}"]
    run += ["-e", "trace=fsync,rename,renameat,renameat2"]
    run += [sys.executable, "-c", script, str(directory)]
    ran = subprocess.run(run, check=False, capture_output=True, text=True)
    if "ptrace" in ran.stderr:
        pytest.skip("strace may not trace here, as in some containers")
    failed = StoreFull.code if "ENOSPC" in injection else StoreError.code
    assert ran.stdout.split() == [failed, survivor, "0", "done", "2"]
    if "fsync" in injection:
        assert "fsync" in trace.read_text().split("INJECTED", 1)[1], "synced anew"


def test_S22_a_generation_on_a_bad_block_is_as_good_as_none_and_can_be_replaced(
    store: CredentialStore, directory: Path, tmp_path: Path
) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    store.save(FIRST)
    store.save(SECOND)
    script = TRY + "attempt(store.load)\nattempt(store.save, THIRD)\nattempt(store.load)\n"
    run = ["strace", "-f", "-o", str(tmp_path / "trace"), "-P", str(directory / CURRENT)]
    run += ["-e", "inject=read:error=EIO:when=1..2", sys.executable, "-c", script, str(directory)]
    ran = subprocess.run(run, check=False, capture_output=True, text=True)
    if "ptrace" in ran.stderr:
        pytest.skip("strace may not trace here, as in some containers")
    assert ran.stdout.split() == ["1", "done", "3"]
    assert loaded(store) == THIRD


def test_S22_what_the_disk_cannot_read_for_two_minutes_counts_as_lost(
    store: CredentialStore, directory: Path
) -> None:
    store.save(FIRST)
    script = (
        TRY
        + """
import asyncio, random
from tests.support import virtualtime
from ztpd import log
from ztpd.provisioning.keeper import Keeper
mount("--bind", f"/proc/{os.getpid()}/mem", str(directory / "credentials.json"))  # EIO at 0
async def load():
    keeper = Keeper(store, log.FailureLog(), random.Random(1))
    while True:
        try:
            return await keeper.load(), asyncio.get_running_loop().time()
        except StoreError as error:
            reason = error
        await asyncio.sleep(10)
print(*virtualtime.run(load()))
"""
    )
    assert in_mounts_of_its_own(script, directory) == ["None", "120.0"]


def test_calls_in_several_threads_take_turns(store: CredentialStore, directory: Path) -> None:
    problems: list[BaseException] = []

    def work(stored: StoredCredentials) -> None:
        own = CredentialStore(directory)
        try:
            for _ in range(15):
                own.save(stored)
                own.load()
                store.save(stored)
        except BaseException as error:  # handed to the test
            problems.append(error)

    threads = [threading.Thread(target=work, args=(stored,)) for stored in (FIRST, SECOND, THIRD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert loaded(store) in (FIRST, SECOND, THIRD)
    assert names(directory) == {CURRENT, PREVIOUS}


def test_no_descriptor_stays_open(store: CredentialStore, directory: Path) -> None:
    store.save(FIRST)
    before = os.listdir("/proc/self/fd")
    store.save(SECOND)
    store.load()
    (directory / CURRENT).chmod(0o644)
    with pytest.raises(StoreUnsafe):
        store.load()
    directory.chmod(0o755)
    with pytest.raises(StoreUnsafe):
        store.load()
    check_pair(ANSWER["certificate"], Secret(ANSWER["privateKey"]))
    assert os.listdir("/proc/self/fd") == before


def test_a_pair_of_the_service_belongs_together() -> None:
    check_pair(ANSWER["certificate"], Secret(ANSWER["privateKey"]))
    pair = Authority().client("x")
    check_pair(pair.certificate, pair.private_key)


def encrypted(how: serialization.PrivateFormat) -> str:
    key = serialization.load_pem_private_key(ANSWER["privateKey"].encode(), None)
    passphrase = serialization.BestAvailableEncryption(b"passphrase")
    return key.private_bytes(serialization.Encoding.PEM, how, passphrase).decode()


PKCS8, PKCS1 = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL


@pytest.mark.parametrize("how", [PKCS8, PKCS1])
def test_Z10_an_encrypted_key_is_refused_without_a_prompt(
    how: serialization.PrivateFormat,
) -> None:
    with pytest.raises(ZtpKeyMismatch, match="encrypted"):
        check_pair(ANSWER["certificate"], Secret(encrypted(how)))


@pytest.mark.parametrize(
    ("certificate", "private_key"),
    [
        (ANSWER["certificate"], Authority().client("x").private_key.reveal()),
        (Authority().client("x").certificate, Authority().client("x").private_key.reveal()),
        (Authority().client("x").certificate, ANSWER["privateKey"]),
        (ANSWER["certificate"], ""),
        ("", ANSWER["privateKey"]),
        (ANSWER["certificate"][:700], ANSWER["privateKey"]),
        (ANSWER["certificate"], ANSWER["privateKey"][:700]),
        (ANSWER["certificate"].replace("A", "B"), ANSWER["privateKey"]),
        (ANSWER["certificate"], ANSWER["certificate"]),
        ("\x00", "ü"),
    ],
    ids=[
        *("another key", "another pair", "another certificate", "no key", "no certificate"),
        *("half a certificate", "half a key", "altered", "no key but a certificate", "no text"),
    ],
)
def test_Z10_any_other_pair_is_refused(certificate: str, private_key: str) -> None:
    with pytest.raises(ZtpKeyMismatch) as caught:
        check_pair(certificate, Secret(private_key))
    assert "MII" not in f"{caught.value} {caught.value.__cause__!r}"
