"""The daemon: one state, the activities it asks for, and what it says of itself."""

from ztpd.daemon.daemon import Daemon

__all__ = ["Daemon"]
