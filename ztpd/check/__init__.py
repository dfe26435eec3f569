"""``ztpd check``: the chain from the configuration to the use of corrections, link by link.

Every link is looked at in the order in which each needs the one before, and what comes behind the
first broken one is not looked at. A broken link has the words of the error that the daemon would
meet there, so that journal, ``status`` and ``check`` say the same.

Beside a running daemon nothing that belongs to it is touched: what it knows of ports, sessions and
receiver is taken from its status. Without one, ``check`` does what the daemon would do, except for
the provisioning call: it connects to the service and says nothing.
"""

from ztpd.check.check import Check
from ztpd.check.results import LINKS, SCHEMA, Result, State, document, layer_of, render

__all__ = ["LINKS", "SCHEMA", "Check", "Result", "State", "document", "layer_of", "render"]
