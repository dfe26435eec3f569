"""The simulated broker: it starts at once, is strict where mosquitto is, and cleans up."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
from pathlib import Path

import pytest

from ztpd.model import Secret
from ztpd.sim.authority import Authority
from ztpd.sim.broker import Broker, Engine, find_mosquitto
from ztpd.sim.mqtt_packets import (
    CONNACK,
    PUBLISH,
    SUBACK,
    connack,
    connect,
    packet,
    read_packet,
)

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
ENGINES = [pytest.param("mosquitto", marks=needs_mosquitto), "amqtt"]
SUBSCRIBE_ALL = packet(0x82, b"\0\1" + b"\0\1#" + b"\0")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def context(authority: Authority, folder: Path, client: str = "") -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=authority.certificate)
    if client:
        made.load_cert_chain(*authority.client(client).write(folder, client))
    return made


class Client:
    """A client of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def log_in(cls, broker: Broker, tls: ssl.SSLContext | None, *login: str) -> Client:
        """Raises EOFError or PermissionError where the broker does not want it."""
        made = cls(*await asyncio.open_connection(broker.host, broker.port, ssl=tls))
        made.writer.write(connect("client", *login))
        answer = await read_packet(made.reader)
        if (answer.type, answer.body) != (CONNACK, connack()[2:]):
            made.close()
            raise PermissionError(answer.body[1])
        return made

    async def receive(self) -> bytes:
        async with asyncio.timeout(2):
            while (found := await read_packet(self.reader)).type != PUBLISH:
                assert found.type == SUBACK
        return found.body

    def close(self) -> None:
        self.writer.transport.abort()


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_retained_message_reaches_later_subscribers(
    engine: Engine, authority: Authority, tmp_path: Path
) -> None:
    said: list[str] = []
    async with Broker(authority, engine=engine, say=said.append) as broker:
        await broker.publish("keys", b"\1\2", retain=True)
        client = await Client.log_in(broker, context(authority, tmp_path, "client"))
        client.writer.write(SUBSCRIBE_ALL)
        assert await client.receive() == b"\0\4keys\1\2"
        await broker.publish("data", b"\3")
        assert await client.receive() == b"\0\4data\3"
        client.close()
    assert f"broker ({engine}) listens on 127.0.0.1:{broker.port}, TLS" in said
    assert any("does not enforce" in text for text in said) == (engine == "amqtt")


@pytest.mark.parametrize("engine", ENGINES)
async def test_it_starts_within_a_second_and_restarts_on_the_same_port(
    engine: Engine, authority: Authority, tmp_path: Path
) -> None:
    tls = context(authority, tmp_path, "client")
    if engine == "amqtt":
        pytest.importorskip(
            "amqtt.broker", reason="amqtt is not installed"
        )  # the import alone takes half a second
    began_s = time.monotonic()
    async with Broker(authority, engine=engine) as broker:
        assert time.monotonic() - began_s < 1
        port = broker.port
        await broker.publish("keys", b"\1", retain=True)
        before = await Client.log_in(broker, tls)
        await broker.restart()
        assert broker.port == port
        with pytest.raises(EOFError):
            await read_packet(before.reader)
        before.close()
        after = await Client.log_in(broker, tls)
        after.writer.write(SUBSCRIBE_ALL)
        assert await after.receive() == b"\0\4keys\1"
        after.close()


@pytest.mark.parametrize("engine", ENGINES)
async def test_stopping_closes_the_port_and_starting_opens_it_again(
    engine: Engine, authority: Authority, tmp_path: Path
) -> None:
    async with Broker(engine=engine) as broker:
        await broker.stop()
        with pytest.raises(ConnectionRefusedError):
            await Client.log_in(broker, None)
        await broker.start()
        (await Client.log_in(broker, None)).close()
    with pytest.raises(ConnectionRefusedError):
        await Client.log_in(broker, None)


@pytest.fixture
def strict(authority: Authority) -> Broker:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    return Broker(
        authority,
        identity_as_username=True,
        acl="user gateway\ntopic read data\n",
    )


async def test_a_client_without_a_certificate_is_not_taken(
    strict: Broker, authority: Authority, tmp_path: Path
) -> None:
    async with strict as broker:
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            await Client.log_in(broker, context(authority, tmp_path))


async def test_the_certificate_names_the_user_of_the_access_list(
    strict: Broker, authority: Authority, tmp_path: Path
) -> None:
    async with strict as broker:
        gateway = await Client.log_in(broker, context(authority, tmp_path, "gateway"))
        gateway.writer.write(SUBSCRIBE_ALL)
        await broker.publish("other", b"\1")
        await broker.publish("data", b"\2")
        assert await gateway.receive() == b"\0\4data\2"
        gateway.close()


@needs_mosquitto
async def test_a_plain_broker_asks_for_user_and_password() -> None:
    async with Broker(users={"gateway": Secret("word")}) as broker:
        (await Client.log_in(broker, None, "gateway", "word")).close()
        for login in (("gateway", "wrong"), ("nobody", "word"), ()):
            with pytest.raises(PermissionError, match="5"):
                await Client.log_in(broker, None, *login)


@needs_mosquitto
async def test_a_twin_evicts_the_client_with_its_identifier(
    authority: Authority, tmp_path: Path
) -> None:
    async with Broker(authority) as broker:
        client = await Client.log_in(broker, context(authority, tmp_path, "client"))
        await broker.evict("client")
        async with asyncio.timeout(2):
            assert await client.reader.read() == b""
        client.close()


@needs_mosquitto
async def test_the_files_go_when_the_broker_goes(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with Broker(authority):
        (folder,) = tmp_path.iterdir()
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.glob("*.key")}
        assert modes == {"server.key": 0o600, "publisher.key": 0o600}
    assert not list(tmp_path.iterdir())
