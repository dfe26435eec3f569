"""Prints the verdict of TLS on each case of a directory, with the Python that runs it.

Needs the standard library and ztpd only, so that any interpreter can run it::

    python tests/support/tls_verdicts.py DIRECTORY

A case is ``NAME.ca.pem`` (trusted) with ``NAME.server.pem`` (chain and key of the server).
"""

from __future__ import annotations

import contextlib
import json
import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ztpd.net.errormap import tls_error
from ztpd.net.tls import verifying_context

HOST = "localhost"


def verdict(ca_file: Path, server_file: Path) -> str:
    """The code of the error, or "trusted": a handshake in memory."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(server_file)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = verifying_context(str(ca_file)).wrap_bio(to_client, to_server, server_hostname=HOST)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        try:
            client.do_handshake()
            return "trusted"
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return tls_error(error, HOST).code
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
    return "no end"


def main(directory: Path) -> None:
    cases = sorted(path.name.removesuffix(".ca.pem") for path in directory.glob("*.ca.pem"))
    found = {
        name: verdict(directory / f"{name}.ca.pem", directory / f"{name}.server.pem")
        for name in cases
    }
    python = f"python3.{sys.version_info.minor}"
    print(json.dumps({"python": python, "verdicts": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
