"""Pure functions and single parts of `playbooks/`."""
