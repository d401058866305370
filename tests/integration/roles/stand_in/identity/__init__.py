"""Stands in for identity."""
