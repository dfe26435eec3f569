"""The configuration: accepted values, messages for refused ones, and the texts for people."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import TOP
from tests.support.ptybench import ordinary_user
from tools.configuration import reference
from ztpd import config
from ztpd.config import Config, LoadedConfig
from ztpd.config.options import TABLES
from ztpd.config.rules import toml
from ztpd.errors import ConfigError, ZtpTokenMalformed, ZtpTokenMissing, ZtpTokenUnsafe

TOKEN = "0fa4e7c2-5b8d-4c1e-9a1b-93d2c4e5f607"


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """Where the configuration is; nothing is there yet."""
    return tmp_path / "ztpd.toml"


def _load(main: Path, text: str = "", **drop_ins: str) -> LoadedConfig:
    main.write_text(text)
    directory = main.with_name("ztpd.toml.d")
    for name, content in drop_ins.items():
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.toml").write_text(content)
    return config.load(main)


def _refused(main: Path, text: str, **drop_ins: str) -> str:
    with pytest.raises(ConfigError) as caught:
        _load(main, text, **drop_ins)
    return caught.value.detail


def test_an_empty_file_means_the_defaults(main: Path) -> None:
    loaded = _load(main)
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.unknown == ()


def test_the_defaults_are_those_agreed() -> None:
    default = Config()
    assert default.ztp.url == "https://api.thingstream.io"
    assert (default.ztp.service, default.ztp.splay_s, default.ztp.timeout_s) == ("flex", 60, 30)
    assert default.ztp.token_file == "/etc/ztpd/token"
    assert default.corrections.prefer == ("ntrip", "mqtt")
    assert default.corrections.stale_after_s == 15
    assert default.corrections.queue_bytes == 16384
    assert (default.ntrip.tls, default.ntrip.gga_interval_s) == (True, 10)
    assert (default.mqtt.tls, default.mqtt.keepalive_s) == (True, 20)
    assert default.receiver.configure


def test_values_and_where_they_come_from(main: Path) -> None:
    loaded = _load(main, '[ztp]\nservice = "live"\ntags = ["a", "b"]\n[ntrip]\ntls = false\n')
    assert loaded.config.ztp.service == "live"
    assert loaded.config.ztp.tags == ("a", "b")
    assert not loaded.config.ntrip.tls
    assert loaded.origins["ztp.service"] == str(main)
    assert loaded.origins["ztp.url"] == "default"


def test_drop_ins_are_read_in_the_order_of_their_names_and_the_last_wins_key_by_key(
    main: Path,
) -> None:
    loaded = _load(
        main,
        '[ztp]\ntags = ["main"]\nsplay_s = 1\ntimeout_s = 11\n',
        **{
            "20-site": "[ztp]\nsplay_s = 3\n",
            "10-fleet": "[ztp]\nsplay_s = 2\ntimeout_s = 12\n",
        },
    )
    ztp = loaded.config.ztp
    assert (ztp.tags, ztp.splay_s, ztp.timeout_s) == (("main",), 3, 12)
    directory = main.with_name("ztpd.toml.d")
    assert loaded.origins["ztp.tags"] == str(main)
    assert loaded.origins["ztp.splay_s"] == str(directory / "20-site.toml")
    assert loaded.origins["ztp.timeout_s"] == str(directory / "10-fleet.toml")


@pytest.mark.parametrize(
    "name",
    [
        "ztpd.toml.dpkg-dist",
        "site.toml.dpkg-old",
        "site.toml~",
        ".site.toml.swp",
        ".site.toml",
        "site.conf",
        "README",
    ],
)
def test_backups_of_dpkg_editors_and_people_are_not_read(main: Path, name: str) -> None:
    directory = main.with_name("ztpd.toml.d")
    directory.mkdir()
    (directory / name).write_text("this is not TOML")
    assert _load(main).config == Config()


def test_receiver_keys_are_joined_item_by_item(main: Path) -> None:
    loaded = _load(
        main,
        "[receiver.keys]\nCFG-RATE-MEAS = 200\nCFG-RATE-NAV = 1\n",
        site="[receiver.keys]\nCFG-RATE-NAV = 2\n0x10930006 = true\n",
    )
    assert loaded.config.receiver.keys == {
        "CFG-RATE-MEAS": 200,
        "CFG-RATE-NAV": 2,
        "0x10930006": True,
    }
    assert loaded.origins["receiver.keys.CFG-RATE-MEAS"] == str(main)
    assert loaded.origins["receiver.keys.CFG-RATE-NAV"].endswith("site.toml")


def test_D13_a_missing_file_is_named_with_the_remedy(main: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(main)
    assert caught.value.detail == (
        f"{main} does not exist; `ztpd config example` prints an example"
    )
    assert caught.value.exit_status == 78


def test_D13_a_file_that_cannot_be_read_is_named(main: Path) -> None:
    main.mkdir()
    with pytest.raises(ConfigError, match=f"{main}: Is a directory"):
        config.load(main)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("name", ["ztpd.toml", "ztpd.toml.d/50-site.toml"])
def test_D13_a_fifo_in_the_place_of_a_file_is_named_and_not_waited_for(
    main: Path, name: str
) -> None:
    main.with_name("ztpd.toml.d").mkdir()
    if main.name != name:
        main.touch()
    os.mkfifo(main.parent / name)
    with pytest.raises(ConfigError, match=f"{name}: is not a regular file"):
        config.load(main)


def test_D13_a_drop_in_directory_that_cannot_be_read_is_named(main: Path) -> None:
    main.with_name("ztpd.toml.d").write_text("")
    assert "ztpd.toml.d: Not a directory" in _refused(main, "")


def test_D13_broken_TOML_names_file_and_line(main: Path) -> None:
    detail = _refused(main, '[ztp]\n\nservice = "flex\n')
    assert detail.startswith(f"{main}: ")
    assert "line 3" in detail


def test_D13_broken_TOML_in_a_drop_in_names_that_file(main: Path) -> None:
    assert "10-site.toml: " in _refused(main, "", **{"10-site": "[ztp\n"})


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'[ztp]\ngiven_name = "\xe9"\n', id="Latin-1"),
        pytest.param(b"a = " + b"9" * 5000, id="a number too large for Python"),
        pytest.param(b"a = " + b"[" * 5000, id="absurd depth"),
        pytest.param(b"[ntrip]\nhost = " + b"[" * 450 + b"]" * 450, id="deep for a message"),
    ],
)
def test_a_file_that_the_TOML_reader_cannot_read_is_reported_as_broken(
    main: Path, data: bytes
) -> None:
    main.write_bytes(data)
    with pytest.raises(ConfigError):
        config.load(main)


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_is_a_configuration_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("any") / "ztpd.toml"
    file.write_bytes(data)
    try:
        loaded = config.load(file)
    except ConfigError:
        return
    assert loaded.config == Config()


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ('[ztp]\nservise = "flex"', "ztp.servise", "ztp.service"),
        ('[ztp]\ntoken = "x"', "ztp.token", "ztp.token_file"),
        ('[ntrip]\npassword = "x"', "ntrip.password", "ntrip.password_file"),
        ("[ntrip]\ntopics = []", "ntrip.topics", "mqtt.topics"),
        ("[recevier]\nport = 1", "recevier", "receiver"),
        ('hardware_id = "x"', "hardware_id", "identity.hardware_id"),
        ("[ztp]\nflux_capacitor = 1", "ztp.flux_capacitor", ""),
        ("[zzz]", "zzz", ""),
    ],
)
def test_an_unknown_key_is_reported_with_the_nearest_known(
    main: Path, text: str, key: str, nearest: str
) -> None:
    loaded = _load(main, text)
    assert loaded.unknown == ((main, key, nearest),)
    assert loaded.config == Config()


def test_every_unknown_key_is_reported_with_its_file(main: Path) -> None:
    loaded = _load(main, "[ztp]\na = 1\nb = 2\n", site="[log]\nc = 3\n")
    assert [(file.name, key) for file, key, _ in loaded.unknown] == [
        ("ztpd.toml", "ztp.a"),
        ("ztpd.toml", "ztp.b"),
        ("site.toml", "log.c"),
    ]


LONG = "x" * 1000

WRONG: list[tuple[str, Any]] = [
    ("ztp.service", "PointPerfect"),
    ("ztp.service", 1),
    ("ztp.given_name", ""),
    ("ztp.given_name", "   "),
    ("ztp.given_name", LONG),
    ("ztp.given_name", "x" * 35 + "{imei}"),
    ("ztp.given_name", "{serial}"),
    ("ztp.given_name", "{hostname"),
    ("ztp.given_name", "a\nb"),
    ("ztp.tags", "site-7"),
    ("ztp.tags", [LONG]),
    ("ztp.tags", [""]),
    ("ztp.tags", [1]),
    ("ztp.tags", ["a\tb"]),
    ("ztp.tags", ["x"] * 17),
    ("ztp.token_file", "token"),
    ("ztp.token_file", ""),
    ("ztp.splay_s", -1),
    ("ztp.splay_s", 86401),
    ("ztp.splay_s", "60"),
    ("ztp.splay_s", True),
    ("ztp.splay_s", float("nan")),
    ("ztp.splay_s", float("inf")),
    ("ztp.timeout_s", 0),
    ("ztp.url", "api.thingstream.io"),
    ("ztp.url", "ftp://api.thingstream.io"),
    ("ztp.url", "https://"),
    ("ztp.url", "https://host:port"),
    ("ztp.url", "https://host:99999"),
    ("ztp.url", "https://host:0"),
    ("ztp.url", "https://host/?token=1"),
    ("ztp.url", "https://host/#top"),
    ("ztp.url", "https://ho st"),
    ("ztp.url", "https://host\n"),
    ("ztp.url", "https://[::1"),
    ("ztp.allowed_hosts", ["https://host"]),
    ("ztp.allowed_hosts", ["host:443"]),
    ("ztp.allowed_hosts", ["."]),
    ("ztp.allowed_hosts", "host"),
    ("identity.source", "usb"),
    ("identity.port", "ttyUSB2"),
    ("identity.port", ""),
    ("identity.baudrate", 115201),
    ("identity.baudrate", "115200"),
    ("identity.baudrate", True),
    ("identity.hardware_id", "with blank"),
    ("identity.hardware_id", "x" * 65),
    ("corrections.prefer", []),
    ("corrections.prefer", ["ntrip", "ntrip"]),
    ("corrections.prefer", ["lband"]),
    ("corrections.prefer", "ntrip"),
    ("corrections.prefer", [["ntrip"]]),
    ("corrections.format", "rtcm3"),
    ("corrections.stale_after_s", 5),
    ("corrections.max_age_s", 0),
    ("corrections.queue_bytes", 100),
    ("corrections.queue_bytes", 16384.5),
    ("mqtt.host", "mqtt://host"),
    ("mqtt.host", "-host"),
    ("mqtt.host", "host_/x"),
    ("mqtt.port", 65536),
    ("mqtt.port", -1),
    ("mqtt.port", True),
    ("mqtt.topics", [""]),
    ("mqtt.region", "europe"),
    ("mqtt.keepalive_s", 3600),
    ("mqtt.cert_file", "client.pem"),
    ("ntrip.mountpoint", "/NEAR-RTCM"),
    ("ntrip.mountpoint", "NEAR RTCM"),
    ("ntrip.mountpoint", "NEAR\r\nHost: x"),
    ("ntrip.username", "user:name"),
    ("ntrip.username", "user\nname"),
    ("ntrip.version", 2),
    ("ntrip.tls", "yes"),
    ("ntrip.tls", 1),
    ("ntrip.gga_interval_s", 0.5),
    ("ntrip.gga_interval_s", 31),
    ("receiver.configure", 0),
    ("receiver.keys.CFG-NO-SUCH_KEY", 1),
    ("receiver.keys.CFG-RATE-MEAS", "200"),
    ("receiver.keys.CFG-RATE-MEAS", 65536),
    ("receiver.keys.0x00000001", 1),
    ("receiver.keys", 1),
    ("output.pty", "gnss"),
    ("output.udp", "127.0.0.1:10110"),
    ("output.udp", ["192.168.1.9:10110"]),
    ("output.udp", ["localhost:10110"]),
    ("output.udp", ["127.0.0.1"]),
    ("output.udp", [10110]),
    ("output.udp_kinds", []),
    ("output.udp_kinds", ["spartn"]),
    ("log.level", "INFO"),
    ("log", "debug"),
]


def _document(key: str, value: Any) -> str:
    """TOML that sets the one key."""
    table, _, name = key.rpartition(".")
    return f"[{table}]\n{name} = {toml(value)}\n" if table else f"{name} = {toml(value)}\n"


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_D13_a_wrong_value_is_reported_with_file_key_value_and_allowed_values(
    main: Path, key: str, value: Any
) -> None:
    detail = _refused(main, _document(key, value))
    assert detail.startswith(f"{main}: {key} = ")
    assert " is wrong: it takes " in detail
    assert len(detail) < 400


def test_the_message_reads_well(main: Path) -> None:
    assert _refused(main, "[ztp]\ntimeout_s = -1\n") == (
        f"{main}: ztp.timeout_s = -1 is wrong: it takes a number of seconds from 5 to 300"
    )
    assert _refused(main, '[ntrip]\nversion = "3"\n') == (
        f'{main}: ntrip.version = "3" is wrong: it takes "auto", "1" or "2"'
    )


def test_all_mistakes_are_reported_at_once(main: Path) -> None:
    detail = _refused(main, "[ztp]\ntimeout_s = -1\n", site='[log]\nlevel = "loud"\n')
    assert "ztp.timeout_s" in detail
    assert "site.toml: log.level" in detail


@pytest.mark.parametrize("key", ["ztp.token_file", "mqtt.password_file", "ntrip.password_file"])
def test_P11_a_secret_in_the_place_of_its_file_is_not_repeated(main: Path, key: str) -> None:
    detail = _refused(main, _document(key, TOKEN))
    assert TOKEN not in detail
    assert "(not shown)" in detail


@pytest.mark.parametrize("header", ["[backup]", "[[ntrip]]"])
def test_P11_a_password_in_a_table_with_the_wrong_brackets_is_not_repeated(
    main: Path, header: str
) -> None:
    detail = _refused(main, f'{header}\nhost = "a.example"\npassword = "{TOKEN}"\n')
    assert TOKEN not in detail
    assert "(not shown)" in detail


def test_P11_a_password_in_the_url_is_refused_and_not_repeated(main: Path) -> None:
    detail = _refused(main, _document("ztp.url", "https://user:canary@host"))
    assert "canary" not in detail


def test_P11_values_of_unknown_keys_are_not_repeated(main: Path) -> None:
    loaded = _load(main, _document("ztp.token", TOKEN))
    assert TOKEN not in repr(loaded)


def test_T7_plain_http_is_for_this_machine_only(main: Path) -> None:
    for url in ("http://localhost:8080", "http://127.0.0.1:8080/x", "http://[::1]"):
        assert _load(main, _document("ztp.url", url)).config.ztp.url == url
    for url in ("http://api.thingstream.io", "http://192.168.1.1", "http://127.0.0.1.example.net"):
        assert "https" in _refused(main, _document("ztp.url", url))


RIGHT: list[tuple[str, Any, Any]] = [
    ("ztp.url", "https://ztp.example.net:8443/base/", "https://ztp.example.net:8443/base"),
    ("ztp.given_name", "Pflug {hostname} {imei}", "Pflug {hostname} {imei}"),
    ("ztp.given_name", 'quoted "🚜"', 'quoted "🚜"'),
    ("ztp.tags", ['"quoted"', "🚜", "größer"], ('"quoted"', "🚜", "größer")),
    ("ztp.splay_s", 0, 0),
    ("ztp.splay_s", 0.5, 0.5),
    ("ztp.allowed_hosts", [".U-Blox.com", "10.0.0.1"], (".u-blox.com", "10.0.0.1")),
    ("identity.port", "/dev/ttyUSB2", "/dev/ttyUSB2"),
    ("identity.baudrate", 115200, 115200),
    ("identity.baudrate", "auto", "auto"),
    ("corrections.prefer", ["mqtt"], ("mqtt",)),
    ("corrections.prefer", ["mqtt", "ntrip"], ("mqtt", "ntrip")),
    ("mqtt.host", "Broker.Example.NET", "broker.example.net"),
    ("mqtt.host", "2001:db8::1", "2001:db8::1"),
    ("mqtt.host", "", ""),
    ("ntrip.username", "üser@example.net", "üser@example.net"),
    ("output.pty", "/run/ztpd/gnss", "/run/ztpd/gnss"),
    ("output.udp", ["127.0.0.1:10110", "[::1]:10111"], ("127.0.0.1:10110", "[::1]:10111")),
    ("output.udp_kinds", ["rtcm", "nmea"], ("rtcm", "nmea")),
]


@pytest.mark.parametrize(("key", "value", "read"), RIGHT)
def test_a_valid_value_is_accepted(main: Path, key: str, value: Any, read: Any) -> None:
    table, _, name = key.partition(".")
    loaded = _load(main, _document(key, value))
    assert getattr(getattr(loaded.config, table), name) == read


def test_Z16_names_and_tags_at_their_limits_are_taken_and_beyond_refused(main: Path) -> None:
    _load(main, f'[ztp]\ngiven_name = "{"n" * 49}"\ntags = ["{"t" * 49}"]\n')
    assert "49 characters" in _refused(main, f'[ztp]\ngiven_name = "{"n" * 50}"\n')
    assert "49 printable" in _refused(main, f'[ztp]\ntags = ["{"t" * 50}"]\n')


@pytest.mark.parametrize(
    ("text", "key", "word"),
    [
        ('[identity]\nsource = "fixed"', "identity.source", "hardware_id"),
        ('[identity]\nhardware_id = "x"', "identity.hardware_id", '"fixed"'),
        (
            '[identity]\nport = "/dev/ttyUSB0"\n[receiver]\nport = "/dev/ttyUSB0"',
            "receiver.port",
            "same port",
        ),
        ("[mqtt]\ntls = false", "mqtt.tls", "localhost"),
        ('[mqtt]\ntls = false\nhost = "broker.lan"', "mqtt.tls", "localhost"),
        ('[mqtt]\ncert_file = "/c"', "mqtt.cert_file", "key_file"),
        ('[mqtt]\nkey_file = "/k"', "mqtt.key_file", "cert_file"),
        ('[mqtt]\npassword_file = "/p"', "mqtt.password_file", "username"),
        ('[ntrip]\npassword_file = "/p"', "ntrip.password_file", "username"),
        (
            "[receiver]\nconfigure = false\nkeys = { CFG-RATE-MEAS = 100 }",
            "receiver.configure",
            "keys",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    main: Path, text: str, key: str, word: str
) -> None:
    detail = _refused(main, text)
    assert detail.startswith(f"{main}: {key}: ")
    assert word in detail


@pytest.mark.parametrize(
    "text",
    [
        '[identity]\nsource = "fixed"\nhardware_id = "gw-1"',
        '[mqtt]\ntls = false\nhost = "localhost"',
        '[mqtt]\ntls = false\nhost = "127.0.0.1"',
        '[mqtt]\ncert_file = "/c"\nkey_file = "/k"',
        '[ntrip]\nusername = "u"\npassword_file = "/p"',
        '[ntrip]\ntls = false\nhost = "caster.example.net"',
    ],
)
def test_settings_that_belong_together_are_accepted(main: Path, text: str) -> None:
    _load(main, text)


TWO_BACKUPS = """
[[backup]]
host = "one.example"
mountpoint = "A"
[[backup]]
host = "two.example"
mountpoint = "B"
format = "rtcm"
"""


def test_each_backup_is_a_table_of_its_own_in_the_order_of_the_file(main: Path) -> None:
    loaded = _load(main, TWO_BACKUPS)
    assert [each.host for each in loaded.config.backup] == ["one.example", "two.example"]
    assert [each.format for each in loaded.config.backup] == ["auto", "rtcm"]
    assert loaded.origins["backup[2].format"] == str(main)


def test_the_last_file_with_backups_replaces_those_of_the_files_before(main: Path) -> None:
    loaded = _load(main, TWO_BACKUPS, site='[[backup]]\nhost = "c.example"\nmountpoint = "C"\n')
    assert [each.host for each in loaded.config.backup] == ["c.example"]
    assert loaded.origins["backup[1].host"] == f"{main}.d/site.toml"
    assert "backup[2].host" not in loaded.origins
    none = _load(main, TWO_BACKUPS, site="backup = []\n")
    assert none.config.backup == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[backup]]\n", "backup[1].host: must be set"),
        ('[[backup]]\nhost = "a"\n', "backup[1].mountpoint: must be set"),
        (f"{TWO_BACKUPS}[[backup]]\n", "backup[3].host: must be set"),
        (f"{TWO_BACKUPS}port = 70000\n", "backup[2].port = 70000 is wrong"),
        (f'{TWO_BACKUPS}password_file = "/p"\n', "backup[2].password_file: needs username too"),
        ('[backup]\nhost = "a"\n', "it takes at most 8 tables: [[backup]]"),
        (
            '[[backup]]\nhost = "a"\nmountpoint = "A"\n' * 9,
            "it takes at most 8 tables: [[backup]]",
        ),
        (
            '[[backup]]\nhost = "a"\nmountpoint = "A"\n' * 2,
            "backup[2].host: a/A is there twice; give each a name of its own",
        ),
    ],
)
def test_a_mistake_in_a_backup_names_its_number(main: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(main, text)
    assert words in str(caught.value)
    assert str(main) in str(caught.value)


def test_an_unknown_key_of_a_backup_names_the_nearest(main: Path) -> None:
    loaded = _load(main, f"{TWO_BACKUPS}mount = 'x'\n")
    assert [each[1:] for each in loaded.unknown] == [("backup[2].mount", "backup[2].mountpoint")]


def test_the_files_of_backups_are_checked_too(main: Path) -> None:
    loaded = _load(main, f"{TWO_BACKUPS}username = 'u'\npassword_file = '/no/password'\n")
    assert ("backup[2].password_file", Path("/no/password")) in config.named_files(loaded.config)


def test_a_token_was_given_also_where_it_cannot_be_used(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    assert not config.has_token(_with(token_file), {})
    assert not config.has_token(_with(token_file), _credentials(tmp_path, "unset"))
    token_file.write_text("no token")
    assert config.has_token(_with(token_file), {})
    token_file.unlink()
    token_file.mkdir()
    assert config.has_token(_with(token_file), {})


def test_shown_backups_can_be_read_again(main: Path, tmp_path: Path) -> None:
    loaded = _load(main, TWO_BACKUPS)
    again = tmp_path / "again.toml"
    again.write_text(config.show(loaded))
    assert config.load(again).config == loaded.config
    assert config.show(loaded).count("\n[[backup]]\n") == 2
    assert "alone, without ZTP, if there is neither token nor credentials" in config.show(loaded)


@pytest.mark.parametrize(
    ("name", "text"),
    [("etc/ztpd/ztpd.toml", config.example()), ("docs/configuration.md", reference())],
)
def test_the_shipped_files_are_those_that_the_code_produces(name: str, text: str) -> None:
    assert (TOP / name).read_text() == text, "run `make docs`"


def test_the_example_changes_nothing(main: Path) -> None:
    loaded = _load(main, config.example())
    assert loaded.config == Config()
    assert loaded.unknown == ()


def _uncommented(text: str) -> str:
    """The example with every setting switched on: '#' directly before a name hides one."""
    return "\n".join(
        line[1:] if line.startswith("#") and line[1:2].isalpha() else line
        for line in text.splitlines()
    )


def test_every_setting_of_the_example_shows_its_default(main: Path) -> None:
    text, _, repeated = _uncommented(config.example()).partition("#[[backup]]")
    shown = tomllib.loads(f"{text}[[backup]]{repeated}")
    for table in TABLES.values():
        settings = shown[table.name][0] if table.repeated else shown[table.name]
        assert list(settings) == list(table.options)
    loaded = _load(main, text)
    assert loaded.config == Config()
    assert "default" not in {
        origin for key, origin in loaded.origins.items() if key != "receiver.keys"
    }


def test_the_example_fits_a_screen_in_width() -> None:
    assert max(len(line) for line in config.example().splitlines()) < 100


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_defaults_and_examples_pass_their_own_rules(main: Path, table: Any) -> None:
    for option in table.options.values():
        if option.is_table:
            for item in option.example.items():
                option.rule.read(item)
            continue
        for value in (option.default, option.example):
            if value is not None:
                option.rule.read(tomllib.loads(f"value = {toml(value)}")["value"])


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_setting_is_explained_in_the_reference(table: Any) -> None:
    for option in table.options.values():
        assert f"\n### {table.name}.{option.name}\n" in reference()
        assert option.help.endswith(".")


def test_show_prints_every_value_and_its_origin(main: Path) -> None:
    loaded = _load(
        main,
        '[ztp]\nservice = "live"\n[receiver.keys]\nCFG-RATE-MEAS = 200\n',
        site='[ztp]\ntags = ["a"]\n',
    )
    lines = [line.split("#") for line in config.show(loaded).splitlines() if "#" in line]
    shown = {setting.strip(): origin.strip() for setting, origin in lines}
    assert shown['service = "live"'] == str(main)
    assert shown['tags = ["a"]'] == f"{main}.d/site.toml"
    assert shown["splay_s = 60"] == "default"
    assert shown["CFG-RATE-MEAS = 200"] == str(main)


def test_the_shown_configuration_can_be_read_again(main: Path, tmp_path: Path) -> None:
    loaded = _load(main, '[ztp]\ntags = ["\\"a\\""]\n[receiver.keys]\n0x30210001 = 200\n')
    again = tmp_path / "again.toml"
    again.write_text(config.show(loaded))
    assert config.load(again).config == loaded.config


def test_a_configuration_is_a_value() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().ztp.url = "x"  # type: ignore[misc]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "token"


def _with(token_file: Path) -> Config:
    return Config(ztp=config.ZtpOptions(token_file=str(token_file)))


def _write(file: Path, text: str, mode: int = 0o600) -> None:
    file.write_text(text)
    file.chmod(mode)


def _credentials(tmp_path: Path, text: str) -> dict[str, str]:
    """A credentials directory as systemd 257 makes it: the file's mode looks unsafe and is not."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    _write(directory / "ztp-token", text, 0o440)
    return {"CREDENTIALS_DIRECTORY": str(directory)}


