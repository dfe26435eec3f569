"""``ztpd check``: the chain from the configuration to the use of corrections, link by link.

A link that needs a broken one is not reached; all others are tried. A broken link has the words of
the error that the daemon would meet there, so that journal, ``status`` and ``check`` say the same.

Beside a running daemon nothing that belongs to it is touched: ports, sessions and receiver are read
from its status. Without one, ``check`` does the daemon's work, except for the provisioning call: it
connects to the service and sends no request.
"""

from ztpd.check.check import Check
from ztpd.check.results import LINKS, SCHEMA, LinkState, Result, document, layer_of, render

__all__ = ["LINKS", "SCHEMA", "Check", "LinkState", "Result", "document", "layer_of", "render"]
