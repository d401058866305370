"""The launch gate: what Prometheus and the load run told, held against the objectives."""
