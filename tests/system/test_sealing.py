"""The client of systemd's service that seals, against a simulated one."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.credentials_service import SimCredentialsService
from ztpd.errors import SealingFailed, StoreUnsealable
from ztpd.system.sealing import CredentialsService


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SimCredentialsService]:
    with SimCredentialsService(tmp_path / "io.systemd.Credentials").listening() as running:
        yield running


@pytest.fixture
def sealer(service: SimCredentialsService) -> CredentialsService:
    return CredentialsService(service.path, within_s=0.3)


@given(plain=st.binary(max_size=3000), piece=st.integers(1, 4000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_the_same_bytes_come_back(
    service: SimCredentialsService, sealer: CredentialsService, plain: bytes, piece: int
) -> None:
    service.piece = piece
    sealed = sealer.seal(plain)

    assert sealer.unseal(sealed) == plain
    assert len(plain) < 4 or plain not in base64.b64decode(sealed)


def test_the_key_of_another_machine_is_final(
    service: SimCredentialsService, sealer: CredentialsService
) -> None:
    sealed = sealer.seal(b"secret")
    for key in (b"another", None):
        service.key = key
        with pytest.raises(StoreUnsealable):
            sealer.unseal(sealed)


def test_damage_is_final(sealer: CredentialsService) -> None:
    sealed = sealer.seal(b"secret" * 20)
    with pytest.raises(StoreUnsealable, match="BadFormat"):
        sealer.unseal(sealed[:80] + "AAAA" + sealed[84:])


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("silent", "no reply"),
        ("closes", "closed without a reply"),
        ("nonsense", "not a JSON object"),
        ("tpm", "io.systemd.System, EIO"),
        ("lockout", "TPMInDictionaryLockout"),
    ],
)
def test_a_service_in_trouble_is_not_final(
    service: SimCredentialsService, sealer: CredentialsService, mode: str, reason: str
) -> None:
    sealed = sealer.seal(b"secret")
    service.mode = mode
    began = time.monotonic()
    with pytest.raises(SealingFailed, match=reason):
        sealer.unseal(sealed)
    with pytest.raises(SealingFailed, match=reason):
        sealer.seal(b"secret")
    assert time.monotonic() - began < 3


def test_an_older_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(SealingFailed, match="systemd 256 or newer"):
        CredentialsService(tmp_path / "none").seal(b"secret")


def test_a_stopped_socket_is_not_final(
    service: SimCredentialsService, sealer: CredentialsService
) -> None:
    sealed = sealer.seal(b"secret")
    service.path.rename(service.path.with_name("moved"))
    service.path.touch()  # a path where nothing listens
    with pytest.raises(SealingFailed, match="refused"):
        sealer.unseal(sealed)
