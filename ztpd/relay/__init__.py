"""From a correction service to the receiver: which source, when again, and is it fresh."""

from ztpd.relay.relay import Relay, Sink

__all__ = ["Relay", "Sink"]
