"""The local cloud with real containers and real clients."""
