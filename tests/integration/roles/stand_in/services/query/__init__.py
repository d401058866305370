"""Stands in for query."""
