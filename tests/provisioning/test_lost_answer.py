"""P4, Z03: the service made a Thing, and its answer was lost at some byte. It costs nothing: the
next call is given the same Thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ztpd.config import Config
from ztpd.errors import NetworkError, Retry, ZtpTruncated
from ztpd.model import Identity, Imei
from ztpd.provisioning import http
from ztpd.provisioning.provisioner import Provisioner
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN, Profile
from ztpd.sim.ztp_service import Cut, ZtpService

IMEI = "490154203237518"
NTRIP, MQTT = Profile(), Profile(protocol="mqtt", format="spartn")


async def identity() -> Identity:
    return Identity(Imei(IMEI), "the modem")


def ignored(*_: Any, **__: Any) -> None:
    """A closed port."""


async def cut_at_each(directory: Path, profile: Profile, step: int) -> int:
    """Cut the answer at every ``step``-th byte; how many cuts were made."""
    authority = Authority()
    ca_file = authority.write(directory / "ca.pem")
    store = CredentialStore(directory / "state")
    cuts, thing = 0, None
    async with ZtpService(authority, profile=profile) as service:
        settings = replace(Config().ztp, url=service.url, ca_file=str(ca_file))
        provisioner = Provisioner(
            replace(Config(), ztp=settings),
            directory / "state",
            dispatch=ignored,
            read_identity=identity,
            token=lambda: TOKEN,
            post=http.post,
        )
        (directory / "state").mkdir(mode=0o700)
        length = await answer_length(provisioner, service)
        store.forget()
        for at in range(0, length, step):
            service.script.append(Cut(at))
            with pytest.raises((NetworkError, ZtpTruncated)) as lost:
                await provisioner.once()
            assert lost.value.retry is Retry.SERVER
            assert store.load() is None, "part of an answer is none"
            cuts += 1
            if at % (100 * step) == 0 or at + step >= length:
                stored = await provisioner.once()
                thing = thing or stored.credentials.client_id
                assert stored.credentials.client_id == thing
                store.forget()
        assert len(service.things) == 1
    return cuts


async def answer_length(provisioner: Provisioner, service: ZtpService) -> int:
    """Bytes of the whole answer, head included: a cut behind them takes nothing away."""
    low, high = 0, 100_000
    while low < high:
        service.script.append(Cut((low + high) // 2))
        try:
            await provisioner.once()
            high = (low + high) // 2
        except (NetworkError, ZtpTruncated):
            low = (low + high) // 2 + 1
    return low


@pytest.mark.parametrize(("profile", "step"), [(NTRIP, 29), (MQTT, 401)], ids=["ntrip", "mqtt"])
async def test_Z03_a_lost_answer_ends_with_one_thing_and_a_provisioned_gateway(
    tmp_path: Path, profile: Profile, step: int
) -> None:
    assert await cut_at_each(tmp_path, profile, step) >= 10


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("profile", [NTRIP, MQTT], ids=["ntrip", "mqtt"])
async def test_Z03_P4_wherever_the_answer_is_cut(tmp_path: Path, profile: Profile) -> None:
    assert await cut_at_each(tmp_path, profile, 1) >= 300
