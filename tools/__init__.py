"""Set-up, life cycle of an environment, and the `yiwang` command."""