@pytest.mark.parametrize("text", [TOKEN, TOKEN + "\n", f"  {TOKEN}\r\n"])
def test_Z14_a_token_may_have_a_line_end(token_file: Path, text: str) -> None:
    _write(token_file, text)
    assert config.read_token(_with(token_file), {}).reveal() == TOKEN


def test_the_credential_wins_over_the_file(token_file: Path, tmp_path: Path) -> None:
    _write(token_file, TOKEN.replace("0", "1"))
    environ = _credentials(tmp_path, TOKEN + "\n")
    assert config.read_token(_with(token_file), environ).reveal() == TOKEN


def test_D19_the_credential_unset_is_no_token(token_file: Path, tmp_path: Path) -> None:
    environ = _credentials(tmp_path, "unset")
    with pytest.raises(ZtpTokenMissing, match="does not exist"):
        config.read_token(_with(token_file), environ)


def test_with_the_credential_unset_the_file_counts(token_file: Path, tmp_path: Path) -> None:
    _write(token_file, TOKEN)
    environ = _credentials(tmp_path, "unset")
    assert config.read_token(_with(token_file), environ).reveal() == TOKEN


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("passed", ["", "\n", None])
def test_FR55_a_container_that_empties_the_credential_is_named(
    open_path: Path, passed: str | None
) -> None:
    token_file = open_path / "token"
    _write(token_file, TOKEN)
    environ = _credentials(open_path, passed or "")
    (open_path / "credentials").chmod(0o755)
    if passed is None:
        (open_path / "credentials/ztp-token").unlink()
    else:
        (open_path / "credentials/ztp-token").chmod(0o444)
    with (
        ordinary_user(),
        pytest.raises(ZtpTokenMissing, match="passed the unit an empty credential") as error,
    ):
        config.read_token(_with(token_file), environ)
    assert "nesting=1" in error.value.advice
    assert "[ztp] token_file" in error.value.advice
    assert "chown" not in error.value.advice, "each boot gives the usual file to root"


