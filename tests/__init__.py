"""Everything that shows that yiwang works."""
