from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest

from ztpd.sim.authority import Authority, Pair, server_context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Both sides of a TLS handshake in memory; the client's object."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = {near, far}
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.discard(side)
            except ssl.SSLWantReadError:
                pass
    return near


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_server_certificate_is_for_loopback_by_default(name: str) -> None:
    authority = Authority()
    trusting = ssl.create_default_context(cadata=authority.certificate)
    handshake(authority.server_context(), trusting, name)


def test_a_server_certificate_is_for_the_names_given_only() -> None:
    authority = Authority()
    trusting = ssl.create_default_context(cadata=authority.certificate)
    context = authority.server_context("broker.example")
    handshake(context, trusting, "broker.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context, trusting, "localhost")


def test_one_authority_does_not_vouch_for_another() -> None:
    trusting = ssl.create_default_context(cadata=Authority().certificate)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(Authority().server_context(), trusting, "localhost")


def test_a_client_certificate_carries_the_client_id_as_common_name(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.client("00000000-0000-4000-8000-000000000007").write(
        tmp_path, "client"
    )
    server = authority.server_context()
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(cadata=authority.certificate)
    client = ssl.create_default_context(cafile=str(authority.write(tmp_path / "ca.pem")))
    client.load_cert_chain(certificate, key)

    handshake(server, client, "localhost")
    shown = ssl._ssl._test_decode_cert(str(certificate))  # type: ignore[attr-defined]
    names = {key: value for entry in shown["subject"] for key, value in entry}
    assert names["commonName"] == "00000000-0000-4000-8000-000000000007"


def test_a_written_key_is_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        _, key = Authority().client("x").write(tmp_path, "client")
    finally:
        os.umask(before)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_pair_does_not_print_its_key() -> None:
    pair = Authority().client("x")
    assert isinstance(pair, Pair)
    assert "PRIVATE" not in repr(pair)
    server_context(pair)
