"""Credentials sealed by the systemd of each suite: 257 can, 252 cannot."""

from __future__ import annotations

from pathlib import Path

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container
from ztpd import errors, events

Layers = tuple[Path, ...]

OTHER_IMEI = "356938035643809"
SEAL = "printf '[ztp]\nseal_credentials = true\n' >/etc/ztpd/ztpd.toml.d/60-seal.toml"


def in_clear_text(machine: Container) -> list[str]:
    """The secrets that a copy of the state directory would give away."""
    content = machine.run("cat /var/lib/ztpd/*")
    return [secret for secret in bench.secrets(machine) if secret in content]


def test_sealed_where_systemd_can_and_a_copy_gets_credentials_of_its_own(
    gateway: Layers, place: Path, payload: Path, suite: str
) -> None:
    sealing = suite != "bookworm"
    card = Container(gateway, place / "card", payload)
    card.once("/bin/sh", "-euc", SEAL)
    with card as machine:
        bench.give_token(machine)
        bench.streams(machine)
        assert bool(in_clear_text(machine)) is not sealing
        assert (events.NOT_SEALED.name in bench.said(machine)) is not sealing
        word = "sealed to this machine" if sealing else "not sealed, though"
        assert word in machine.run("ztpd check", check=False)
        assert "sealed  to this machine" in machine.run("ztpd credentials show") or not sealing

    again = Container(card.layers, place / "again", payload)
    with again as machine:
        bench.streams(machine)
        assert bench.calls(machine) == 1
        assert bool(in_clear_text(machine)) is not sealing
        bench.measured.append(f"{suite}: reboot, [ztp] seal_credentials: {bench.story(machine)}")

    copy = Container(card.layers, place / "copy", payload)
    copy.once(
        "/bin/sh",
        "-euc",
        f"rm -f /var/lib/systemd/credential.secret; echo {OTHER_IMEI} >/var/lib/simulators/imei",
    )
    with copy as machine:
        bench.streams(machine)
        assert bench.calls(machine) == (2 if sealing else 1)
        assert (OTHER_IMEI in bench.things(machine)) is sealing
        assert (errors.StoreUnsealable.code in bench.said(machine)) is sealing


def test_the_setting_is_taken_back_without_a_call(
    provisioned: Layers, place: Path, payload: Path, suite: str
) -> None:
    """Also the way to an older ztpd, or to an older Debian."""
    with Container(provisioned, place, payload) as machine:
        bench.streams(machine)
        machine.run(f"{SEAL}; systemctl restart ztpd")
        bench.streams(machine)
        assert bool(in_clear_text(machine)) is (suite == "bookworm")

        machine.run("rm /etc/ztpd/ztpd.toml.d/60-seal.toml; systemctl restart ztpd")
        bench.streams(machine)
        machine.run("rm -f /var/lib/systemd/credential.secret; systemctl restart ztpd")
        bench.streams(machine)

        assert in_clear_text(machine)
        assert bench.calls(machine) == 1
