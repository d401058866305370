"""People, and the offices they hold in tenants' departments."""
