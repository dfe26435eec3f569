"""The environment of a gateway, inside its machine: modem, receiver, provisioning service and
broker, as one program that the machine's systemd starts before ztpd. It uses the package under test
and packages of Debian.

The authority, the Things and the number of calls outlive reboots and power cuts, as they would in
the world: they are in ``/var/lib/simulators``. A fault named in ``fault`` there applies to all
calls. ``utc`` there is the true time at power-on, in Unix seconds, where the machine's clock has
another; the certificate of the provisioning service is a day old then. With a file ``uart`` there
the receiver is on a UART of 38,400 baud, and its parser loses a damaged frame with all in it; with
a file ``no-sky`` its antenna sees nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import grp
import json
import os
import random
import socket
import time
from collections import deque
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ztpd import RELEASED_UNIX_S
from ztpd.sim import corrections
from ztpd.sim.authority import Authority, Pair, server_context
from ztpd.sim.broker import Broker
from ztpd.sim.modem import SARA_R5, ModemModel, SimModem
from ztpd.sim.portal import Profile, Thing
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import SimReceiver
from ztpd.sim.ztp_service import FAULTS, ZtpService
from ztpd.system.files import read_json, write_atomic

STATE = Path("/var/lib/simulators")
BOOK = STATE / "book.json"
FAULT = STATE / "fault"
MODEM_IMEI = STATE / "imei"
TRUE_UTC = STATE / "utc"
UART = STATE / "uart"
NO_SKY = STATE / "no-sky"
DROP_IN = Path("/etc/ztpd/ztpd.toml.d/50-simulated.toml")
CA_FILE = Path("/usr/local/share/simulated-ca.crt")
MODEM, RECEIVER = "/dev/modem", "/dev/receiver"

SETTINGS = """\
[ztp]
url = "{service.url}"
ca_file = "{ca_file}"
splay_s = 0

[identity]
port = "{modem}"

[receiver]
port = "{receiver}"

[mqtt]
port = {broker.port}
ca_file = "{ca_file}"
"""


class KeptAuthority(Authority):
    """The same authority after a reboot: certificates that it signed stay valid."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        if path.exists():
            certificate, key = json.loads(path.read_text())
            self._ca = trustme.CA.from_pem(certificate.encode(), key.encode())
        else:
            texts = [self._ca.cert_pem.bytes().decode(), self._ca.private_key_pem.bytes().decode()]
            write_atomic(path, json.dumps(texts).encode(), mode=0o600, durable=True)

    def of_yesterday(self) -> Pair:
        """A server's certificate that is valid from the day before: trustme 0.9 cannot be asked
        for it."""
        pair = self.server()
        old = x509.load_pem_x509_certificate(pair.certificate.encode())
        began = (time_in_space() - timedelta(days=1)).replace(tzinfo=None)
        made = (
            x509.CertificateBuilder()
            .issuer_name(old.issuer)
            .subject_name(old.subject)
            .public_key(old.public_key())
            .serial_number(old.serial_number)
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=365))
        )
        for extension in old.extensions:
            made = made.add_extension(extension.value, extension.critical)
        key: Any = load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        text = made.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()
        return Pair(text, pair.private_key)


class KeptService(ZtpService):
    """Writes every call down before it answers, and knows its Things again."""

    def __init__(self, authority: KeptAuthority) -> None:
        super().__init__(
            authority,
            tls=server_context(authority.of_yesterday()) if TRUE_UTC.exists() else None,
            profile=Profile(format="spartn", protocol="mqtt"),
            say=self._write_down,
        )
        book = read_json(BOOK)
        self._calls_before = book.get("calls", 0)
        things = book.get("things", {})
        self.portal.things |= {code: Thing(**thing) for code, thing in things.items()}

    def take_up_fault(self) -> None:
        name = FAULT.read_text().strip() if FAULT.exists() else ""
        self.script = deque([FAULTS[name]] if name else [])

    def _write_down(self, sentence: str) -> None:
        print(sentence, flush=True)
        things = {code: dataclasses.asdict(thing) for code, thing in self.things.items()}
        book = {"calls": self._calls_before + self.requests, "things": things}
        write_atomic(BOOK, json.dumps(book).encode(), mode=0o600, durable=True)


def for_dialout(pty: Pty) -> None:
    """Like udev for real ports."""
    os.chown(pty.terminal, 0, grp.getgrnam("dialout").gr_gid)
    os.chmod(pty.terminal, 0o660)


def let_go(line: Pty) -> None:
    """Clear TIOCEXCL, like a real port whose exclusive holder has ended."""
    if line.exclusive and not line.users():
        line.clear_exclusive()


async def attend(service: KeptService, *lines: Pty) -> None:
    while True:
        service.take_up_fault()
        for line in lines:
            let_go(line)
        await asyncio.sleep(0.2)


def tell_systemd(message: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.connect(os.environ["NOTIFY_SOCKET"])
        to.send(message.encode())


def time_in_space() -> datetime:
    """The satellites' time; the machine's clock may be wrong."""
    if TRUE_UTC.exists():
        return datetime.fromtimestamp(float(TRUE_UTC.read_text()) + time.monotonic(), UTC)
    return datetime.fromtimestamp(max(time.time(), RELEASED_UNIX_S + time.monotonic()), UTC)


def modem_model() -> ModemModel:
    """The usual one, with the IMEI that a test has written down, if any."""
    imei = MODEM_IMEI.read_text().strip() if MODEM_IMEI.exists() else SARA_R5.imei
    return dataclasses.replace(SARA_R5, imei=imei)


async def main() -> None:
    authority = KeptAuthority(STATE / "authority.json")
    CA_FILE.write_text(authority.certificate)
    async with AsyncExitStack() as stack:
        modem = await stack.enter_async_context(SimModem(MODEM, modem_model()))
        line = await stack.enter_async_context(Pty(RECEIVER))
        receiver = await stack.enter_async_context(
            SimReceiver(line, wall_clock=time_in_space, wired="UART1" if UART.exists() else "USB")
        )
        receiver.faults.drops_failed = UART.exists()
        receiver.faults.no_sky = NO_SKY.exists()
        for_dialout(modem.pty)
        for_dialout(line)
        service = await stack.enter_async_context(KeptService(authority))
        broker = await stack.enter_async_context(Broker(authority, engine="mosquitto"))
        settings = SETTINGS.format(
            service=service, broker=broker, ca_file=CA_FILE, modem=MODEM, receiver=RECEIVER
        )
        DROP_IN.write_text(settings)
        attending = asyncio.create_task(attend(service, modem.pty, line))
        stack.callback(attending.cancel)
        tell_systemd("READY=1")
        stream = corrections.coalesce(corrections.spartn(random.Random(1)))
        async for piece in corrections.paced(stream, speed=5.0):  # an epoch a second
            await broker.publish("/pp/ip/eu", piece.data)


asyncio.run(main())
