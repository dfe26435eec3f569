"""``ztpd image-check``: an image, before it is written to many cards."""

from __future__ import annotations

import argparse
import re
import shlex

from ztpd.check.image import findings
from ztpd.cli.screen import line
from ztpd.errors import NotPermitted


def check(options: argparse.Namespace) -> int:
    """0 if every gateway may get this image, else 1."""
    is_well, root = True, shlex.quote(str(options.root))
    begins = {"IMAGE": root, "IMAGE/": root.rstrip("/") + "/"}  # of a path in an advice
    try:
        for found in findings(options.root):
            state = "problem" if found.advice else "OK"
            print(f"{state:<12} {found.subject:<14} {line(found.text)}")
            if found.advice:
                is_well = False
                advice = re.sub("IMAGE/?", lambda name: begins[name[0]], found.advice)
                print(f"{'':<27} -> {advice}")
    except PermissionError as error:
        raise NotPermitted(f"{error.filename}") from error
    return 0 if is_well else 1
