"""Requirements for a server's certificate: real handshakes with chains made for the purpose."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import TOP
from ztpd.errors import (
    ConfigFileUnusable,
    ConnectionLost,
    NetworkError,
    SessionRefused,
    TlsClientCertificate,
    TlsHostname,
    TlsUntrusted,
)
from ztpd.model import Secret
from ztpd.net.dial import dial
from ztpd.net.errormap import network_error
from ztpd.net.resolve import resolve
from ztpd.net.tls import client_context, secure, verifying_context
from ztpd.sim.authority import Authority, Pair, server_context
from ztpd.system.offload import offload


def settled_descriptors() -> list[str]:
    gc.collect()
    return sorted(os.listdir("/proc/self/fd"))


class Signer:
    """A key with its certificate; ``key_usage`` False leaves that extension out, as small private
    authorities do."""

    def __init__(
        self,
        name: str,
        issuer: Signer | None = None,
        *,
        ca: bool = True,
        key_usage: bool = True,
        host: str = "localhost",
        ends: timedelta = timedelta(days=1),
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.issuer = issuer or self
        now = datetime.now(UTC)
        public = self.key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.issuer.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        if ca and key_usage:
            usage = x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                **dict.fromkeys(
                    (
                        "content_commitment",
                        "key_encipherment",
                        "data_encipherment",
                        "key_agreement",
                        "encipher_only",
                        "decipher_only",
                    ),
                    False,
                ),
            )
            builder = builder.add_extension(usage, critical=True)
        self.certificate = builder.sign(self.issuer.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def shown_with(self, *chain: Signer) -> ssl.SSLContext:
        shown = self.pem + "".join(each.pem for each in chain)
        return server_context(Pair(shown, Secret(self.key_pem)))


async def meet(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> None:
    """A handshake and a byte back. Raises the typed error, as a session would."""

    def answer() -> None:  # in a thread: asyncio's servers drop the alert that says why
        accepted, _ = listening.accept()
        accepted.settimeout(5)
        with (
            contextlib.suppress(OSError),
            server.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as side,
        ):
            try:
                side.do_handshake()
                side.sendall(side.recv(1))
            except OSError:
                side.shutdown(socket.SHUT_WR)  # unread bytes would turn the alert into a reset
                while side.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer)
        answering.start()
        sock, _ = await dial(await resolve("127.0.0.1", listening.getsockname()[1]))
        reader = asyncio.StreamReader()
        try:
            raw, secured = await secure(
                sock, lambda: asyncio.StreamReaderProtocol(reader), client, host
            )
            try:
                secured.write(b"!")
                assert await reader.read(1) == b"!"
            finally:
                raw.abort()
        except OSError as error:
            raise network_error(error, host) from error
        finally:
            await offload(answering.join)


def trusting(directory: Path, *signers: Signer) -> ssl.SSLContext:
    path = directory / "ca.pem"
    path.write_text("".join(signer.pem for signer in signers))
    return verifying_context(str(path))


NEWER = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


@pytest.mark.parametrize("newer", [False, True], ids=["python 3.11", "python 3.13"])
def test_FR22_the_flags_of_verification_are_the_same_on_every_python(
    newer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library's function as either release has it."""
    make = ssl.create_default_context

    def as_released(**given: Any) -> ssl.SSLContext:
        context = make(**given)
        context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | (NEWER if newer else 0)
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_released)
    flags = trusting(tmp_path, Signer("root")).verify_flags

    assert not flags & ssl.VERIFY_X509_STRICT
    assert flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert flags & ssl.VERIFY_X509_TRUSTED_FIRST