def test_FR55_with_an_empty_credential_a_file_that_the_daemon_may_read_counts(
    token_file: Path, tmp_path: Path
) -> None:
    _write(token_file, TOKEN)
    assert config.read_token(_with(token_file), _credentials(tmp_path, "")).reveal() == TOKEN


def test_other_credentials_of_the_unit_do_not_matter(token_file: Path, tmp_path: Path) -> None:
    _write(token_file, TOKEN)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert config.read_token(_with(token_file), environ).reveal() == TOKEN


@pytest.mark.parametrize("text", ["", "\n"])
def test_Z14_an_empty_file_is_no_token(token_file: Path, text: str) -> None:
    _write(token_file, text)
    with pytest.raises(ZtpTokenMissing):
        config.read_token(_with(token_file), {})


def test_Z14_a_missing_file_is_named(token_file: Path) -> None:
    with pytest.raises(ZtpTokenMissing, match=str(token_file)):
        config.read_token(_with(token_file), {})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_T1_a_token_file_open_to_others_is_not_used(token_file: Path, mode: int) -> None:
    _write(token_file, TOKEN, mode)
    with pytest.raises(ZtpTokenUnsafe) as caught:
        config.read_token(_with(token_file), {})
    assert caught.value.detail == f"{token_file} has mode {mode:04o}"


