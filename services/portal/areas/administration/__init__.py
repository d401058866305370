"""What a tenant decides about items by itself."""
