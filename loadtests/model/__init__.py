"""From measured load to a capacity, and from a capacity to the hosts that a target needs."""
