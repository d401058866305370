"""One-time links by which somebody takes up an office."""
