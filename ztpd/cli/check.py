"""``ztpd check``: the chain from the configuration to the use of corrections."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from ztpd import config as configuration
from ztpd import log
from ztpd.cli.ask import daemon_status
from ztpd.system import directories


def check(options: argparse.Namespace) -> int:
    """0 if every link is well, else 1."""
    from ztpd.check import Check, LinkState, Result, document, render

    log.setup("error", stream=sys.stderr)  # every line of the walk says it better

    def tell(found: Result) -> None:
        if not options.json:
            print(render(found), end="", flush=True)

    walk = Check(
        lambda: configuration.load(options.config),
        state_dir=directories.state_dir(),
        daemon=daemon_status(),
    )
    found = asyncio.run(walk.run(tell))
    if options.json:
        print(json.dumps(document(found), indent=1))
    return 0 if all(one.state is LinkState.OK for one in found) else 1