@pytest.mark.parametrize(
    "text",
    [
        TOKEN[:-1],
        TOKEN + "0",
        TOKEN.replace("-", ""),
        TOKEN.replace("f", "g"),
        TOKEN.upper(),
        f"{TOKEN}\n{TOKEN}",
        "unset",
        "\N{SNOWMAN}" * 36,
        "x" * 1_000_000,
    ],
)
def test_Z14_a_malformed_token_is_not_repeated(token_file: Path, text: str) -> None:
    _write(token_file, text)
    with pytest.raises(ZtpTokenMalformed) as caught:
        config.read_token(_with(token_file), {})
    assert text[:8] not in str(caught.value)


def test_Z14_capital_letters_are_pointed_out(token_file: Path) -> None:
    _write(token_file, TOKEN.upper())
    with pytest.raises(ZtpTokenMalformed, match="capital"):
        config.read_token(_with(token_file), {})


@pytest.mark.timeout(5)
def test_a_pipe_in_the_place_of_the_token_does_not_hang(token_file: Path) -> None:
    os.mkfifo(token_file, 0o600)
    with pytest.raises(ZtpTokenMissing, match="not a file"):
        config.read_token(_with(token_file), {})


def test_a_directory_in_the_place_of_the_token_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ZtpTokenMissing, match="Is a directory"):
        config.read_token(_with(tmp_path), {})


