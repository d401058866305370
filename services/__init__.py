"""The multi-tenant service stack that hosts run."""
