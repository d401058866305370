"""Schema of the portal in each tenant's database."""
