"""Credentials sealed to the machine: the files, and their fate on another machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.credentials_service import SimCredentialsService
from tests.support.writer import generation
from ztpd.errors import SealingFailed, StoreCorrupt, StoreError, StoreUnsealable
from ztpd.provisioning.keeper import load_soon
from ztpd.provisioning.store import CURRENT, PREVIOUS, CredentialStore
from ztpd.system.sealing import CredentialsService

FIRST, SECOND, THIRD = generation(1), generation(2), generation(3)
BAD = f"{CURRENT}.bad"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SimCredentialsService]:
    with SimCredentialsService(tmp_path / "io.systemd.Credentials").listening() as running:
        yield running


@pytest.fixture
def sealed(service: SimCredentialsService, tmp_path: Path) -> CredentialStore:
    return store(tmp_path, service)


def store(tmp_path: Path, service: SimCredentialsService, *, seal: bool = True) -> CredentialStore:
    sealer = CredentialsService(service.path, within_s=0.3)
    return CredentialStore(tmp_path / "state", seal=seal, sealer=sealer)


def secrets_in(directory: Path) -> list[str]:
    """The files that contain a secret of a generation in clear text."""
    secrets = [secret.reveal() for secret in FIRST.credentials.secrets()]
    lines = {line for secret in secrets for line in secret.splitlines() if len(line) > 7}
    assert len(lines) > 10
    return [
        path.name
        for path in directory.iterdir()
        if any(line in path.read_text(errors="replace") for line in lines)
    ]


def test_no_secret_is_in_any_file(sealed: CredentialStore, tmp_path: Path) -> None:
    sealed.save(FIRST)
    sealed.save(SECOND)

    assert {path.name for path in (tmp_path / "state").iterdir()} == {CURRENT, PREVIOUS}
    assert secrets_in(tmp_path / "state") == []
    found = sealed.load()
    assert found is not None
    assert (found.stored, found.sealed, found.note) == (SECOND, True, "")
    assert sealed.load_previous() == FIRST
    assert sealed.not_sealed is None


def test_an_equal_generation_is_not_written_again(sealed: CredentialStore, tmp_path: Path) -> None:
    sealed.save(FIRST)
    content = (tmp_path / "state" / CURRENT).read_bytes()
    sealed.save(FIRST._replace(stored_unix_s=FIRST.stored_unix_s + 9))
    sealed.convert()

    assert (tmp_path / "state" / CURRENT).read_bytes() == content
    assert sealed.load_previous() is None


@pytest.mark.parametrize("by", ["another host key", "no host key"])
def test_on_another_machine_they_cannot_be_unsealed_and_stay(
    sealed: CredentialStore, service: SimCredentialsService, tmp_path: Path, by: str
) -> None:
    sealed.save(FIRST)
    sealed.save(SECOND)
    own, service.key = service.key, None if by == "no host key" else b"another"

    for _ in range(2):
        with pytest.raises(StoreUnsealable):
            sealed.load()
    assert sealed.load_previous() is None
    service.key = own
    found = sealed.load()
    assert found is not None
    assert found.stored == SECOND


def test_new_credentials_take_the_place_of_those_of_another_machine(
    sealed: CredentialStore, service: SimCredentialsService
) -> None:
    """And those are the previous ones, for the other root of a system with two."""
    sealed.save(FIRST)
    first_root, service.key = service.key, b"second root"
    sealed.save(SECOND)
    found = sealed.load()
    assert found is not None
    assert found.stored == SECOND

    service.key = first_root
    found = sealed.load()
    assert found is not None
    assert (found.stored, found.previous) == (FIRST, True)


def test_damage_is_told_from_the_key_of_another_machine(
    sealed: CredentialStore, tmp_path: Path
) -> None:
    sealed.save(FIRST)
    path = tmp_path / "state" / CURRENT
    whole = json.loads(path.read_bytes())
    path.write_text(json.dumps(whole | {"sealed": whole["sealed"][:-8] + "AAAAAAA="}))
    with pytest.raises(StoreCorrupt, match="checksum"):
        sealed.load()
    assert (tmp_path / "state" / BAD).exists()


@given(place=st.integers(0, 20_000), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_flipped_bit_never_gives_other_credentials(
    sealed: CredentialStore, tmp_path: Path, place: int, bit: int
) -> None:
    shutil.rmtree(tmp_path / "state", ignore_errors=True)
    sealed.save(FIRST)
    path = tmp_path / "state" / CURRENT
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = sealed.load()
    except StoreError:
        return
    assert found is not None
    assert found.stored == FIRST  # in a space, or the case of a hexadecimal digit


def test_a_service_in_trouble_is_no_other_machine(
    sealed: CredentialStore, service: SimCredentialsService
) -> None:
    sealed.save(FIRST)
    service.mode = "tpm"
    with pytest.raises(SealingFailed):
        sealed.load()
    service.mode = ""
    assert sealed.load() is not None


def test_where_nothing_seals_they_are_stored_as_ever_and_the_reason_is_known(
    tmp_path: Path,
) -> None:
    sealer = CredentialsService(tmp_path / "none")
    plain = CredentialStore(tmp_path / "state", seal=True, sealer=sealer)
    plain.save(FIRST)

    assert plain.not_sealed is not None
    assert "systemd 256" in plain.not_sealed.detail
    found = plain.load()
    assert found is not None
    assert (found.stored, found.sealed) == (FIRST, False)


def test_a_store_in_clear_text_is_sealed_both_generations_and_the_damaged_one_removed(
    service: SimCredentialsService, tmp_path: Path
) -> None:
    plain = store(tmp_path, service, seal=False)
    plain.save(FIRST)
    plain.save(SECOND)
    (tmp_path / "state" / BAD).write_bytes((tmp_path / "state" / CURRENT).read_bytes())
    assert service.calls == [], "without the setting systemd is not asked"

    sealing = store(tmp_path, service)
    sealing.convert()

    assert secrets_in(tmp_path / "state") == []
    found = sealing.load()
    assert found is not None
    assert (found.stored, found.sealed) == (SECOND, True)
    assert sealing.load_previous() == FIRST


def test_without_the_setting_a_sealed_store_is_read_and_unsealed(
    sealed: CredentialStore, service: SimCredentialsService, tmp_path: Path
) -> None:
    sealed.save(FIRST)
    sealed.save(SECOND)
    plain = store(tmp_path, service, seal=False)
    found = plain.load()
    assert found is not None
    assert found.stored == SECOND

    plain.convert()
    service.key = None

    found = plain.load()
    assert found is not None
    assert (found.stored, found.sealed) == (SECOND, False)
    assert plain.load_previous() == FIRST


def test_a_save_seals_the_predecessor_too(service: SimCredentialsService, tmp_path: Path) -> None:
    store(tmp_path, service, seal=False).save(FIRST)
    store(tmp_path, service).save(SECOND)

    assert secrets_in(tmp_path / "state") == []
    assert store(tmp_path, service).load_previous() == FIRST


def test_conversion_keeps_what_cannot_be_unsealed(
    sealed: CredentialStore, service: SimCredentialsService, tmp_path: Path
) -> None:
    sealed.save(FIRST)
    content = (tmp_path / "state" / CURRENT).read_bytes()
    service.key = b"another"
    store(tmp_path, service, seal=False).convert()

    assert (tmp_path / "state" / CURRENT).read_bytes() == content


def test_a_saved_third_pushes_out_the_first_only(sealed: CredentialStore) -> None:
    for each in (FIRST, SECOND, THIRD):
        sealed.save(each)
    assert sealed.load_previous() == SECOND
    sealed.forget()
    assert sealed.load() is None


async def test_S21_a_systemd_that_hangs_is_named_to_a_person_who_waits_and_not_the_disk(
    sealed: CredentialStore, service: SimCredentialsService, tmp_path: Path
) -> None:
    sealed.save(FIRST)
    found = await load_soon(tmp_path / "state", service=service.path)
    assert found
    assert found.stored == FIRST
    service.mode = "silent"
    with pytest.raises(SealingFailed):
        await load_soon(tmp_path / "state", within_s=1, service=service.path)
