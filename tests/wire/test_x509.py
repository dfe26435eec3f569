from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import CertificateBuilder, Name, NameAttribute
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ANSWERS
from ztpd.sim.authority import Authority
from ztpd.wire import x509

ANSWER = json.loads((ANSWERS / "flex-mqtt-spartn.json").read_text())


def test_the_dates_of_an_rsa_certificate_of_the_service_are_read() -> None:
    assert x509.not_before(ANSWER["certificate"]) == unix_s(datetime(2026, 11, 23, 1, 40, 56))
    assert x509.not_after(ANSWER["certificate"]) == unix_s(datetime(2036, 11, 20, 1, 40, 56))


def unix_s(naive: datetime) -> int:
    return int(naive.replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize("year", [2001, 2030, 2049, 2050, 2999])
def test_both_forms_of_a_date_are_read(year: int) -> None:
    end = datetime(year, 12, 31, 23, 59, 58)
    assert x509.not_after(Authority().client("x", not_after=end).certificate) == unix_s(end)


def test_the_first_of_several_certificates_counts() -> None:
    authority = Authority()
    end = datetime(2031, 1, 2)
    chain = authority.client("x", not_after=end).certificate + authority.certificate
    assert x509.not_after(chain) == unix_s(end)


def pem(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


DER = base64.b64decode("".join(ANSWER["certificate"].split("\n")[1:-2]))


@pytest.mark.parametrize(("digits", "year"), [("00", 2000), ("49", 2049), ("50", 1950)])
def test_two_digits_of_a_year_are_of_the_century_from_1950(digits: str, year: int) -> None:
    changed = DER.replace(b"261123014056Z", f"{digits}1123014056Z".encode())
    assert x509.not_before(pem(changed)) == unix_s(datetime(year, 11, 23, 1, 40, 56))


@given(st.binary(max_size=400))
def test_other_bytes_are_a_value_error(der: bytes) -> None:
    with pytest.raises(ValueError):
        x509.not_after(pem(der))


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_changed_byte_is_harmless(place: int, value: int) -> None:
    changed = bytearray(DER)
    changed[place] = value
    with contextlib.suppress(ValueError):
        assert isinstance(x509.not_after(pem(bytes(changed))), int)


@pytest.mark.parametrize("length", [0, 1, 3, 40, 100, 150])
def test_a_cut_certificate_is_a_value_error(length: int) -> None:
    with pytest.raises(ValueError):
        x509.not_after(pem(DER[:length]))


@pytest.mark.parametrize("text", ["", "no", ANSWER["privateKey"], pem(b"").replace("\n", "!")])
def test_other_texts_are_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        x509.not_after(text)


def test_names_and_dates_of_a_certificate_of_the_service_are_read() -> None:
    name = f"{ANSWER['clientId']} (ztpd synthetic fixture)"
    dates = unix_s(datetime(2026, 11, 23, 1, 40, 56)), unix_s(datetime(2036, 11, 20, 1, 40, 56))
    assert x509.parse(DER) == x509.Certificate(name, name, *dates)


@pytest.mark.parametrize(
    ("common", "organisation", "shown"),
    [
        ("FortiGate CA", "Fortinet", "FortiGate CA (Fortinet)"),
        ("Bürogerät", "", "Bürogerät"),
        ("", "Žluťoučký kůň", "Žluťoučký kůň"),
        ("", "", ""),
    ],
)
@pytest.mark.parametrize("kind", [_ASN1Type.UTF8String, _ASN1Type.BMPString])
def test_FR70_names_are_those_that_another_library_wrote(
    common: str, organisation: str, shown: str, kind: _ASN1Type
) -> None:
    given = {NameOID.COMMON_NAME: common, NameOID.ORGANIZATION_NAME: organisation}
    issuer = Name(
        [NameAttribute(NameOID.COUNTRY_NAME, "CZ")]
        + [NameAttribute(oid, text, kind) for oid, text in given.items() if text]
    )
    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime(2026, 1, 1)
    certificate = (
        CertificateBuilder(issuer, Name([NameAttribute(NameOID.COMMON_NAME, "host")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin)
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert x509.parse(der) == x509.Certificate("host", shown, unix_s(begin), unix_s(begin))


@given(st.binary(max_size=400))
def test_the_der_of_other_bytes_is_a_value_error(der: bytes) -> None:
    with pytest.raises(ValueError):
        x509.parse(der)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_changed_byte_of_a_der_is_harmless(place: int, value: int) -> None:
    changed = bytearray(DER)
    changed[place] = value
    with contextlib.suppress(ValueError):
        assert isinstance(x509.parse(bytes(changed)).issuer, str)
