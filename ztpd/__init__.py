"""Zero-touch provisioned GNSS corrections for embedded Linux gateways."""

__version__ = "0.2.0"

RELEASED_UNIX_S = 1_795_910_400
"""2026-11-29: no clock that shows an earlier time is right."""