def _cases() -> dict[str, tuple[str, list[Signer], list[Signer]]]:
    """By name: the verdict, the certificates in ca_file, the chain that the server shows."""
    root, bare = Signer("root"), Signer("bare", key_usage=False)
    middle, bare_middle = Signer("middle", root), Signer("middle", bare, key_usage=False)

    def leaf(issuer: Signer, **given: Any) -> Signer:
        return Signer("server", issuer, ca=False, **given)

    under_middle, under_bare = leaf(middle), leaf(bare_middle)
    own = leaf(Signer("other"))
    return {
        "authority": ("trusted", [root], [leaf(root)]),
        "authority without keyUsage": ("trusted", [bare], [leaf(bare)]),
        "chain": ("trusted", [root], [under_middle, middle]),
        "chain without keyUsage": ("trusted", [bare], [under_bare, bare_middle]),
        "partial chain": ("trusted", [middle], [under_middle]),
        "partial chain that is shown whole": ("trusted", [middle], [under_middle, middle, root]),
        "partial chain without keyUsage": ("trusted", [bare_middle], [under_bare]),
        "the server's own certificate": ("trusted", [own], [own]),
        "missing intermediate": ("tls.untrusted", [root], [under_middle]),
        "another authority": ("tls.untrusted", [root], [leaf(bare)]),
        "another name": ("tls.hostname", [root], [leaf(root, host="other.example")]),
        "expired": ("tls.clock", [root], [leaf(root, ends=timedelta(days=-1))]),
    }


def _interpreters() -> list[tuple[str, Path]]:
    """The present Python, and the oldest and the newest others of this machine from 3.11 on."""
    present = (f"python3.{sys.version_info.minor}", Path(sys.executable))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    others = {
        path.name: path
        for minor in range(11, 20)
        for path in [*pyenv.glob(f"*/bin/python3.{minor}"), Path(f"/usr/bin/python3.{minor}")]
        if path.exists() and path.name != present[0]
    }
    names = list(others)
    return [present, *((name, others[name]) for name in dict.fromkeys(names[:1] + names[-1:]))]


def test_FR22_every_python_gives_the_same_verdicts(tmp_path: Path) -> None:
    cases = _cases()
    for name, (_, trusted, shown) in cases.items():
        (tmp_path / f"{name}.ca.pem").write_text("".join(each.pem for each in trusted))
        chain = "".join(each.pem for each in shown)
        (tmp_path / f"{name}.server.pem").write_text(chain + shown[0].key_pem)
    expected = {name: verdict for name, (verdict, _, _) in cases.items()}

    for name, path in _interpreters():
        asked = [path, TOP / "tests/support/tls_verdicts.py", tmp_path]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found == {"python": name, "verdicts": expected}


@pytest.mark.parametrize("key_usage", [True, False])
async def test_FR22_a_private_authority_is_trusted_with_and_without_key_usage(
    tmp_path: Path, key_usage: bool
) -> None:
    root = Signer("root", key_usage=key_usage)
    server = Signer("server", root, ca=False).shown_with()
    await meet(server, trusting(tmp_path, root))


async def test_FR22_without_key_usage_a_strict_context_would_refuse(tmp_path: Path) -> None:
    root = Signer("root", key_usage=False)
    server = Signer("server", root, ca=False).shown_with()
    strict = trusting(tmp_path, root)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with pytest.raises(TlsUntrusted):
        await meet(server, strict)


async def test_FR22_an_intermediate_authority_in_ca_file_is_trusted(tmp_path: Path) -> None:
    middle = Signer("middle", Signer("root"))
    server = Signer("server", middle, ca=False).shown_with()
    client = trusting(tmp_path, middle)
    await meet(server, client)

    client.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
    with pytest.raises(TlsUntrusted):
        await meet(server, client)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_FR34_a_byte_order_mark_in_ca_file_does_no_harm(
    tmp_path: Path, line_end: str
) -> None:
    root = Signer("root")
    path = tmp_path / "ca.pem"
    path.write_bytes(b"\xef\xbb\xbf" + root.pem.replace("\n", line_end).encode())
    server = Signer("server", root, ca=False).shown_with()
    await meet(server, verifying_context(str(path)))


