"""Pure functions and single parts of `services/`."""
