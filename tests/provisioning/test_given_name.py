"""The name that the portal shows for a gateway."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support.provisioning_bench import ProvisioningBench, run
from ztpd.config import Config
from ztpd.model import Identity, Imei
from ztpd.provisioning.call import Request
from ztpd.sim.portal import TOKEN

IMEI = Imei("490154203237518")


def test_the_imei_in_a_name_is_sent_and_not_logged() -> None:
    settings = replace(Config().ztp, given_name="gateway {imei}")
    request = Request.of(settings, Identity(IMEI, "the modem"), TOKEN, hostname="gw-7")
    assert f"gateway {IMEI.digits}" in request.body.decode()
    assert request.shown_name == f"gateway {IMEI}"


def test_FR46_the_name_is_that_of_the_moment_of_the_call(tmp_path: Path) -> None:
    gateway = ProvisioningBench(tmp_path, splay_s=0)
    gateway.hostname = "raspberrypi"
    provisioner = gateway.start()
    gateway.hostname = "gw-7"  # cloud-init has come so far
    run(provisioner.obtain())
    assert gateway.requests[0]["givenName"] == "gw-7"
