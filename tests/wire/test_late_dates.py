"""Each form in which a protocol writes a date, over the years 2038 to 2106: after the end of signed
seconds of 32 bits, up to the end of unsigned ones."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.support import ANSWERS
from ztpd.model import WEEK_S, DynamicKey, Secret, utc
from ztpd.sim import corrections
from ztpd.wire import ubx, x509, ztp
from ztpd.wire.frames import Scanner, spartn_time_tag
from ztpd.wire.ubx import KeySlot, NavPvt, SpartnKey

MOMENTS = st.integers(
    int(datetime(2038, 1, 1, tzinfo=UTC).timestamp()),
    int(datetime(2107, 1, 1, tzinfo=UTC).timestamp()),
).map(utc)
ANSWER = json.loads((ANSWERS / "flex-mqtt-spartn.json").read_text())
GPS_EPOCH = datetime(1980, 1, 6, tzinfo=UTC) - timedelta(seconds=18)  # today's leap seconds


def der(tag: int, content: bytes) -> bytes:
    """One element; ``content`` is shorter than 128 bytes."""
    return bytes([tag, len(content)]) + content


def certificate(begin: datetime, end: datetime) -> str:
    """As much of a certificate as its dates need, in PEM."""
    dates = b"".join(
        der(0x17, f"{date:%y%m%d%H%M%SZ}".encode())
        if date.year < 2050  # RFC 5280 section 4.1.2.5
        else der(0x18, f"{date:%Y%m%d%H%M%SZ}".encode())
        for date in (begin, end)
    )
    fields = der(0x02, b"\x01") + der(0x30, b"") + der(0x30, b"") + der(0x30, dates)
    text = base64.encodebytes(der(0x30, der(0x30, fields + der(0x30, b"")))).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


@given(MOMENTS, st.timedeltas(timedelta(), timedelta(days=3650)))
def test_a_certificate_is_valid_as_long_as_it_says(begin: datetime, validity: timedelta) -> None:
    end = (begin + validity).replace(microsecond=0)
    pem = certificate(begin, end)
    assert x509.not_before(pem) == begin.timestamp()
    assert x509.not_after(pem) == end.timestamp()


@given(MOMENTS)
def test_the_receiver_reports_the_date(moment: datetime) -> None:
    frame = NavPvt(utc=moment, fully_resolved=True).encode()
    parsed = ubx.parse(frame)
    assert isinstance(parsed, NavPvt)
    assert parsed.utc == moment


@given(MOMENTS)
def test_a_key_begins_in_the_week_and_second_in_which_the_receiver_counts_it(
    moment: datetime,
) -> None:
    key = DynamicKey(Secret("0f" * 16), int(moment.timestamp()) * 1000, 1000)
    week, tow_s = key.gps_time
    assert GPS_EPOCH + timedelta(seconds=week * WEEK_S + tow_s) == moment
    message = SpartnKey((KeySlot(bytes(16), week, tow_s),))
    assert ubx.parse(message.encode()) == message


@given(MOMENTS)
def test_an_answer_may_have_keys_of_such_a_date(moment: datetime) -> None:
    start_ms = int(moment.timestamp()) * 1000
    key = {"value": "0f" * 16, "start": start_ms, "duration": 2_419_199_999}
    answer = ANSWER | {"dynamickeys": {"current": key}}
    found = ztp.parse_answer("flex", json.dumps(answer).encode())
    assert [each.start_ms for each in found.keys] == [start_ms]


@given(MOMENTS)
def test_frames_have_such_a_time_tag(moment: datetime) -> None:
    start = corrections.spartn_time(moment.timestamp())
    first = next(corrections.spartn(random.Random(1), start=start)).data
    (frame,) = Scanner().feed(first)
    tag, is_wide = spartn_time_tag(frame)
    assert is_wide
    assert tag == start


@given(MOMENTS, st.integers(0, 86_400))
def test_a_service_says_when_to_come_again(moment: datetime, wait_s: int) -> None:
    date = format_datetime(moment + timedelta(seconds=wait_s), usegmt=True)
    error = ztp.refusal(503, {"retry-after": date}, b"", now=moment.timestamp)
    assert error.retry_after_s == wait_s
