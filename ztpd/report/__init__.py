"""One archive for support: what the gateway is, does and did, without secrets and position."""
