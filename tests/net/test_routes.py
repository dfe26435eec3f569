from pathlib import Path

from ztpd.net import routes

IPV4 = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wwan0	00000000	0100000A	0003	0	0	700	00000000	0	0	0
eth0	0000A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
eth0	0000A8C0	00000000	0201	0	0	100	00FFFFFF	0	0	0
eth1	00000000	0100000A	0002	0	0	700	00000000	0	0	0
"""
IPV6 = (
    "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "fe800000000000000000000000000001 00000400 00000001 00000000 00000003    wwan0\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
)


def test_routes_are_read_from_procfs(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(IPV4)
    (tmp_path / "ipv6_route").write_text(IPV6)

    assert [str(route) for route in routes.read(tmp_path)] == [
        "default via 10.0.0.1 on wwan0",
        "192.168.0.0/24 on eth0",
        "default via fe80::1 on wwan0",
    ]


def test_N01_without_any_interface_there_is_no_route(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(IPV4.splitlines()[0] + "\n")
    (tmp_path / "ipv6_route").write_text("")

    assert routes.read(tmp_path) == []
    assert routes.read(tmp_path / "none") == []
