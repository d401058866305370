"""Stands in for affairs."""
