"""Pure functions and single parts of `infra/local/`."""
