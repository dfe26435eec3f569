from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from ztpd.config import BackupOptions, Config, CorrectionsOptions, MqttOptions, NtripOptions
from ztpd.errors import ConfigError, NoTransport
from ztpd.model import Credentials, MqttAccess, MqttEndpoint, NtripAccess, NtripEndpoint, Secret
from ztpd.model import Topic as T
from ztpd.sources.endpoints import backups_alone, configured_without_ztp, endpoints

MQTT = MqttAccess("pp.example", "client-1", "CERT", Secret("KEY"), (T("/pp/ip/eu"),))
NTRIP = NtripAccess("ppntrip.example", "user", Secret("word"), "NEAR-RTCM", 2101, 2102)


def given(mqtt: MqttAccess | None = MQTT, ntrip: NtripAccess | None = NTRIP) -> Credentials:
    return Credentials("flex", "client-1", mqtt, ntrip, (), {})


def configured(**tables: Any) -> Config:
    return replace(Config(), **tables)


def test_Z12_the_order_is_that_of_the_configuration() -> None:
    found = endpoints(configured(corrections=CorrectionsOptions(prefer=("mqtt", "ntrip"))), given())

    assert [each.kind for each in found] == ["mqtt", "ntrip"]


def test_Z12_a_service_that_is_not_offered_is_left_out() -> None:
    assert [each.kind for each in endpoints(Config(), given(mqtt=None))] == ["ntrip"]
    assert [each.kind for each in endpoints(Config(), given(ntrip=None))] == ["mqtt"]


def test_an_offer_that_may_not_be_used_is_named() -> None:
    only_mqtt = configured(corrections=CorrectionsOptions(prefer=("mqtt",)))

    with pytest.raises(NoTransport, match="wanted mqtt; the credentials have ntrip"):
        endpoints(only_mqtt, given(mqtt=None))


def test_everything_comes_from_the_answer() -> None:
    ntrip, mqtt = endpoints(Config(), given())

    account = NtripEndpoint("ppntrip.example", 2102, "NEAR-RTCM", "user", Secret("word"))
    assert ntrip == account._replace(public_only=True)
    assert mqtt == MqttEndpoint(
        host="pp.example",
        port=8883,
        client_id="client-1",
        topics=(T("/pp/ip/eu"),),
        topics_offered=True,
        certificate="CERT",
        private_key=Secret("KEY"),
        public_only=True,
    )


def test_a_setting_wins_over_the_answer() -> None:
    config = configured(
        mqtt=MqttOptions(topics=("/mine",), keepalive_s=60, port=443),
        ntrip=NtripOptions(mountpoint="NEAR-SPARTN", port=4443),
    )
    ntrip, mqtt = endpoints(config, given())

    assert isinstance(mqtt, MqttEndpoint)
    assert isinstance(ntrip, NtripEndpoint)
    assert (mqtt.topics, mqtt.topics_offered, mqtt.port) == ((T("/mine"),), False, 443)
    assert (ntrip.mountpoint, ntrip.port) == ("NEAR-SPARTN", 4443)


def test_the_answers_password_goes_to_no_other_caster() -> None:
    (ntrip, _) = endpoints(configured(ntrip=NtripOptions(host="other.example")), given())

    assert isinstance(ntrip, NtripEndpoint)
    assert not ntrip.password
    assert not ntrip.username


