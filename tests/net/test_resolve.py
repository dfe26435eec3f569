"""Names that cannot be looked up, and why."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.virtualtime import run
from ztpd.errors import NetworkError, NoRoute, ResolveFailed
from ztpd.net.resolve import Resolver, resolve

HEAD = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
DEFAULT = "wwan0 00000000 0100000A 0003 0 0 700 00000000 0 0 0\n"
OWN_NETWORK = "eth0 0000A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n"


def failing(code: int) -> Resolver:
    def resolver(*_: Any) -> NoReturn:
        raise socket.gaierror(code, "no such luck")

    return resolver


def failure(proc: Path, code: int = socket.EAI_AGAIN, host: str = "caster.example") -> NetworkError:
    with pytest.raises(NetworkError) as raised:
        run(resolve(host, 2101, resolver=failing(code), proc=proc))
    return raised.value


def test_N01_without_any_route_the_name_is_not_blamed(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(HEAD)
    error = failure(tmp_path)
    assert isinstance(error, NoRoute)
    assert str(error) == "there is no route to the network: there is none at all"


def test_N01_without_a_default_route_the_failed_look_up_says_so(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(HEAD + OWN_NETWORK)
    error = failure(tmp_path)
    assert isinstance(error, ResolveFailed)
    assert error.detail == "caster.example: no such luck; there is no default route"
    assert error.advice == NoRoute.advice


@pytest.mark.parametrize(
    ("routes", "code"),
    [
        pytest.param(HEAD + DEFAULT, socket.EAI_AGAIN, id="a default route"),
        pytest.param(HEAD + OWN_NETWORK, socket.EAI_NONAME, id="a server of this network answers"),
        pytest.param(None, socket.EAI_AGAIN, id="routes cannot be read"),
    ],
)
def test_N02_N03_else_the_name_or_its_server_is_the_cause(
    routes: str | None, code: int, tmp_path: Path
) -> None:
    if routes:
        (tmp_path / "route").write_text(routes)
    error = failure(tmp_path, code)
    assert isinstance(error, ResolveFailed)
    assert error.detail == "caster.example: no such luck"
    assert error.advice == ResolveFailed.advice


def test_a_text_that_is_no_host_name_is_named_without_a_route_too(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(HEAD)

    def resolver(*_: Any) -> NoReturn:
        raise UnicodeError("label empty or too long")

    with pytest.raises(ResolveFailed, match="not a host name"):
        run(resolve("a..example", 2101, resolver=resolver, proc=tmp_path))
