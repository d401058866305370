"""Tests: integration. See the README one folder up."""
