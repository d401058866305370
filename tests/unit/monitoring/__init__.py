"""Pure functions and single parts of `monitoring/`."""
