"""Which hosts an answer may name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ztp_answers import BOTH, NTRIP, encoded, with_field
from ztpd.errors import ZtpBadAnswer, ZtpHostNotAllowed
from ztpd.model import Credentials
from ztpd.wire import ztp

NO_NAME = [
    "a b",
    "a\x00.example",
    "a\r\nHost: b",
    "-a.example",
    "a..example",
    "a.example/../../etc",
    "user@a.example",
    "a.example:443",
    "https://a.example",
    "ex ämple.com",
    "xn--" + "a" * 64 + ".example",
    "a." * 130 + "example",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "017700000001",
    "a.0x7f000001",
]


@pytest.mark.parametrize("host", NO_NAME)
def test_T9_a_host_that_is_no_host_name_is_refused(host: str) -> None:
    changed = with_field(NTRIP, ("rtcmCredentials", "endpoint"), host)
    with pytest.raises(ZtpBadAnswer, match="endpoint"):
        ztp.parse_answer("flex", encoded(changed))


def pointing_to(host: str) -> Credentials:
    return ztp.parse_answer("flex", with_field(NTRIP, ("rtcmCredentials", "endpoint"), host))


PUBLIC = ["ppntrip.services.u-blox.com", "Caster.Example.COM.", "a-1.b_c.example"]
INNER = [
    "localhost",
    "caster",
    "caster.localhost",
    "caster.local",
    "router.home.arpa",
    "metadata.google.internal",
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "100.64.0.1",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "caster.lan",
    "caster.home",
    "caster.corp",
    "caster.intranet",
    "caster.private",
    "gateway.localdomain",
]

ADDRESSES = ["8.8.8.8", "2001:4860:4860::8888", "224.0.0.1"]
SERVICE = "api.thingstream.io"


@pytest.mark.parametrize("host", PUBLIC)
@pytest.mark.parametrize("service_host", [SERVICE, "localhost"])
def test_Z13_a_public_name_is_allowed(host: str, service_host: str) -> None:
    ztp.check_hosts(pointing_to(host), allowed_hosts=(), service_host=service_host)


@pytest.mark.parametrize("host", [*INNER, *ADDRESSES])
def test_Z13_T10_an_address_or_inner_name_is_refused(host: str) -> None:
    with pytest.raises(ZtpHostNotAllowed):
        ztp.check_hosts(pointing_to(host), allowed_hosts=(), service_host=SERVICE)


@pytest.mark.parametrize("host", INNER)
@pytest.mark.parametrize("service_host", ["localhost", "127.0.0.1", "::1", "10.0.0.1", "ztp.local"])
def test_a_private_service_may_name_private_hosts(host: str, service_host: str) -> None:
    ztp.check_hosts(pointing_to(host), allowed_hosts=(), service_host=service_host)


@pytest.mark.parametrize("host", ADDRESSES)
def test_a_private_service_may_not_name_public_addresses(host: str) -> None:
    with pytest.raises(ZtpHostNotAllowed):
        ztp.check_hosts(pointing_to(host), allowed_hosts=(), service_host="127.0.0.1")


@pytest.mark.parametrize(
    ("host", "allowed_hosts", "allowed"),
    [
        ("caster.example.com", ["caster.example.com"], True),
        ("caster.example.com", ["other.example", "Caster.Example.com"], True),
        ("caster.example.com", [".example.com"], True),
        ("10.1.2.3", ["10.1.2.3"], True),
        ("caster.lan", [".lan"], True),
        ("caster.corp", ["caster.corp"], True),
        ("fe80::1%.example.com", [".example.com"], False),
        ("::1%a.example.com", [".example.com"], False),
        ("2001:db8::1%x.example.com", [".example.com", "example.com"], False),
        ("caster.example.com", ["example.com"], False),
        ("evilexample.com", [".example.com"], False),
        ("caster.example.com", ["other.example"], False),
    ],
)
def test_Z13_allowed_hosts_lists_all_that_is_allowed(
    host: str, allowed_hosts: list[str], allowed: bool
) -> None:
    credentials = pointing_to(host)
    if allowed:
        ztp.check_hosts(credentials, allowed_hosts=allowed_hosts, service_host=SERVICE)
    else:
        with pytest.raises(ZtpHostNotAllowed):
            ztp.check_hosts(credentials, allowed_hosts=allowed_hosts, service_host="localhost")


def test_every_host_of_an_answer_is_checked() -> None:
    credentials = ztp.parse_answer("flex", BOTH | {"brokerHost": "10.0.0.1"})
    with pytest.raises(ZtpHostNotAllowed, match=r"10\.0\.0\.1"):
        ztp.check_hosts(credentials, allowed_hosts=(), service_host=SERVICE)


def test_an_unknown_service_host_is_not_taken_for_a_private_one() -> None:
    with pytest.raises(ZtpHostNotAllowed):
        ztp.check_hosts(pointing_to("localhost"), allowed_hosts=(), service_host="")


@given(
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z0-9]{0,5}", fullmatch=True),
    st.sampled_from([".example.com", ".lan"]),
)
def test_FR93_no_zone_makes_an_address_a_host_of_an_allowed_domain(
    address: str, zone: str, domain: str
) -> None:
    host = f"{address}%{zone}{domain}"
    try:
        credentials = pointing_to(host)
    except ZtpBadAnswer:
        return
    with pytest.raises(ZtpHostNotAllowed):
        ztp.check_hosts(credentials, allowed_hosts=[domain], service_host="localhost")


@pytest.mark.parametrize("name", ["lan", "home", "internal", "corp"])
def test_FR93_names_of_inner_networks_are_refused_unless_allowed(name: str) -> None:
    credentials = pointing_to(f"caster.{name}")
    with pytest.raises(ZtpHostNotAllowed):
        ztp.check_hosts(credentials, allowed_hosts=(), service_host=SERVICE)
    ztp.check_hosts(credentials, allowed_hosts=[f".{name}"], service_host=SERVICE)
