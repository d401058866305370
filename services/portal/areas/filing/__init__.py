"""Filing a case, and its receipt."""
