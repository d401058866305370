"""Pure functions and single parts of `tools/`."""
