"""A person's cases over all tenants."""
