"""``ztpd demo``: simulated devices and services on this machine, and the real daemon."""

from ztpd.demo.command import run
from ztpd.demo.faults import FAULTS

__all__ = ["FAULTS", "run"]
