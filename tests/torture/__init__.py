"""Promises in full counts, for hours: `make torture`."""
