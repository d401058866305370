"""What every service stands on: settings, the doors to databases, tokens, HTTP, the outbox, telemetry."""
