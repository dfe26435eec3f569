"""A real MQTT broker on loopback, with mutual TLS as PointPerfect's has, and a publisher.

mosquitto if it is installed, since many brokers are mosquitto; else amqtt, which is pure Python
but lets clients in without a certificate.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ztpd.errors import SessionError
from ztpd.model import Secret
from ztpd.sim.authority import Authority, Pair
from ztpd.sim.mqtt_packets import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    connect,
    packet,
    publish,
    read_packet,
)

_PUBLISHER = "corrections-publisher"
_START_S = 5.0
_STOP_S = 2.0
_LOOK_S = 0.02

Engine = Literal["mosquitto", "amqtt"]


def find_mosquitto() -> str | None:
    """The program; Debian keeps it in a directory that ordinary users have not in their PATH."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which("mosquitto", path=f"{path}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin")


class Broker:
    """One broker, listening while the context is entered.

    With an ``authority`` it speaks TLS and takes clients that show a certificate of that
    authority; without one it is a plain broker on loopback. ``users`` are name and password of
    those who may log in (mosquitto only). Retained messages outlive :meth:`restart`.
    """

    def __init__(
        self,
        authority: Authority | None = None,
        *,
        users: Mapping[str, Secret] | None = None,
        identity_as_username: bool = False,
        acl: str = "",
        engine: Engine | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``acl`` is the text of a mosquitto ACL file; the publisher may write in any case.

        ``engine`` None takes mosquitto if it is there.
        """
        self.host, self.port = "127.0.0.1", 0
        self._authority = authority
        self._users = dict(users or {})
        self._identity_as_username = identity_as_username
        self._acl = acl
        self._program = find_mosquitto()
        self.engine: Engine = engine or ("mosquitto" if self._program else "amqtt")
        self._say = say
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._amqtt: Any = None
        self._password = Secret(secrets.token_urlsafe())
        self._context: ssl.SSLContext | None = None
        self._publisher: _Publisher | None = None
        self._retained: dict[str, bytes] = {}

    async def __aenter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="ztpd-broker-")
        try:
            await self.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def start(self) -> None:
        """Listen, again on the same port after :meth:`stop`; returns when clients are taken."""
        if self.port == 0:
            self.port = _free_port()
            self._write_files()
        if self.engine == "mosquitto":
            await self._start_mosquitto()
        else:
            await self._start_amqtt()
        for topic, payload in self._retained.items():
            await self.publish(topic, payload, retain=True)
        tls = "TLS" if self._authority else "no TLS"
        self._say(f"broker ({self.engine}) listens on {self.host}:{self.port}, {tls}")

    async def stop(self) -> None:
        """Close every connection and the port."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.close()
        if self._process is not None:
            self._process.terminate()
            await self._ended(self._process)
            self._process = None
        if self._amqtt is not None:
            await self._amqtt.shutdown()
            self._amqtt = None

    async def restart(self) -> None:
        await self.stop()
        self._say("broker was restarted")
        await self.start()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to the broker; a retained one is there when this returns."""
        if retain:
            self._retained[topic] = payload
        if self._publisher is not None:
            await self._publisher.publish(topic, payload, retain=retain)

    async def evict(self, client_id: str) -> None:
        """Log in with that client identifier for an instant: mosquitto ends its older session.

        amqtt lets both live.
        """
        twin = await self._log_in(client_id)
        await twin.close()
        self._say(f"a second client with the identifier {client_id} came and went")

    async def _close(self) -> None:
        await self.stop()
        if self._directory is not None:
            self._directory.cleanup()

    # The files that mosquitto reads; also the certificates of amqtt.

    def _write_files(self) -> None:
        folder = self._folder
        lines = [
            f"listener {self.port} {self.host}",
            f"allow_anonymous {str(not self._users).lower()}",
            "persistence false",
            "set_tcp_nodelay true",
            "log_type error",
            "log_dest stderr",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes a user that cannot read these files
        if self._users:
            names = self._users | {_PUBLISHER: self._password}
            text = "".join(f"{name}:{_hashed(word)}\n" for name, word in names.items())
            lines.append(f"password_file {_private(folder / 'passwords', text)}")
        if self._acl:
            text = f"{self._acl}\nuser {_PUBLISHER}\ntopic readwrite #\n"
            lines.append(f"acl_file {_private(folder / 'acl', text)}")
        if self._authority:
            certificate, key = self._authority.server().write(folder, "server")
            lines += [
                f"cafile {self._authority.write(folder / 'ca.crt')}",
                f"certfile {certificate}",
                f"keyfile {key}",
                "require_certificate true",
                f"use_identity_as_username {str(self._identity_as_username).lower()}",
            ]
            self._context = _client_context(self._authority, folder)
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def _folder(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the broker's context is not entered")
        return Path(self._directory.name)

    async def _start_mosquitto(self) -> None:
        self._process = process = self._spawn()
        async with asyncio.timeout(_START_S):
            while self._publisher is None:
                if process.poll() is not None:
                    text = (self._folder / "mosquitto.log").read_text(errors="replace")
                    raise RuntimeError(f"mosquitto ended at once: {text.strip()}")
                try:
                    self._publisher = await self._log_in(_PUBLISHER)
                except ConnectionError:
                    await asyncio.sleep(_LOOK_S)

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self._program is None:
            raise FileNotFoundError("mosquitto is not installed")
        with (self._folder / "mosquitto.log").open("wb") as output:
            return subprocess.Popen(
                [self._program, "-c", str(self._folder / "mosquitto.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def _start_amqtt(self) -> None:
        try:
            from amqtt.broker import Broker as AmqttBroker
        except ModuleNotFoundError as error:
            text = "neither mosquitto nor amqtt is installed"
            raise ModuleNotFoundError(text, name="mosquitto") from error
        listener: dict[str, Any] = {"type": "tcp", "bind": f"{self.host}:{self.port}"}
        if self._authority:
            files = {"cafile": "ca.crt", "certfile": "server.crt", "keyfile": "server.key"}
            listener |= {name: str(self._folder / file) for name, file in files.items()}
            listener["ssl"] = True
        login = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        self._amqtt = AmqttBroker({"listeners": {"default": listener}, "plugins": login})
        await self._amqtt.start()
        self._publisher = await self._log_in(_PUBLISHER)
        if self._authority or self._users or self._acl:
            self._say("broker (amqtt) does not enforce client certificates, users or access lists")

    async def _log_in(self, client_id: str) -> _Publisher:
        name = _PUBLISHER if self._users else ""
        request = connect(client_id, name, self._password.reveal())
        return await _Publisher.open(self.host, self.port, self._context, request)

    async def _ended(self, process: subprocess.Popen[bytes]) -> None:
        try:
            async with asyncio.timeout(_STOP_S):
                while process.poll() is None:  # noqa: ASYNC110 - a process sets no event
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            process.kill()
            process.wait()


class _Publisher:
    """The other end of the corrections: logged in, and only sending."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()

    @classmethod
    async def open(
        cls, host: str, port: int, context: ssl.SSLContext | None, request: bytes
    ) -> Self:
        """Raises SessionError where the broker refuses ``request``, a CONNECT packet."""
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.write(request)
        answer = await read_packet(reader)
        if answer.type != CONNACK or answer.body[1]:
            writer.transport.abort()
            raise SessionError(f"the simulated broker answers {answer}")
        return cls(reader, writer)

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """A retained message is sent with QoS 1 and waits for the broker's word."""
        async with self._turn:
            identifier = 1 if retain else None
            self._writer.write(publish(topic, payload, identifier=identifier, retain=retain))
            await self._writer.drain()
            while retain and (await read_packet(self._reader)).type != PUBACK:
                pass

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write(packet(DISCONNECT))
            self._writer.close()
            async with asyncio.timeout(_STOP_S):
                await self._writer.wait_closed()
        self._writer.transport.abort()


def _client_context(authority: Authority, folder: Path) -> ssl.SSLContext:
    pair: Pair = authority.client(_PUBLISHER)
    context = ssl.create_default_context(cadata=authority.certificate)
    context.load_cert_chain(*pair.write(folder, "publisher"))
    return context


def _hashed(password: Secret) -> str:
    """mosquitto_passwd(1): PBKDF2 of SHA-512, here with its default of 101 rounds."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.reveal().encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
