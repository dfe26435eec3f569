"""Which topics are subscribed to: those of one region, and none twice."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ANSWERS
from ztpd.errors import RegionUnknown, SubscriptionRefused
from ztpd.model import Carrier, Fix, FrameKind, Topic
from ztpd.sources.topics import Role, choose, frame_kinds, qos, role

REGIONS = ("au", "eu", "jp", "kr", "us")
PARTS = ("gad", "hpac", "ocb", "clk")
KEY, ASSIST = Topic("/pp/ubx/0236/ip"), Topic("/pp/ubx/mga")
OFFER = (
    KEY,
    ASSIST,
    *(Topic(f"/pp/ip/{region}") for region in REGIONS),
    *(Topic(f"/pp/ip/{region}/{part}") for region, part in product(REGIONS, PARTS)),
)


def at(lat_deg: float, lon_deg: float, *, ok: bool = True) -> Fix:
    return Fix(
        ok=ok,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        height_m=100,
        geoid_m=40,
        accuracy_m=1,
        satellites=12,
        carrier=Carrier.NONE,
        differential=False,
        correction_age_s=None,
        utc=None,
    )


def paths(topics: tuple[Topic, ...]) -> list[str]:
    return [topic.path for topic in topics]


def test_a_region_is_subscribed_to_as_a_whole_with_its_keys() -> None:
    chosen = choose(OFFER, region="eu")
    assert paths(chosen) == ["/pp/ubx/0236/ip", "/pp/ubx/mga", "/pp/ip/eu"]


def test_without_a_whole_topic_all_parts_are_taken() -> None:
    offer = [topic for topic in OFFER if topic.path != "/pp/ip/eu"]
    assert paths(choose(offer, region="eu"))[2:] == [f"/pp/ip/eu/{part}" for part in PARTS]


@pytest.mark.parametrize(
    ("place", "region"),
    [
        pytest.param((47.2, 8.6), "eu", id="Thalwil"),
        pytest.param((64.1, -21.9), "eu", id="Reykjavik"),
        pytest.param((39.1, -94.6), "us", id="Kansas-City"),
        pytest.param((61.2, -149.9), "us", id="Anchorage"),
        pytest.param((-33.9, 151.2), "au", id="Sydney"),
        pytest.param((37.6, 127.0), "kr", id="Seoul"),
        pytest.param((35.2, 129.1), "kr", id="Busan, also inside the box of Japan"),
        pytest.param((35.7, 139.7), "jp", id="Tokyo"),
        pytest.param((33.6, 130.4), "jp", id="Fukuoka"),
        pytest.param((30.0, 31.2), "eu", id="Cairo, in none: the nearest"),
        pytest.param((-17.7, 178.0), "au", id="Fiji, in none: the nearest"),
        pytest.param((21.3, -170.5), "us", id="in none, just west of one"),
        pytest.param((-36.8, 174.8), "au", id="Auckland"),
    ],
)
def test_the_region_follows_from_the_position(place: tuple[float, float], region: str) -> None:
    assert paths(choose(OFFER, position=at(*place)))[2:] == [f"/pp/ip/{region}"]


def test_the_only_region_offered_needs_no_position() -> None:
    offer = [KEY, Topic("/pp/ip/kr")]
    assert paths(choose(offer)) == ["/pp/ubx/0236/ip", "/pp/ip/kr"]


@pytest.mark.parametrize("position", [None, at(47.2, 8.6, ok=False)])
def test_several_regions_and_no_position_is_a_reason_to_wait(position: Fix | None) -> None:
    with pytest.raises(RegionUnknown, match="au, eu, jp, kr, us"):
        choose(OFFER, position=position)


def test_a_region_that_is_not_offered_is_refused_by_name() -> None:
    with pytest.raises(SubscriptionRefused, match="br is not offered, only au, eu"):
        choose(OFFER, region="br")


def test_unknown_regions_need_a_setting() -> None:
    offer = [Topic("/pp/ip/xx"), Topic("/pp/ip/yy")]
    assert paths(choose(offer, region="xx")) == ["/pp/ip/xx"]
    with pytest.raises(SubscriptionRefused, match="set the region"):
        choose(offer, position=at(0, 0))


@pytest.mark.parametrize("offer", [(), (KEY, ASSIST), (Topic("/pp/key/ip"),)])
def test_an_offer_without_corrections_is_refused(offer: tuple[Topic, ...]) -> None:
    with pytest.raises(SubscriptionRefused, match="no corrections"):
        choose(offer, region="eu")


def test_the_key_of_the_other_link_is_not_asked_for() -> None:
    offer = [Topic("/pp/ubx/0236/Lb"), KEY, Topic("/pp/Lb/eu"), Topic("/pp/ip/eu")]
    assert paths(choose(offer)) == ["/pp/ubx/0236/ip", "/pp/ip/eu"]
    assert paths(choose(offer[:3])) == ["/pp/ubx/0236/Lb", "/pp/Lb/eu"]


def test_assistance_is_asked_for_once() -> None:
    more = [Topic(f"/pp/ubx/mga/{part}") for part in ("updates", "gps", "glo", "gal", "bds")]
    chosen = choose([*more, *OFFER], region="eu")
    assert [path for path in paths(chosen) if "mga" in path] == ["/pp/ubx/mga"]


def test_keys_and_frequencies_in_json_are_not_asked_for() -> None:
    offer = [Topic("/pp/key/ip"), Topic("/pp/frequencies/Lb"), *OFFER]
    assert choose(offer, region="eu") == choose(OFFER, region="eu")


def test_the_documented_answer_gives_one_region() -> None:
    answer = ANSWERS / "flex-mqtt-spartn.json"
    offer = [
        Topic(each["path"], each["description"])
        for each in json.loads(answer.read_text())["subscriptions"]
    ]
    assert paths(choose(offer, position=at(47.2, 8.6))) == [
        "/pp/ubx/0236/ip",
        "/pp/ubx/mga",
        "/pp/ip/eu",
    ]


@given(
    st.lists(st.sampled_from(OFFER), unique=True),
    st.floats(-90, 90),
    st.floats(-180, 180),
)
def test_no_offer_makes_corrections_come_twice(
    offer: list[Topic], lat_deg: float, lon_deg: float
) -> None:
    try:
        chosen = paths(choose(offer, position=at(lat_deg, lon_deg)))
    except SubscriptionRefused:
        assert not any(role(topic.path) is Role.CORRECTIONS for topic in offer)
        return
    data = [path for path in chosen if role(path) is Role.CORRECTIONS]
    assert data
    assert set(chosen) <= {topic.path for topic in offer}
    assert len({path.split("/")[3] for path in data}) == 1  # one region
    assert len(data) == 1 or all(path.count("/") == 4 for path in data)  # the whole, or parts


@pytest.mark.parametrize(
    ("path", "expected", "quality"),
    [
        ("/pp/ubx/0236/ip", Role.KEY, 1),
        ("site/pp/ubx/0236/ip", Role.KEY, 1),
        ("/pp/ubx/mga", Role.ASSIST, 1),
        ("/pp/ubx/mga/updates", Role.ASSIST, 0),
        ("/pp/ip/eu", Role.CORRECTIONS, 0),
        ("/pp/ip/eu/hpac", Role.CORRECTIONS, 0),
        ("pp/ip/L2N5375W00125/N5200W00300", Role.CORRECTIONS, 0),
        ("pp/ip/L2N5375W00125/dict", Role.OTHER, 0),
        ("/pp/key/ip", Role.OTHER, 0),
        ("/pp/frequencies/Lb", Role.OTHER, 0),
        ("base/one/rtcm", Role.CORRECTIONS, 0),
        ("base/dict", Role.CORRECTIONS, 0),
    ],
)
def test_a_topic_path_gives_role_and_quality(path: str, expected: Role, quality: int) -> None:
    assert role(path) is expected
    assert qos(path) == quality


def test_only_keys_and_assistance_are_scanned_as_ubx() -> None:
    assert frame_kinds("/pp/ubx/0236/ip") == frame_kinds("/pp/ubx/mga") == (FrameKind.UBX,)
    assert frame_kinds("/pp/ip/eu") == (FrameKind.SPARTN, FrameKind.RTCM3)
    assert frame_kinds("/pp/key/ip") == ()
