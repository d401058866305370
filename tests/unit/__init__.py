"""Tests: unit. See the README one folder up."""
