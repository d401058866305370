"""Tests: benchmarks. See the README one folder up."""
