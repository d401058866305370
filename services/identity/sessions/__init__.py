"""Log-in by password, and the one session that all sites share."""
