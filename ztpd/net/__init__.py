"""Names, addresses, TLS and routes, below the protocols that use them."""
