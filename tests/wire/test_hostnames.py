"""Host names and addresses by their form."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.wire.hostnames import (
    address,
    is_address,
    is_loopback,
    is_name,
    loopback_endpoint,
)

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("127.example.com", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("caster.example.net", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_name_or_address(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@given(st.ip_addresses())
def test_an_address_is_this_machine_if_it_is_in_127_8_or_is_the_loopback_of_ipv6(
    found: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert is_loopback(str(found)) is (
        found in ipaddress.ip_network("127.0.0.0/8") or found == ipaddress.ip_address("::1")
    )


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_form_is_judged_as_itself(found: ipaddress.IPv4Address) -> None:
    assert address(f"::ffff:{found}") == found
    assert is_loopback(f"::ffff:{found}") is is_loopback(str(found))


@given(NAMES, st.sampled_from(["127.", "localhost.", "127.0.0.1."]))
def test_a_name_that_only_begins_like_this_machine_is_another(name: str, begin: str) -> None:
    host = f"{begin}{name}"
    assert is_loopback(host) is (is_address(host) and host.startswith("127."))


@given(st.text(max_size=40))
def test_any_text_is_judged(host: str) -> None:
    assert not (is_name(host) and is_address(host))
    assert not is_loopback(host) or is_name(host) or is_address(host)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:10110", ("127.0.0.1", 10110)),
        ("127.9.8.7:1", ("127.9.8.7", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("[::ffff:127.0.0.1]:2000", ("127.0.0.1", 2000)),
    ],
)
def test_an_endpoint_on_this_machine_has_an_address_and_a_port(
    text: str, expected: tuple[str, int]
) -> None:
    assert loopback_endpoint(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:+80",
        "127.0.0.1:\u0661",
        "[127.0.0.1]:80",
        "::1:80",
        "localhost:10110",
        "0.0.0.0:10110",
        "[::]:10110",
        "192.0.2.1:10110",
        "[fe80::1]:10110",
        "239.0.0.1:10110",
    ],
)
def test_everything_else_is_no_endpoint_on_this_machine(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|address"):
        loopback_endpoint(text)


@given(st.text(max_size=40))
def test_any_text_is_an_endpoint_on_this_machine_or_an_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        host, port = loopback_endpoint(text)
        assert is_loopback(host)
        assert 1 <= port <= 65535
