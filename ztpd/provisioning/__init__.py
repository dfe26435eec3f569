"""From the gateway's identity to credentials on the disk: calls, their schedule, the store."""
