"""Pure functions and single parts of `loadtests/`."""
