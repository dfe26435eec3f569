"""Serial ports: discovery, exclusive access, reading and writing, sharing by pseudo-terminal."""
