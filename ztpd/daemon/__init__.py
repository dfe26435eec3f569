"""The daemon: its state, its activities, its status."""

from ztpd.daemon.daemon import Daemon

__all__ = ["Daemon"]
