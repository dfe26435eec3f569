"""Names and addresses in a network of the test's own: dead name servers, missing routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.namespace import inside
from tests.support.namespace_child import DEAD_NAMESERVER, NAME, NAMESERVER, SLOW_NAMESERVER

NAMESERVERS = (DEAD_NAMESERVER, NAMESERVER)


@pytest.mark.slow
def test_FR20_a_dead_first_name_server_costs_seconds_and_not_the_name(tmp_path: Path) -> None:
    found = inside("slow_lookup", tmp_path, nameservers=NAMESERVERS)
    assert found["addresses"] == ["127.0.0.1"]
    assert 4.5 <= found["took_s"] <= 20


@pytest.mark.slow
@pytest.mark.parametrize("nameservers", [NAMESERVERS, (SLOW_NAMESERVER,)], ids=["dead", "slow"])
def test_FR20_no_client_gives_a_slow_resolver_up(
    nameservers: tuple[str, ...], tmp_path: Path
) -> None:
    """The port refuses, so the name was found."""
    found = inside("slow_clients", tmp_path, nameservers=nameservers)
    assert found["took_s"] >= 4.5
    assert set(found["told"]) == {"ztp", "mqtt", "ntrip", "check"}
    for client, told in found["told"].items():
        assert told.startswith("net.refused: "), client


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_FR20_a_gateway_with_a_dead_first_name_server_is_slow_and_then_works(
    tmp_path: Path,
) -> None:
    found = inside("slow_names", tmp_path, nameservers=NAMESERVERS, timeout_s=90)
    assert found["calls"] == 1
    assert 9 <= found["took_s"] <= 40
    assert "net.dns" not in found["reasons"]
    assert "net.timeout" not in found["reasons"]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """By fault and client: the uplink has IPv4 only, and the name both kinds of addresses."""
    hosts = [f"2001:db8::1 {NAME}", f"127.0.0.1 {NAME}"]
    result: dict[str, Any] = inside("failures", tmp_path_factory.mktemp("namespace"), hosts=hosts)
    return result


@pytest.mark.parametrize("client", ["ztp", "mqtt", "ntrip", "check"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("refused", "net.refused"),
        ("untrusted", "tls.untrusted"),
        ("wrong name", "tls.hostname"),
        ("expired", "tls.clock"),
    ],
)
def test_FR21_an_address_without_a_route_hides_no_other_fault(
    reported: dict[str, dict[str, str]], client: str, fault: str, code: str
) -> None:
    assert reported[fault][client].startswith(f"{code}: ")


UPLINK_OF_IPV6 = (
    "ip link add up0 type veth peer name up1",
    "ip link set up0 up",
    "ip link set up1 up",
    "ip -6 addr add 2001:db8:1::2/64 dev up0 nodad",
    "ip -6 route add default via 2001:db8:1::1 dev up0",
)


def test_FR34_FR55_an_ipv4_address_or_service_on_an_ipv6_uplink_is_named(tmp_path: Path) -> None:
    reported = inside("families", tmp_path, hosts=[f"192.0.2.1 {NAME}"], setup=UPLINK_OF_IPV6)
    for host in ("192.0.2.1", NAME):
        assert reported[host].startswith("net.family: ")
        assert "192.0.2.1 is IPv4, and this uplink has IPv6 only" in reported[host]


def test_FR93_a_caster_whose_public_name_leads_to_this_machine_is_not_dialled(
    tmp_path: Path,
) -> None:
    found = inside("names_of_this_machine", tmp_path, hosts=[f"127.0.0.1 {NAME}"])
    assert "ztp.host_not_allowed" in found["reasons"]
    assert found["sessions"] == 0
