"""paho-mqtt, as one session uses it: without its connecting, and without what that would load."""

from __future__ import annotations

import importlib
import socket
import sys
import urllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from ztpd.sources.mqtt_socket import UnwantedPacket, WatchedSocket

_URLLIB = "urllib.request"


def _on_demand(attribute: str) -> Any:
    return getattr(importlib.import_module(_URLLIB), attribute)


@contextmanager
def _without_http_client() -> Iterator[None]:
    """paho imports urllib.request, and with it an HTTP client of 2.8 MB, for the proxies of its
    own connecting. In here a stand-in is imported, which becomes the module where it is used."""
    if _URLLIB in sys.modules:
        yield
        return
    stand_in = ModuleType(_URLLIB)
    vars(stand_in)["__getattr__"] = _on_demand
    sys.modules[_URLLIB] = vars(urllib)["request"] = stand_in
    try:
        yield
    finally:
        del sys.modules[_URLLIB]


with _without_http_client():
    import paho.mqtt.client as paho
    from paho.mqtt.client import topic_matches_sub

__all__ = ["Client", "topic_matches_sub"]

_MOST_UNSENT = 1000  # acknowledgements

OnPayload = Callable[[str, bytes, bool], None]
"""Given the topic, the payload, and whether the broker had retained it."""


class Client(paho.Client):
    """paho on a socket that is connected already.

    paho connects on its own, blocking, one address after another, and has no public argument for
    a socket. The methods replaced here are the same from paho 1.5 to 2.2; the caller
    checks that it was used.
    """

    def __init__(self, given: WatchedSocket, client_id: str) -> None:
        self.given = given
        self.on_connack: Callable[[int], None] = lambda _: None  # given the broker's own code
        self.on_payload: OnPayload = lambda *_: None  # a topic that is no UTF-8 is nobody's
        options: dict[str, Any] = {
            "client_id": client_id,
            "clean_session": True,
            "protocol": paho.MQTTv311,
            "reconnect_on_failure": False,
        }
        if hasattr(paho, "CallbackAPIVersion"):  # since 2.0, which warns where it is not named
            options["callback_api_version"] = paho.CallbackAPIVersion.VERSION2
        super().__init__(**options)
        self.on_connect = lambda *_: self.on_connack(0)
        self.on_message = self._on_acknowledged

    def _create_socket_connection(self) -> socket.socket:
        return self.given

    def _handle_connack(self) -> Any:
        """Hand on a code that refuses: paho calls 1, and any answer in MQTT 5, a broken packet, and
        its version 2 has one number for all codes that it does not know."""
        answer = bytes(self._in_packet["packet"])
        if len(answer) >= 2 and answer[1]:
            self.on_connack(answer[1])
            return paho.MQTT_ERR_CONN_REFUSED
        return super()._handle_connack()

    def _handle_publish(self) -> Any:
        """Take what needs no acknowledgement, as corrections, without the locks and log lines of
        paho (MQTT 3.1.1 section 3.3).

        Refuse QoS 2: paho keeps each message until a PUBREL comes, and none was asked for (section
        4.3: at most the QoS of the subscription).
        """
        command, packet = self._in_packet["command"], self._in_packet["packet"]
        if command & 0x06 > 0x02:
            self.given.failure = UnwantedPacket("a message with QoS 2, which was not asked for")
            return paho.MQTT_ERR_PROTOCOL
        if len(self._out_packet) > _MOST_UNSENT:
            self.given.failure = UnwantedPacket("the broker does not read acknowledgements")
            return paho.MQTT_ERR_PROTOCOL
        topic_end = 2 + int.from_bytes(packet[:2], "big")
        if command & 0x06 or not 2 < topic_end <= len(packet):
            return super()._handle_publish()
        with suppress(UnicodeDecodeError):
            topic = packet[2:topic_end].decode()
            self.on_payload(topic, bytes(packet[topic_end:]), bool(command & 1))
        return paho.MQTT_ERR_SUCCESS

    def _on_acknowledged(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        with suppress(UnicodeDecodeError):
            self.on_payload(message.topic, bytes(message.payload), bool(message.retain))
