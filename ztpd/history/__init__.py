"""The last 24 hours in memory: one sample every ten seconds, nothing on the disk."""
