"""The case index: my cases over all tenants, progress for whoever holds number and check code."""
