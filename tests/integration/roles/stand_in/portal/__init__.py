"""Stands in for portal."""
