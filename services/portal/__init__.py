"""The pages of a tenant's site, for citizen and clerk. See README.md."""
