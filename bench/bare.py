"""The least that a program with ztpd's packages can cost: asyncio, pyserial, and paho for MQTT.

Takes transport, port, mountpoint or topic, tty, speed, and for MQTT authority, certificate and key.
It hands on what comes, and does nothing else: neither settings nor errors, nor the receiver.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from typing import Any

import serial

Deliver = Callable[[bytes], object]
_ACCOUNT = "Basic dXNlcjpzZWNyZXQ="  # user:secret


async def by_ntrip(port: int, mountpoint: str, deliver: Deliver) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = f"GET /{mountpoint} HTTP/1.0", "User-Agent: NTRIP bare", f"Authorization: {_ACCOUNT}"
    writer.write("\r\n".join((*lines, "", "")).encode())
    await reader.readuntil(b"\r\n\r\n")
    while data := await reader.read(4096):
        deliver(data)


async def by_mqtt(port: int, topic: str, deliver: Deliver, ca: str, cert: str, key: str) -> None:
    import paho.mqtt.client as paho

    options: dict[str, Any] = {"client_id": "bare"}
    if hasattr(paho, "CallbackAPIVersion"):  # since 2.0
        options["callback_api_version"] = paho.CallbackAPIVersion.VERSION2
    client: Any = paho.Client(**options)
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert, key)
    client.tls_set_context(context)
    client.on_connect = lambda *_: client.subscribe(topic)
    client.on_message = lambda _client, _data, message: deliver(message.payload)
    client.connect("localhost", port)

    def on_bytes() -> None:
        client.loop_read()
        if client.want_write():
            client.loop_write()

    asyncio.get_running_loop().add_reader(client.socket(), on_bytes)
    while client.loop_misc() == 0:
        await asyncio.sleep(20)


def main(via: str, port: str, name: str, tty: str, baudrate: str, *tls: str) -> None:
    line = serial.Serial(tty, int(baudrate), timeout=0)
    if via == "ntrip":
        asyncio.run(by_ntrip(int(port), name, line.write))
    else:
        ca, cert, key = tls
        asyncio.run(by_mqtt(int(port), name, line.write, ca, cert, key))


if __name__ == "__main__":
    main(*sys.argv[1:])
