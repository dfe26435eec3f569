"""``ztpd demo``: simulated devices and services on this machine, and the real daemon."""

from ztpd.demo.faults import FAULTS
from ztpd.demo.play import run

__all__ = ["FAULTS", "run"]