def test_a_token_file_that_only_root_can_read_is_reported_with_its_remedy(token_file: Path) -> None:
    _write(token_file, TOKEN, 0o000)
    with ordinary_user(), pytest.raises(ZtpTokenMissing, match="systemctl restart"):
        config.read_token(_with(token_file), {})


def test_FR34_a_token_file_in_utf_16_is_named(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_bytes(TOKEN.encode("utf-16"))
    with pytest.raises(ZtpTokenMalformed, match=f"{token_file} is UTF-16: save it as UTF-8"):
        config.read_token(_with(token_file), {})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("[ztp]\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (
            "[ztp]\ngiven_name = 'Bagger \u00fc'\n".encode("latin-1"),
            "no UTF-8 text, from byte 27 on",
        ),
    ],
)
def test_FR34_a_configuration_in_another_coding_is_named(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    file = tmp_path / "ztpd.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=f"{file} is .*{reason}|{file} {reason}"):
        config.load(file)


def test_FR34_a_byte_order_mark_is_not_part_of_the_token(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_bytes(b"\xef\xbb\xbf" + TOKEN.encode() + b"\r\n")
    assert config.read_token(_with(token_file), {}).reveal() == TOKEN


@pytest.mark.parametrize(
    ("mode", "group", "is_exposed"),
    [
        (0o600, os.getegid(), False),
        (0o640, os.getegid(), False),
        (0o604, os.getegid(), True),
        (0o644, os.getegid(), True),
        pytest.param(
            0o640,
            max([os.getegid(), *os.getgroups()]) + 1,
            True,
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to change the group"),
        ),
    ],
)
def test_a_password_file_that_other_users_may_read_is_found(
    main: Path, mode: int, group: int, is_exposed: bool
) -> None:
    password = main.with_name("password")
    password.touch()
    os.chown(password, -1, group)
    password.chmod(mode)
    loaded = _load(main, f'[ntrip]\nusername = "u"\npassword_file = "{password}"\n')
    expected = [("ntrip.password_file", password, f"{mode:04o}")] if is_exposed else []
    assert list(config.exposed_files(loaded.config)) == expected


def test_of_all_files_those_of_secrets_alone_are_to_be_private(main: Path) -> None:
    names = ("ca_file", "cert_file", "key_file")
    for name in names:
        main.with_name(name).touch()
        main.with_name(name).chmod(0o644)
    files = "".join(f'{name} = "{main.with_name(name)}"\n' for name in names)
    gone = 'username = "u"\npassword_file = "/no/password"\n'
    loaded = _load(main, f"[mqtt]\n{files}{gone}")
    assert [each.key for each in config.exposed_files(loaded.config)] == ["mqtt.key_file"]
