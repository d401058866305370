"""Known-bad twins of the services: what a load run and the gate must not let through."""
