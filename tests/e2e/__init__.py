"""Tests: e2e. See the README one folder up."""
