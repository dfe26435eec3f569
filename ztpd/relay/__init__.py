"""From a correction service to the receiver: which source, when again, and is it fresh."""

from ztpd.relay.open_session import Progress
from ztpd.relay.relay import Relay, Sink

__all__ = ["Progress", "Relay", "Sink"]