def test_a_private_broker_needs_no_provisioning(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    config = configured(
        mqtt=MqttOptions(
            host="b.example", topics=("base",), username="u", password_file=str(password)
        )
    )

    (mqtt,) = endpoints(config, None)
    assert configured_without_ztp(config)
    assert isinstance(mqtt, MqttEndpoint)
    assert (mqtt.username, mqtt.password, mqtt.port) == ("u", Secret("s3cret"), 8883)
    assert mqtt.own_account


def test_a_private_caster_needs_no_provisioning() -> None:
    config = configured(ntrip=NtripOptions(host="c.example", mountpoint="BASE"))

    assert configured_without_ztp(config)
    assert [each.kind for each in endpoints(config, None)] == ["ntrip"]


def test_a_host_alone_is_not_enough_without_provisioning() -> None:
    assert not configured_without_ztp(configured(mqtt=MqttOptions(host="b.example")))


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    config = configured(
        ntrip=NtripOptions(
            host="c", mountpoint="M", username="u", password_file=str(tmp_path / "gone")
        )
    )

    with pytest.raises(ConfigError, match=r"\[ntrip\] password_file"):
        endpoints(config, None)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_FR34_a_byte_order_mark_is_not_part_of_a_password(tmp_path: Path, mark: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(mark + "geheim\u00fc\r\n".encode())
    account = replace(
        Config().ntrip, host="c", mountpoint="M", username="u", password_file=str(file)
    )
    (endpoint,) = endpoints(replace(Config(), ntrip=account), None)
    assert endpoint.password.reveal() == "geheim\u00fc"


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_FR34_a_password_file_in_utf_16_is_named(tmp_path: Path, coding: str) -> None:
    file = tmp_path / "password"
    file.write_bytes("\ufeffgeheim".encode(coding))
    account = replace(
        Config().ntrip, host="c", mountpoint="M", username="u", password_file=str(file)
    )
    with pytest.raises(ConfigError, match="is UTF-16: save it as UTF-8"):
        endpoints(replace(Config(), ntrip=account), None)


@pytest.mark.parametrize(
    ("ztp", "host", "expected"),
    [
        ({}, "", True),
        ({"allowed_hosts": ("caster.example",)}, "", False),
        ({"url": "https://localhost"}, "", False),
        ({}, "mine.example", False),
    ],
)
def test_FR93_only_hosts_of_an_answer_have_to_be_public(
    ztp: dict[str, Any], host: str, expected: bool
) -> None:
    config = Config()
    config = replace(config, ztp=replace(config.ztp, **ztp))
    config = replace(config, ntrip=replace(config.ntrip, host=host))
    access = NtripAccess("caster.example", "me", Secret("x"), "NEAR")
    (endpoint,) = endpoints(config, Credentials("flex", "id", None, access, (), {}))
    assert endpoint.public_only is expected


BACKUP = BackupOptions(host="backup.example", mountpoint="VRS")


def test_backups_come_after_the_services_of_the_credentials() -> None:
    second = replace(BACKUP, host="second.example", tls=False, format="rtcm")
    found = endpoints(configured(backup=(BACKUP, second)), given())

    assert [each.host for each in found] == [
        "ppntrip.example",
        "pp.example",
        "backup.example",
        "second.example",
    ]
    assert [each.backup for each in found] == [False, False, True, True]
    assert [each.port for each in found[2:]] == [2102, 2101]
    assert [each.format for each in found[2:]] == ["auto", "rtcm"]


def test_a_backup_comes_after_a_private_caster_too() -> None:
    config = configured(ntrip=NtripOptions(host="c.example", mountpoint="BASE"), backup=(BACKUP,))

    assert [each.host for each in endpoints(config, None)] == ["c.example", "backup.example"]


def test_backups_are_enough_where_there_is_no_token() -> None:
    config = configured(backup=(BACKUP,))

    assert not configured_without_ztp(config)
    assert backups_alone(config, has_token=False)
    assert not backups_alone(config, has_token=True)
    assert not backups_alone(configured(), has_token=False)


def test_a_backup_is_there_where_the_credentials_offer_nothing() -> None:
    only_mqtt = configured(corrections=CorrectionsOptions(prefer=("mqtt",)), backup=(BACKUP,))

    assert [each.backup for each in endpoints(only_mqtt, given(mqtt=None))] == [True]


def test_the_answers_password_goes_to_no_backup(tmp_path: Path) -> None:
    password = tmp_path / "password"
    account = replace(BACKUP, username="me", password_file=str(password))

    (*_, missing) = endpoints(configured(backup=(account,)), given())
    assert isinstance(missing, NtripEndpoint)
    assert (missing.username, missing.password) == ("me", Secret("")), "read when it is opened"
    password.write_text("s3cret\n")
    (*_, backup) = endpoints(configured(backup=(account,)), given())
    assert isinstance(backup, NtripEndpoint)
    assert backup.password == Secret("s3cret")
    assert backup.own_account


@pytest.mark.parametrize(
    ("name", "assistance", "expected"),
    [
        ("NEAR-RTCM", "off", ("NEAR-RTCM", "")),
        ("NEAR-RTCM", "once", ("NEAR-RTCM", "NEAR-RTCM-MGA")),
        ("NEAR-RTCM-MGA", "off", ("NEAR-RTCM", "NEAR-RTCM-MGA")),
        ("NEAR-RTCM-MGA", "once", ("NEAR-RTCM", "NEAR-RTCM-MGA")),
    ],
)
def test_the_mountpoint_with_assistance_is_apart_from_the_plain_one(
    name: str, assistance: Literal["off", "once"], expected: tuple[str, str]
) -> None:
    config = configured(
        ntrip=NtripOptions(host="c.example", mountpoint=name),
        corrections=CorrectionsOptions(assistance=assistance),
        backup=(replace(BACKUP, mountpoint=name),),
    )
    ntrip, backup = endpoints(config, None)
    assert isinstance(ntrip, NtripEndpoint)
    assert isinstance(backup, NtripEndpoint)
    assert (ntrip.mountpoint, ntrip.assistance) == expected
    assert backup.mountpoint == "NEAR-RTCM"
    assert bool(backup.assistance) == name.endswith("-MGA"), "the setting is not for backups"
