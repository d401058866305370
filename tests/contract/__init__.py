"""Tests: contract. See the README one folder up."""
