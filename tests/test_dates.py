"""Dates after 2038, also on a platform whose ``time_t`` has 32 bits (Debian 12 on armhf)."""

from __future__ import annotations

import contextlib
import ssl
import sysconfig
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.writer import generation
from ztpd.model import utc
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.authority import Authority
from ztpd.wire.x509 import not_after

END_OF_32_BITS = 2**31
DATES = [datetime(2038, 1, 19, 3, 14, 8), datetime(2100, 3, 1), datetime(3000, 1, 1)]


def unix_s(date: datetime) -> int:
    return int((date.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


@pytest.mark.parametrize("date", DATES)
def test_a_later_date_is_read_stored_and_shown(date: datetime, tmp_path: Path) -> None:
    later = generation(1)._replace(stored_unix_s=unix_s(date), expires_unix_s=unix_s(date) + 1)
    store = CredentialStore(tmp_path / "state")
    store.save(later)
    found = store.load()

    assert found is not None
    assert found.stored == later
    assert utc(found.stored.stored_unix_s) == date.replace(tzinfo=UTC)
    assert unix_s(date) >= END_OF_32_BITS


@pytest.mark.parametrize("date", DATES)
def test_a_certificate_that_ends_later_is_read_and_opens_a_connection(
    date: datetime, tmp_path: Path
) -> None:
    authority = Authority()
    pair = authority.client("gateway", not_after=date.replace(tzinfo=UTC))
    files = pair.write(tmp_path, "client")
    serving = authority.server_context("localhost")
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_verify_locations(authority.write(tmp_path / "authority.pem"))
    calling = ssl.create_default_context(cafile=tmp_path / "authority.pem")
    calling.load_cert_chain(*files)

    assert not_after(pair.certificate) == unix_s(date)
    shown = handshake(calling, serving)
    assert shown is not None
    assert ssl.cert_time_to_seconds(str(shown["notAfter"])) == unix_s(date)


def handshake(calling: ssl.SSLContext, serving: ssl.SSLContext) -> Any:
    """The certificate that the server saw."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = calling.wrap_bio(down, up, server_hostname="localhost")
    server = serving.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return server.getpeercert()


def test_the_clock_of_a_platform_with_32_bits_ends_in_2038() -> None:
    """Debian 12 on armhf; Debian 13 counts in 64 bits there."""
    if sysconfig.get_config_var("SIZEOF_TIME_T") == 4:
        with pytest.raises(OverflowError):
            time.gmtime(END_OF_32_BITS)
    else:
        assert time.gmtime(END_OF_32_BITS).tm_year == 2038
