"""What the network promises, and whether it keeps it."""
