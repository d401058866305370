"""Power items and cases of the tenants of one cell."""
