"""OpenID Connect: Authlib's protocol core, and the tenants as its relying parties."""