@pytest.mark.parametrize(
    ("coding", "reason"),
    [("utf-16", "it is UTF-16: save it as UTF-8"), ("der", r"no certificate \(PEM\) in it")],
)
def test_FR34_a_ca_file_in_another_coding_is_named(
    tmp_path: Path, coding: str, reason: str
) -> None:
    root = Signer("root")
    der = root.certificate.public_bytes(serialization.Encoding.DER)
    path = tmp_path / "ca.pem"
    path.write_bytes(der if coding == "der" else root.pem.encode(coding))
    with pytest.raises(ConfigFileUnusable, match=f"ca_file = {path}: {reason}"):
        client_context(str(path))


@pytest.mark.timeout(5)
def test_a_fifo_in_the_place_of_ca_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    with pytest.raises(ConfigFileUnusable, match=r"ca\.pem: is not a regular file"):
        client_context(str(tmp_path / "ca.pem"))


async def test_FR34_a_server_that_leaves_out_an_intermediate_certificate_is_named(
    tmp_path: Path,
) -> None:
    root = Signer("root")
    middle = Signer("middle", root)
    leaf = Signer("server", middle, ca=False)
    await meet(leaf.shown_with(middle), trusting(tmp_path, root))
    with pytest.raises(TlsUntrusted, match="sends no certificate of its issuer") as refused:
        await meet(leaf.shown_with(), trusting(tmp_path, root))
    assert "an intermediate certificate is missing" in refused.value.advice


async def test_N14_an_interceptor_that_shows_its_own_authority_is_untrusted(
    tmp_path: Path,
) -> None:
    other = Signer("interceptor")
    server = Signer("server", other, ca=False).shown_with(other)
    with pytest.raises(TlsUntrusted, match="self-signed"):
        await meet(server, trusting(tmp_path, Signer("root")))


async def test_FR96_a_common_name_is_no_name(tmp_path: Path) -> None:
    root = Signer("root")
    nameless = Signer("localhost", root, ca=True)  # no subjectAltName
    with pytest.raises(TlsHostname) as refused:
        await meet(nameless.shown_with(), trusting(tmp_path, root))
    assert "subjectAltName" in refused.value.advice


def client_of(authority: Authority) -> ssl.SSLContext:
    return client_context(authority=authority.certificate)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_FR22_a_wanted_client_certificate_is_named(version: ssl.TLSVersion) -> None:
    authority = Authority()
    server = authority.server_context()
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(cadata=authority.certificate)
    server.maximum_version = version
    with pytest.raises(NetworkError, match="client certificate is wanted") as refused:
        await meet(server, client_of(authority))
    if version is ssl.TLSVersion.TLSv1_3:
        assert type(refused.value) is TlsClientCertificate


async def test_FR22_a_name_that_the_server_does_not_know_is_named() -> None:
    authority = Authority()
    server = authority.server_context()

    def unknown(*_: object) -> int:
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    server.sni_callback = unknown
    with pytest.raises(TlsHostname, match="does not serve this name"):
        await meet(server, client_of(authority))


def test_FR110_a_process_without_descriptors_does_not_blame_the_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Authority().client("x")

    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", none_left)
    with pytest.raises(NetworkError, match="Too many open files"):
        client_context(certificate=pair.certificate, private_key=pair.private_key)


def test_a_pair_that_does_not_match_is_a_refusal() -> None:
    one, other = Authority().client("x"), Authority().client("x")
    with pytest.raises(SessionRefused, match="key values mismatch"):
        client_context(certificate=one.certificate, private_key=other.private_key)


async def test_a_handshake_that_is_cancelled_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        context = client_context(authority=Authority().certificate)
        before = settled_descriptors()
        for _ in range(3):
            sock, _ = await dial(await resolve("127.0.0.1", silent.getsockname()[1]))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await secure(sock, asyncio.Protocol, context, "localhost")
        await asyncio.sleep(0.05)
        assert settled_descriptors() == before


async def test_N10_a_connection_that_ends_in_the_handshake_is_lost() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        sock, _ = await dial(await resolve("127.0.0.1", port))
        context = client_context(authority=Authority().certificate)
        with pytest.raises(OSError) as lost:
            await secure(sock, asyncio.Protocol, context, "localhost")
        assert isinstance(network_error(lost.value, "x"), ConnectionLost)
