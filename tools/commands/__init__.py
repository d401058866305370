"""Subcommands of `yiwang`, a module for each stage that mounts some."""
